//! Which blocks of a section, and which lines of a long block, form a chunk together.
//!
//! Blocks are packed as long as they fit; one that is longer than a chunk stands alone, and
//! packing starts afresh behind it. A long block that is made of lines (code, a table, a list,
//! HTML) is cut between them where its own content says: after an empty line, else at the least
//! indentation, and among equals before the line with the smallest hash. So an item, a row or an
//! object is kept in one piece, and after an edit the cuts soon fall where they fell before: the
//! chunks behind it keep their ids and their vectors. Cutting where the chunk is full would move
//! all of them.

use std::ops::Range;

use super::sections::Block;
use crate::ids::ContentHash;

/// The columns that a tab counts for.
const TAB: usize = 4;

/// How long chunks are, their context left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) tokens: usize,
    pub(super) bytes: usize,
    /// Tokens that a chunk repeats of the one before it, at most.
    pub(super) overlap: usize,
}

/// What is a chunk, or is longer than one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) range: Range<usize>,
    /// The one block or line that it is, if that is longer than a chunk.
    pub(super) long: Option<usize>,
}

/// Groups of consecutive blocks. `count` counts tokens.
pub(super) fn blocks<'text>(
    text: &'text str,
    blocks: &[Block],
    budget: Budget,
    count: &dyn Fn(&'text str) -> usize,
) -> Vec<Group> {
    let spans = blocks.iter().map(|block| (block.range.clone(), 0)).collect();
    Packer::new(text, spans, budget, count).pack(|_, full| full)
}

/// Groups of consecutive lines of `block`.
pub(super) fn lines<'text>(
    text: &'text str,
    block: &Block,
    budget: Budget,
    count: &dyn Fn(&'text str) -> usize,
) -> Vec<Group> {
    let packer = Packer::new(text, line_spans(text, block), budget, count);
    packer.pack(|from, full| packer.best_cut(from, full))
}

/// Something that is not cut here, and how bad a cut before it is; 0 is best.
type Span = (Range<usize>, usize);

struct Packer<'text> {
    text: &'text str,
    spans: Vec<Span>,
    /// Tokens before each span, and of all.
    sums: Vec<usize>,
    budget: Budget,
}

impl<'text> Packer<'text> {
    fn new(
        text: &'text str,
        spans: Vec<Span>,
        budget: Budget,
        count: &dyn Fn(&'text str) -> usize,
    ) -> Self {
        let mut sums = vec![0];
        let mut sum = 0;
        for (range, _) in &spans {
            sum += count(&text[range.clone()]);
            sums.push(sum);
        }
        Self { text, spans, sums, budget }
    }

    /// `cut` is given the first atom of a group and the end of the longest one, and chooses the
    /// group's end.
    fn pack(&self, cut: impl Fn(usize, usize) -> usize) -> Vec<Group> {
        let mut groups = Vec::new();
        // A group is `from..`, and its own are those from `next` on.
        let (mut from, mut next) = (0, 0);
        while next < self.spans.len() {
            let mut full = next + 1;
            while full < self.spans.len() && self.fits(from, full + 1) {
                full += 1;
            }
            let is_cut = full < self.spans.len() && self.fits(full, full + 1);
            let end = if is_cut { cut(next, full) } else { full };
            let range = self.spans[from].0.start..self.spans[end - 1].0.end;
            groups.push(Group { range, long: (!self.fits(from, end)).then_some(next) });
            from = self.overlap_start(next, end);
            next = end;
        }
        groups
    }

    fn tokens(&self, from: usize, to: usize) -> usize {
        self.sums[to] - self.sums[from]
    }

    fn fits(&self, from: usize, to: usize) -> bool {
        let bytes = self.spans[to - 1].0.end - self.spans[from].0.start;
        self.tokens(from, to) <= self.budget.tokens && bytes <= self.budget.bytes
    }

    /// Where the group behind one of `from..end` starts: it repeats what the overlap allows, and
    /// never all of it.
    fn overlap_start(&self, from: usize, end: usize) -> usize {
        let mut start = end;
        while start > from + 1
            && end < self.spans.len()
            && self.tokens(start - 1, end) <= self.budget.overlap
            && self.fits(start - 1, end + 1)
        {
            start -= 1;
        }
        start
    }

    /// The best end of a group that is a third full at least.
    fn best_cut(&self, from: usize, full: usize) -> usize {
        let cuts = (from + 1..=full).filter(|&at| self.tokens(from, at) * 3 >= self.budget.tokens);
        let least = cuts.clone().map(|at| self.spans[at].1).min();
        let hash = |at: &usize| {
            let line = self.text[self.spans[*at].0.clone()].trim();
            ContentHash::of([line.as_bytes()])
        };
        let best = cuts.filter(|&at| Some(self.spans[at].1) == least).min_by_key(hash);
        best.unwrap_or(full)
    }
}

/// The lines of a block. Headings stay with what follows them, an empty line and what closes
/// something (a bracket, a tag, a fence) with what is before it, and a fence that opens with the
/// first line of its code: alone they say nothing.
fn line_spans(text: &str, block: &Block) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut fence: Option<&str> = None;
    let (mut at, mut is_glued, mut is_after_empty) = (block.range.start, false, false);
    for line in text[block.range.clone()].split_inclusive('\n') {
        let end = at + line.len();
        let content = line.trim();
        let marker = fence_marker(content);
        let closes = marker == Some(content) && fence.is_some_and(|open| content.starts_with(open));
        let opens = fence.is_none() && marker.is_some();
        // One that does neither is code that looks like it.
        let is_inner = fence.is_some() && marker.is_some();
        match spans.last_mut() {
            Some((last, _)) if is_glued || is_inner || content.is_empty() || is_closer(content) => {
                last.end = end;
            }
            _ => {
                let rank = if is_after_empty { 0 } else { 1 + indentation(line) };
                spans.push((at..end, rank));
            }
        }
        is_glued = opens || end <= block.body || (is_glued && content.is_empty());
        is_after_empty = content.is_empty();
        fence = match (opens, closes) {
            (true, _) => marker,
            (_, true) => None,
            _ => fence,
        };
        at = end;
    }
    // A fence that nothing follows.
    if let [.., (before, _), (last, _)] = &mut spans[..]
        && is_fence(&text[last.clone()])
    {
        before.end = last.end;
        spans.pop();
    }
    spans
}

/// The run of backticks or tildes that a line begins with, if it is a fence of code.
fn fence_marker(line: &str) -> Option<&str> {
    let sign = line.chars().next().filter(|sign| matches!(sign, '`' | '~'))?;
    let info = line.trim_start_matches(sign);
    let marker = &line[..line.len() - info.len()];
    // A backtick further on makes it code within a line.
    (marker.len() >= 3 && !info.contains('`')).then_some(marker)
}

/// Whether a text is nothing but a fence of code, opening (with its language) or closing.
pub(super) fn is_fence(text: &str) -> bool {
    /// Bytes of a language's name.
    const MAX_LANGUAGE: usize = 20;
    let text = text.trim();
    fence_marker(text).is_some_and(|marker| {
        let language = &text[marker.len()..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || "+#-_.".contains(c);
        language.len() <= MAX_LANGUAGE && language.chars().all(is_name)
    })
}

fn is_closer(line: &str) -> bool {
    line.starts_with(['}', ')', ']'])
        || line.starts_with("</")
        // The rule below a table's head.
        || (line.starts_with('|') && line.chars().all(|c| matches!(c, '|' | ':' | '-' | ' ')))
}

fn indentation(line: &str) -> usize {
    let blank = line.chars().take_while(|c| c.is_whitespace());
    blank.map(|c| if c == '\t' { TAB } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::sections::Form, *};

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn block(text: &str) -> Block {
        Block { range: 0..text.len(), body: 0, form: Form::Lines }
    }

    fn cut(text: &str, tokens: usize) -> Vec<&str> {
        let budget = Budget { tokens, bytes: 10_000, overlap: 0 };
        let groups = lines(text, &block(text), budget, &words);
        groups.into_iter().map(|group| &text[group.range]).collect()
    }

    #[test]
    fn what_is_indented_less_is_the_better_place() {
        let list = "- a b\n  - c d\n  - e f\n- g h\n  - i j\n- k l\n";
        assert_eq!(cut(list, 10)[0], "- a b\n  - c d\n  - e f\n");
        let code = "```rust\nfn a() {\n    one\n    two\n}\nfn b() {\n    three\n}\n```\n";
        let chunks = cut(code, 9);
        assert_eq!(
            chunks,
            ["```rust\nfn a() {\n    one\n    two\n}\n", "fn b() {\n    three\n}\n```\n"]
        );
        // An empty line is better still.
        assert_eq!(cut("a b\nc d\n\n  e f\ng h\n", 7)[0], "a b\nc d\n\n");
    }

    #[test]
    fn a_tables_head_keeps_its_rule() {
        let rows = "| a | b |\n| - | - |\n".to_owned() + &"| c | d |\n".repeat(20);
        assert!(cut(&rows, 12).iter().all(|chunk| !chunk.starts_with("| -")));
    }

    #[test]
    fn fences_are_never_alone() {
        let code = "let x = 1;\n".repeat(50);
        for text in [
            format!("```rust\n{code}```\n"),
            format!("~~~\n\n{code}~~~\n"),
            // The inner fence neither opens nor closes.
            format!("````md\n```rust\n{code}```\n````\n"),
        ] {
            for tokens in 6..30 {
                let chunks = cut(&text, tokens);
                assert!(chunks.len() > 3 && !chunks.iter().any(|chunk| is_fence(chunk)));
            }
        }
        for (text, expected) in [
            ("```rust", true),
            (" ~~~~\n", true),
            ("``", false),
            ("```a```", false),
            ("```\na", false),
        ] {
            assert_eq!(is_fence(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_block_stands_alone_and_packing_starts_afresh_behind_it() {
        let text = "a b c d e f g h i j";
        let ranges = [0..4, 4..8, 8..16, 16..18, 18..19];
        let all: Vec<Block> =
            ranges.map(|range| Block { body: range.start, range, form: Form::Prose }).to_vec();
        let budget = Budget { tokens: 3, bytes: 100, overlap: 0 };
        let groups = blocks(text, &all, budget, &words);
        let found: Vec<_> = groups.iter().map(|group| (group.range.clone(), group.long)).collect();
        assert_eq!(found, [(0..4, None), (4..8, None), (8..16, Some(2)), (16..19, None)]);
    }

    /// Lines of their own, now and then indented or empty.
    fn code() -> impl Strategy<Value = Vec<String>> {
        let line = prop_oneof![
            6 => "[a-z]{1,8}( [a-z0-9]{1,8}){0,6}",
            3 => "    [a-z]{1,8}( [a-z0-9]{1,8}){0,6}",
            1 => Just(String::new()),
            1 => Just("}".to_owned()),
        ];
        prop::collection::vec(line, 1..120)
    }

    proptest! {
        #[test]
        fn groups_cover_the_block_within_the_budget(code in code(), tokens in 8_usize..40, overlap in 0_usize..8) {
            let text = code.join("\n");
            let budget = Budget { tokens, bytes: 200, overlap };
            let (mut start, mut end) = (0, 0);
            for group in lines(&text, &block(&text), budget, &words) {
                let piece = &text[group.range.clone()];
                let fits = words(piece) <= tokens && piece.len() <= 200;
                prop_assert_eq!(group.long.is_none(), fits);
                prop_assert!(group.range.start <= end && group.range.end > end);
                prop_assert!(end == 0 || group.range.start > start, "no progress");
                let repeated = words(&text[group.range.start..end.max(group.range.start)]);
                prop_assert!(repeated <= overlap);
                (start, end) = (group.range.start, group.range.end);
            }
            prop_assert_eq!(end, text.len());
        }

        /// An edit is felt near it only: most chunks keep their text.
        #[test]
        fn cuts_fall_where_they_fell_before(
            lines in prop::collection::vec("[a-z]{3,8}( [a-z0-9]{1,8}){1,5}", 150..200),
            edit in "[A-Z]{3,9}( [A-Z]{1,8}){0,9}",
            at in 0..40_usize,
        ) {
            let before = lines.join("\n");
            let mut edited = lines;
            edited.insert(at, edit);
            let edited = edited.join("\n");
            let (before, after) = (cut(&before, 40), cut(&edited, 40));
            let n_kept = after.iter().filter(|chunk| before.contains(chunk)).count();
            prop_assert!(n_kept * 2 > before.len(), "{n_kept} of {}", before.len());
        }
    }
}
