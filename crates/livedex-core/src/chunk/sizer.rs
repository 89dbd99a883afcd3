//! How long a slice of a text is, in tokens, without tokenising it again and again.
//!
//! text-splitter asks for the size of some ten overlapping slices for every chunk it finds, and
//! a real tokenizer reads only a few megabytes a second. So the text is counted word by word
//! once, equal words only once, and a slice's size is a difference of two sums.
//!
//! The sum is the exact count for tokenizers that split at white space first (WordPiece,
//! SentencePiece with a metaspace), and at most a few tokens off for byte-level BPE. The chunker
//! counts each finished chunk as a whole and cuts again what is too long after all.

use std::{cell::RefCell, collections::HashMap};

use text_splitter::ChunkSizer;

use crate::ports::TokenCounter;

/// Bytes of one counted word: longer runs without white space (Chinese, Japanese, base64) are
/// counted in parts, so that a boundary inside them costs little.
const MAX_WORD_BYTES: usize = 128;

/// A size above every budget.
const TOO_LONG: usize = usize::MAX / 2;

/// Token counts by word, kept for one document.
#[derive(Default)]
pub(super) struct WordCounts<'text> {
    counts: RefCell<HashMap<&'text str, u32>>,
}

impl<'text> WordCounts<'text> {
    /// Tokens of `text`, word by word.
    pub(super) fn sum(&self, text: &'text str, tokens: &dyn TokenCounter) -> usize {
        words(text).map(|word| self.count(word, tokens)).sum()
    }

    fn count(&self, word: &'text str, tokens: &dyn TokenCounter) -> usize {
        if word.is_empty() {
            return 0;
        }
        let mut counts = self.counts.borrow_mut();
        *counts.entry(word).or_insert_with(|| u32::try_from(tokens.count(word)).unwrap_or(u32::MAX))
            as usize
    }
}

/// The sizes of all slices of one text.
pub(super) struct Sizer<'text, 'a> {
    text: &'text str,
    tokens: &'a dyn TokenCounter,
    words: &'a WordCounts<'text>,
    /// Where words end, ascending, the first being 0.
    ends: Vec<usize>,
    /// Tokens before each of `ends`.
    sums: Vec<usize>,
    /// A slice longer than this is over every budget.
    max_bytes: usize,
}

impl<'text, 'a> Sizer<'text, 'a> {
    /// Counts the words of `text`. Slices of more than `max_bytes` bytes will be called too long
    /// whatever their tokens.
    pub(super) fn new(
        text: &'text str,
        tokens: &'a dyn TokenCounter,
        words: &'a WordCounts<'text>,
        max_bytes: usize,
    ) -> Self {
        let mut ends = vec![0];
        let mut sums = vec![0];
        let (mut end, mut sum) = (0, 0);
        for word in self::words(text) {
            end += word.len();
            sum += words.count(word, tokens);
            ends.push(end);
            sums.push(sum);
        }
        Self { text, tokens, words, ends, sums, max_bytes }
    }
}

/// The words of a text, which together are the text.
fn words(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (word, rest) = text.split_at(word_length(text));
        text = rest;
        (!word.is_empty()).then_some(word)
    })
}

/// The length of the first word of a text that is not empty: white space, then what follows it.
fn word_length(text: &str) -> usize {
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            if in_word {
                return at;
            }
        } else {
            in_word = true;
        }
        if at >= MAX_WORD_BYTES {
            return at;
        }
    }
    text.len()
}

impl ChunkSizer for Sizer<'_, '_> {
    fn size(&self, chunk: &str) -> usize {
        if chunk.len() > self.max_bytes {
            return TOO_LONG;
        }
        // text-splitter hands out slices of the text it was given.
        let offset = (chunk.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let is_slice = offset.checked_add(chunk.len()).is_some_and(|end| end <= self.text.len());
        if !is_slice {
            return self.tokens.count(chunk);
        }
        let (start, end) = (offset, offset + chunk.len());
        let first = self.ends.partition_point(|at| *at < start);
        let last = self.ends.partition_point(|at| *at <= end) - 1;
        if first > last {
            return self.words.count(&self.text[start..end], self.tokens);
        }
        self.words.count(&self.text[start..self.ends[first]], self.tokens)
            + (self.sums[last] - self.sums[first])
            + self.words.count(&self.text[self.ends[last]..end], self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// Splits at white space first, three bytes a token, and counts the bytes it has read.
    #[derive(Default)]
    struct Words {
        read: AtomicUsize,
    }

    impl TokenCounter for Words {
        fn count(&self, text: &str) -> usize {
            self.read.fetch_add(text.len(), Ordering::Relaxed);
            text.split_whitespace().map(|word| word.chars().count().div_ceil(3)).sum()
        }
    }

    proptest! {
        #[test]
        fn a_slice_has_the_tokens_of_its_text(text in "([a-zäß\u{4e00}]{0,9}[ \n]{0,3}){0,20}", from: prop::sample::Index, to: prop::sample::Index) {
            let tokens = Words::default();
            let words = WordCounts::default();
            let sizer = Sizer::new(&text, &tokens, &words, usize::MAX);
            let boundary = |index: &prop::sample::Index| text.floor_char_boundary(index.index(text.len() + 1));
            let (a, b) = (boundary(&from), boundary(&to));
            let slice = &text[a.min(b)..a.max(b)];
            prop_assert_eq!(sizer.size(slice), tokens.count(slice));
        }
    }

    #[test]
    fn equal_words_are_read_once() {
        let text = "the same words again ".repeat(1000);
        let tokens = Words::default();
        let words = WordCounts::default();
        let sizer = Sizer::new(&text, &tokens, &words, usize::MAX);
        for start in 0..500 {
            sizer.size(&text[start * 20..]);
        }
        assert!(tokens.read.load(Ordering::Relaxed) < 500, "read {tokens:?}", tokens = tokens.read);
    }

    #[test]
    fn long_slices_are_too_long_whatever_their_tokens() {
        let text = format!("a{}b", " ".repeat(1000));
        let tokens = Words::default();
        let words = WordCounts::default();
        let sizer = Sizer::new(&text, &tokens, &words, 100);
        assert_eq!(sizer.size(&text), TOO_LONG);
        assert_eq!(sizer.size(&text[..100]), 1);
        // Not a slice of the text.
        assert_eq!(sizer.size("one two"), 2);
    }
}
