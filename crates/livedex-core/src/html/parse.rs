//! HTML to a tree of bounded depth.
//!
//! html5ever walks its open elements for most tags, so a page of nothing but opened elements costs
//! time quadratic in its length (minutes for 300 kB), and those who walk the tree afterwards
//! recurse. So the parser is fed piece by piece, and stopped once it is too deep.

use dom_query::{Document, NodeRef};
use html5ever::{
    ParseOpts, parse_document,
    tendril::{StrTendril, TendrilSink},
    tree_builder::TreeBuilderOpts,
};

use super::HtmlError;
use crate::limits::MAX_HTML_DEPTH;

/// Bytes between two looks at the depth: some 1,000 elements.
const PIECE_BYTES: usize = 4096;

/// The tree of a page, as with scripting off, not deeper than [`MAX_HTML_DEPTH`].
pub(super) fn parse(html: &str) -> Result<Document, HtmlError> {
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts { scripting_enabled: false, ..Default::default() },
        ..Default::default()
    };
    let mut parser = parse_document(Document::default(), options);
    let mut rest = html;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(PIECE_BYTES));
        parser.process(StrTendril::from(piece));
        rest = after;
        check_open_depth(parser.tokenizer.sink.sink.root())?;
    }
    let document = parser.finish();
    check_depth(document.root())?;
    Ok(document)
}

/// The depth of what was added last, which is where open elements are.
fn check_open_depth(root: NodeRef<'_>) -> Result<(), HtmlError> {
    let mut depth = 0;
    let mut last = root.last_child();
    while let Some(node) = last {
        depth += 1;
        check(depth)?;
        last = node.last_child();
    }
    Ok(())
}

/// The depth of the whole tree, without recursion.
fn check_depth(root: NodeRef<'_>) -> Result<(), HtmlError> {
    let mut open = vec![(root, 0_usize)];
    while let Some((node, depth)) = open.pop() {
        check(depth)?;
        open.extend(node.children_it(false).map(|child| (child, depth + 1)));
    }
    Ok(())
}

fn check(depth: usize) -> Result<(), HtmlError> {
    if depth > MAX_HTML_DEPTH {
        return Err(HtmlError::TooDeep { limit: MAX_HTML_DEPTH });
    }
    Ok(())
}
