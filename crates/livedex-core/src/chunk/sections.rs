//! A document's sections: what stands under one heading, in pieces of bounded length.
//!
//! No chunk spans two sections. A chunk then has one heading path, and an edit in one section
//! moves no boundary in another: the other chunks keep their ids and their vectors.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::context::{SEPARATOR, cut};
use crate::limits::MAX_HEADING_BYTES;

/// Bytes of one piece. text-splitter walks all that is left of its input for every chunk, so
/// its time is quadratic in the length of what it is given.
const MAX_PIECE_BYTES: usize = 32 * 1024;

/// A part of a document under one heading path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The headings above it, its own last, joined by [`SEPARATOR`].
    pub(super) heading: String,
    /// Where it is cut before it is split, in order and without gaps.
    pub(super) pieces: Vec<Piece>,
}

/// A range of the text that is split as one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    /// Whether its markdown can be parsed alone.
    pub(super) is_markdown: bool,
}

/// The sections of a document, with the level-1 heading it begins with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) title: Option<String>,
    pub(super) sections: Vec<Section>,
}

/// Plain text has one section.
pub(super) fn plain(text: &str) -> Outline {
    let mut pieces = Vec::new();
    cut_plain(text, 0..text.len(), &mut pieces);
    Outline { title: None, sections: vec![Section { heading: String::new(), pieces }] }
}

/// A top-level block.
struct Block {
    start: usize,
    heading: Option<(HeadingLevel, String)>,
}

/// The sections of a markdown text. Headings inside quotes and lists open none. A heading without
/// a text of its own belongs to the section that follows.
pub(super) fn markdown(text: &str) -> Outline {
    let blocks = top_level_blocks(text);
    let title = blocks.first().and_then(|block| match &block.heading {
        Some((HeadingLevel::H1, heading)) if !heading.is_empty() => Some(heading.clone()),
        _ => None,
    });

    let mut sections = Vec::new();
    let mut path: Vec<(HeadingLevel, String)> = Vec::new();
    let mut start = 0;
    let mut has_body = false;
    let mut body_starts = Vec::new();
    for block in blocks {
        if let Some((level, heading)) = block.heading {
            if has_body {
                sections.push(section(text, &path, start..block.start, &body_starts));
                start = block.start;
                has_body = false;
                body_starts.clear();
            }
            path.retain(|(above, _)| *above < level);
            path.push((level, heading));
        } else {
            has_body = true;
            body_starts.push(block.start);
        }
    }
    sections.push(section(text, &path, start..text.len(), &body_starts));
    Outline { title, sections }
}

fn top_level_blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
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
        match event {
            Event::Start(Tag::Heading { level, .. }) if is_top_level => {
                open = Some(String::new());
                blocks.push(Block { start: range.start, heading: Some((level, String::new())) });
            }
            Event::End(TagEnd::Heading(_)) => {
                if let (Some(heading), Some(block)) = (open.take(), blocks.last_mut())
                    && let Some((_, slot)) = &mut block.heading
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
            _ if is_top_level => blocks.push(Block { start: range.start, heading: None }),
            _ => {}
        }
    }
    blocks
}

fn section(
    text: &str,
    path: &[(HeadingLevel, String)],
    range: Range<usize>,
    body_starts: &[usize],
) -> Section {
    let headings: Vec<&str> =
        path.iter().map(|(_, heading)| heading.as_str()).filter(|h| !h.is_empty()).collect();
    let heading = cut(&headings.join(SEPARATOR), MAX_HEADING_BYTES).to_owned();
    let mut pieces = Vec::new();
    let mut start = range.start;
    // Whole blocks as long as they fit together.
    let ends = body_starts.iter().copied().filter(|at| *at > range.start).chain([range.end]);
    let mut fitting_end = start;
    for end in ends {
        if end - start > MAX_PIECE_BYTES && fitting_end > start {
            push_piece(text, start..fitting_end, &mut pieces);
            start = fitting_end;
        }
        fitting_end = end;
    }
    push_piece(text, start..range.end, &mut pieces);
    Section { heading, pieces }
}

fn push_piece(text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) {
    if range.len() > MAX_PIECE_BYTES {
        // One block longer than a piece (a dump in a code fence): cut as plain text.
        cut_plain(text, range, pieces);
    } else if !range.is_empty() {
        pieces.push(Piece { range, is_markdown: true });
    }
}

/// Cuts at the last empty line of each window, or else its last line end, white space or
/// character.
fn cut_plain(text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) {
    let mut start = range.start;
    while range.end - start > MAX_PIECE_BYTES {
        let limit = text.floor_char_boundary(start + MAX_PIECE_BYTES);
        let window = &text[start..limit];
        let is_late = |at: &usize| *at > window.len() / 2;
        let length = window
            .rfind("\n\n")
            .map(|at| at + 2)
            .filter(is_late)
            .or_else(|| window.rfind('\n').map(|at| at + 1).filter(is_late))
            .or_else(|| window.rfind(char::is_whitespace).filter(is_late))
            .unwrap_or(window.len());
        pieces.push(Piece { range: start..start + length, is_markdown: false });
        start += length;
    }
    if start < range.end {
        pieces.push(Piece { range: start..range.end, is_markdown: false });
    }
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
            for piece in &section.pieces {
                assert_eq!(piece.range.start, end, "pieces leave no gap");
                end = piece.range.end;
            }
            sections.push((section.heading, text[start..end].trim().to_owned()));
        }
        assert_eq!(end, text.len(), "pieces reach the end");
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
    fn long_sections_become_pieces() {
        let paragraph = "word ".repeat(2000);
        let text = format!("# A\n\n{}", format!("{paragraph}\n\n").repeat(10));
        let long = markdown(&text);
        let pieces = &long.sections[0].pieces;
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|p| p.range.len() <= MAX_PIECE_BYTES && p.is_markdown));

        let fence = format!("# A\n\n```\n{}```\n", "line of code\n".repeat(20_000));
        outline(&fence);
        let long = markdown(&fence);
        let pieces = &long.sections[0].pieces;
        assert!(pieces.iter().all(|p| p.range.len() <= MAX_PIECE_BYTES));
        assert!(pieces.iter().any(|p| !p.is_markdown));

        let unbroken = "é".repeat(100_000);
        let pieces = &plain(&unbroken).sections[0].pieces;
        assert!(pieces.iter().all(|p| unbroken.is_char_boundary(p.range.end)));
        assert_eq!(pieces.last().unwrap().range.end, unbroken.len());
    }
}
