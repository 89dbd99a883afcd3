//! A document's sections: what stands under one heading, block by block.
//!
//! No chunk spans two sections. A chunk then has one heading path, and an edit in one section
//! moves no boundary in another: the other chunks keep their ids and their vectors.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{
    context::{SEPARATOR, cut},
    pack::is_fence,
};
use crate::limits::MAX_HEADING_BYTES;

/// Bytes of what text-splitter is given at once.
const MAX_WINDOW_BYTES: usize = 32 * 1024;

/// A part of a document under one heading path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The headings above it, its own last, joined by [`SEPARATOR`].
    pub(super) heading: String,
    /// In order and without gaps.
    pub(super) blocks: Vec<Block>,
}

/// A top-level block, with the headings in front of it and the white space behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) range: Range<usize>,
    /// Where its own text begins, behind the headings.
    pub(super) body: usize,
    pub(super) form: Form,
}

/// How a block is cut that is longer than a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// At its sentences: a text that is no markdown.
    Plain,
    /// At its sentences: a paragraph, a quote.
    Prose,
    /// Between its lines: code, a table, a list, HTML.
    Lines,
}

/// The sections of a document, with the level-1 heading it begins with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) title: Option<String>,
    pub(super) sections: Vec<Section>,
}

/// Plain text is one block.
pub(super) fn plain(text: &str) -> Outline {
    let block = Block { range: 0..text.len(), body: 0, form: Form::Plain };
    Outline { title: None, sections: vec![Section { heading: String::new(), blocks: vec![block] }] }
}

/// What the parser finds at the top level.
struct Top {
    start: usize,
    what: What,
}

enum What {
    Heading(HeadingLevel, String),
    Body(Form),
}

/// The sections of a markdown text. Headings inside quotes and lists open none. A heading without
/// a text of its own belongs to the section that follows.
pub(super) fn markdown(text: &str) -> Outline {
    let found = top_level(text);
    let title = found.first().and_then(|top| match &top.what {
        What::Heading(HeadingLevel::H1, heading) if !heading.is_empty() => Some(heading.clone()),
        _ => None,
    });

    let mut sections = Vec::new();
    let mut path: Vec<(HeadingLevel, String)> = Vec::new();
    let mut start = 0;
    let mut bodies: Vec<(usize, Form)> = Vec::new();
    for top in found {
        match top.what {
            What::Heading(level, heading) => {
                if !bodies.is_empty() {
                    sections.push(section(text, &path, start..top.start, &bodies));
                    start = top.start;
                    bodies.clear();
                }
                path.retain(|(above, _)| *above < level);
                path.push((level, heading));
            }
            What::Body(form) => bodies.push((top.start, form)),
        }
    }
    sections.push(section(text, &path, start..text.len(), &bodies));
    Outline { title, sections }
}

fn top_level(text: &str) -> Vec<Top> {
    let mut found: Vec<Top> = Vec::new();
    let mut depth = 0_usize;
    // The heading that is being read.
    let mut open: Option<String> = None;
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        let is_top_level = depth == 0;
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let start = range.start;
        match event {
            Event::Start(Tag::Heading { level, .. }) if is_top_level => {
                open = Some(String::new());
                found.push(Top { start, what: What::Heading(level, String::new()) });
            }
            Event::End(TagEnd::Heading(_)) => {
                if let (Some(heading), Some(top)) = (open.take(), found.last_mut())
                    && let What::Heading(_, slot) = &mut top.what
                {
                    *slot = heading.split_whitespace().collect::<Vec<_>>().join(" ");
                }
            }
            Event::Text(part) | Event::Code(part) | Event::InlineMath(part) => {
                if let Some(heading) = &mut open {
                    heading.push_str(&part);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut open {
                    heading.push(' ');
                }
            }
            Event::End(_) => {}
            event if is_top_level => found.push(Top { start, what: What::Body(form(&event)) }),
            _ => {}
        }
    }
    found
}

fn form(event: &Event<'_>) -> Form {
    match event {
        Event::Start(
            Tag::CodeBlock(_)
            | Tag::HtmlBlock
            | Tag::List(_)
            | Tag::Table(_)
            | Tag::DefinitionList
            | Tag::MetadataBlock(_),
        )
        | Event::Html(_) => Form::Lines,
        _ => Form::Prose,
    }
}

/// `bodies`: where the blocks begin that are no headings.
fn section(
    text: &str,
    path: &[(HeadingLevel, String)],
    range: Range<usize>,
    bodies: &[(usize, Form)],
) -> Section {
    let headings: Vec<&str> =
        path.iter().map(|(_, heading)| heading.as_str()).filter(|h| !h.is_empty()).collect();
    let heading = cut(&headings.join(SEPARATOR), MAX_HEADING_BYTES).to_owned();
    // The headings belong to the first block. Without any block they are all there is.
    let first = bodies.first().copied().unwrap_or((range.end, Form::Prose));
    let starts = std::iter::once((range.start, first))
        .chain(bodies.iter().skip(1).map(|&body| (body.0, body)));
    let ends = bodies.iter().skip(1).map(|(start, _)| *start).chain([range.end]);
    let mut blocks: Vec<Block> = Vec::new();
    // Code without a line in it says nothing alone: it goes with the block before it, or, where
    // nothing is before it, with the one behind.
    let mut is_all_bare = true;
    for ((start, (body, form)), end) in starts.zip(ends).filter(|((start, _), end)| start < end) {
        let mut lines = text[body..end].lines();
        let is_bare = body < end && lines.all(|line| line.trim().is_empty() || is_fence(line));
        match blocks.last_mut() {
            Some(last) if is_bare => last.range.end = end,
            Some(last) if is_all_bare => {
                *last = Block { range: last.range.start..end, body, form };
            }
            _ => blocks.push(Block { range: start..end, body, form }),
        }
        is_all_bare &= is_bare;
    }
    Section { heading, blocks }
}

/// Cuts what is too long for text-splitter, which walks all that is left of its input for every
/// chunk, so that its time is quadratic: at the last empty line of each window, or else its last
/// line end, white space or character.
pub(super) fn windows(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut start = range.start;
    while range.end - start > MAX_WINDOW_BYTES {
        let limit = text.floor_char_boundary(start + MAX_WINDOW_BYTES);
        let window = &text[start..limit];
        let is_late = |at: &usize| *at > window.len() / 2;
        let length = window
            .rfind("\n\n")
            .map(|at| at + 2)
            .filter(is_late)
            .or_else(|| window.rfind('\n').map(|at| at + 1).filter(is_late))
            .or_else(|| window.rfind(char::is_whitespace).filter(is_late))
            .unwrap_or(window.len());
        windows.push(start..start + length);
        start += length;
    }
    if start < range.end {
        windows.push(start..range.end);
    }
    windows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn outline(text: &str) -> Vec<(String, String)> {
        let outline = markdown(text);
        let mut end = 0;
        let mut sections = Vec::new();
        for section in outline.sections {
            let start = end;
            for block in &section.blocks {
                assert_eq!(block.range.start, end, "blocks leave no gap");
                end = block.range.end;
            }
            sections.push((section.heading, text[start..end].trim().to_owned()));
        }
        assert_eq!(end, text.len(), "blocks reach the end");
        sections
    }

    fn check(text: &str, expect: &[(&str, &str)]) {
        let expect: Vec<(String, String)> =
            expect.iter().map(|(h, t)| ((*h).to_owned(), (*t).to_owned())).collect();
        assert_eq!(outline(text), expect);
    }

    #[test]
    fn headings_nest_by_level() {
        check(
            "intro\n\n# A\n\none\n\n## B\n\ntwo\n\n### C\n\nthree\n\n## D `x` *y*\n\nfour\n\n# E\n\nfive\n",
            &[
                ("", "intro"),
                ("A", "# A\n\none"),
                ("A > B", "## B\n\ntwo"),
                ("A > B > C", "### C\n\nthree"),
                ("A > D x y", "## D `x` *y*\n\nfour"),
                ("E", "# E\n\nfive"),
            ],
        );
    }

    #[test]
    fn a_heading_without_text_joins_the_next_section() {
        check(
            "# A\n\n## B\n\ntext\n\n## C\n",
            &[("A > B", "# A\n\n## B\n\ntext"), ("A > C", "## C")],
        );
    }

    #[test]
    fn code_quotes_and_lists_hold_no_sections() {
        let fence = "# A\n\n```sh\n# not a heading\n```\n\n~~~\n## nor this\n~~~\n\n    # nor indented\n\ntext";
        check(fence, &[("A", fence)]);
        let nested = "# A\n\n> # quoted\n>\n> text\n\n- # listed\n\n  text";
        check(nested, &[("A", nested)]);
    }

    #[test]
    fn underlined_headings_count() {
        check(
            "A\n===\n\none\n\nB\n---\n\ntwo",
            &[("A", "A\n===\n\none"), ("A > B", "B\n---\n\ntwo")],
        );
    }

    #[test]
    fn the_title_is_the_level_one_heading_at_the_top() {
        assert_eq!(markdown("# A *b*\n\ntext").title.as_deref(), Some("A b"));
        assert_eq!(markdown("## A\n\ntext").title, None);
        assert_eq!(markdown("text\n\n# A").title, None);
    }

    #[test]
    fn blocks_know_their_headings_and_how_they_are_cut() {
        let text = "# A\n\n## B\n\ntext\n\n- item\n- item\n\n```\ncode\n```\n\n> quote\n\n<div>\n</div>\n\n| a |\n|---|\n| b |\n";
        let outline = markdown(text);
        let forms: Vec<(&str, Form)> = outline.sections[0]
            .blocks
            .iter()
            .map(|block| (text[block.body..block.range.end].trim(), block.form))
            .collect();
        let expect = [
            ("text", Form::Prose),
            ("- item\n- item", Form::Lines),
            ("```\ncode\n```", Form::Lines),
            ("> quote", Form::Prose),
            ("<div>\n</div>", Form::Lines),
            ("| a |\n|---|\n| b |", Form::Lines),
        ];
        assert_eq!(forms, expect);
        assert_eq!(outline.sections[0].blocks[0].range.start, 0);
    }

    #[test]
    fn long_texts_come_in_windows() {
        let check = |text: &str| {
            let windows = windows(text, 0..text.len());
            let mut end = 0;
            for window in windows {
                assert!(window.start == end && window.len() <= MAX_WINDOW_BYTES);
                assert!(text.is_char_boundary(window.end));
                end = window.end;
            }
            assert_eq!(end, text.len());
        };
        check("");
        check(&format!("{}\n\n", "word ".repeat(2000)).repeat(10));
        check(&"line of code\n".repeat(20_000));
        check(&"\u{e9}".repeat(100_000));
    }
}
