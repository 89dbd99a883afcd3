//! Token-aware, structure-aware chunks.
//!
//! Guarantees: chunks are slices of the text (of an HTML page: of its main content as markdown),
//! in order; all text but white space is in a chunk; none spans two sections of a markdown text;
//! none is only a fence of code, unless its section is; each, together with its context, has at
//! most [`ChunkConfig::max_tokens`] tokens and at most [`MAX_CHUNK_TEXT_BYTES`] bytes.
//!
//! What of a section goes together is decided in `pack`; where a long paragraph, or a long line,
//! is cut is text-splitter's work (sentences, words, characters, the largest that fits).

use std::{ops::Range, sync::Arc};

use text_splitter::{MarkdownSplitter, TextSplitter};

use self::{
    context::{context, cut},
    pack::Budget,
    sections::{Block, Form, Outline, Section},
    sizer::{Sizer, WordCounts},
};
use crate::{
    document::{ContentType, Document},
    html::{self, HtmlError},
    limits::{MAX_CHUNK_TEXT_BYTES, MAX_CHUNKS_PER_DOCUMENT, MAX_TITLE_BYTES, MIN_CHUNK_TOKENS},
    ports::TokenCounter,
};

mod context;
mod pack;
mod sections;
mod sizer;

pub use context::embed_text;

/// Bytes of text for a token of the budget: prose has 4 or 5 in any language. More is white
/// space, or words that a tokenizer gives up on; a chunk of a hundred kilobytes of them would
/// say nothing.
const MAX_BYTES_PER_TOKEN: usize = 32;

/// How long chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkConfig {
    /// Tokens of one chunk's embedded text (context and text), without special tokens. At least
    /// [`MIN_CHUNK_TOKENS`].
    pub max_tokens: usize,
    /// Tokens that neighbouring chunks of one section share at most; a quarter of `max_tokens`
    /// at most.
    pub overlap_tokens: usize,
}

impl ChunkConfig {
    /// Checks both bounds.
    pub fn validate(&self) -> Result<(), ChunkConfigError> {
        if self.max_tokens < MIN_CHUNK_TOKENS {
            return Err(ChunkConfigError::TooSmall {
                value: self.max_tokens,
                limit: MIN_CHUNK_TOKENS,
            });
        }
        let limit = self.max_tokens / 4;
        if self.overlap_tokens > limit {
            return Err(ChunkConfigError::Overlap { value: self.overlap_tokens, limit });
        }
        Ok(())
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkConfigError {
    /// Chunks would be too short to say anything.
    #[error("chunk.max_tokens is {value}, the least is {limit}")]
    TooSmall {
        /// What was given.
        value: usize,
        /// The least, inclusive.
        limit: usize,
    },
    /// Chunks would be mostly overlap.
    #[error(
        "chunk.overlap_tokens is {value}, the limit is {limit} (a quarter of chunk.max_tokens)"
    )]
    Overlap {
        /// What was given.
        value: usize,
        /// The limit, inclusive.
        limit: usize,
    },
}

/// Why a document cannot be chunked, ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// More chunks than a document may have.
    #[error(
        "the document ({bytes} bytes) has more than {limit} chunks of up to {max_tokens} tokens: \
         split it, or raise chunk.max_tokens"
    )]
    TooManyChunks {
        /// Bytes of its text.
        bytes: usize,
        /// The limit, inclusive.
        limit: usize,
        /// Tokens of one chunk.
        max_tokens: usize,
    },
    /// Its HTML cannot be read.
    #[error(transparent)]
    Html(#[from] HtmlError),
}

impl ChunkError {
    /// A stable name of the error's kind, for dead letters.
    pub fn class(&self) -> &'static str {
        match self {
            Self::TooManyChunks { .. } => "ChunkError.TooManyChunks",
            Self::Html(_) => "ChunkError.Html",
        }
    }
}

/// A chunk of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the document, from 0.
    pub ordinal: u32,
    /// A slice of the document's text (for HTML: of its main content as markdown).
    pub text: String,
    /// The headings above it, its own last, joined by " > "; empty if there are none.
    pub heading: String,
    /// Tokens of its [`embed_text`], without special tokens.
    pub tokens: usize,
}

/// A document in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunked {
    /// The document's title: its own, or else that of its HTML page, or else the level-1 heading
    /// its markdown begins with. At most [`MAX_TITLE_BYTES`].
    pub title: Option<String>,
    /// Its chunks in order; none if it has no text.
    pub chunks: Vec<Chunk>,
}

/// Cuts documents into chunks. Pure and deterministic: the same document always gives the same
/// chunks, so a replay writes the same rows.
#[derive(Clone)]
pub struct Chunker {
    config: ChunkConfig,
    tokens: Arc<dyn TokenCounter>,
}

impl Chunker {
    /// A chunker that counts tokens with `tokens`, the embedder's own counter.
    pub fn new(
        config: ChunkConfig,
        tokens: Arc<dyn TokenCounter>,
    ) -> Result<Self, ChunkConfigError> {
        config.validate()?;
        Ok(Self { config, tokens })
    }

    /// The configuration.
    pub fn config(&self) -> ChunkConfig {
        self.config
    }

    /// Cuts a document into chunks; none if it has no text.
    pub fn chunk(&self, document: &Document) -> Result<Chunked, ChunkError> {
        let page;
        let (text, mut outline) = match document.content_type {
            ContentType::Plain => (&document.text, sections::plain(&document.text)),
            ContentType::Markdown => (&document.text, sections::markdown(&document.text)),
            ContentType::Html => {
                page = html::main_content(&document.text)?;
                let outline = sections::markdown(&page.markdown);
                let title = page.title.or(outline.title);
                (&page.markdown, Outline { title, sections: outline.sections })
            }
        };
        let own_title = document.title.clone().filter(|title| !title.trim().is_empty());
        let title = own_title
            .or(outline.title.take())
            .map(|title| cut(title.trim(), MAX_TITLE_BYTES).to_owned());

        let words = WordCounts::default();
        let mut run = Run {
            chunker: self,
            text,
            title: title.as_deref().unwrap_or_default(),
            words: &words,
            chunks: Vec::new(),
        };
        for section in &outline.sections {
            run.section(section)?;
        }
        Ok(Chunked { chunks: run.chunks, title })
    }
}

/// One document on its way through the chunker.
struct Run<'text, 'a> {
    chunker: &'a Chunker,
    text: &'text str,
    title: &'a str,
    words: &'a WordCounts<'text>,
    chunks: Vec<Chunk>,
}

impl<'text> Run<'text, '_> {
    fn section(&mut self, section: &Section) -> Result<(), ChunkError> {
        let ChunkConfig { max_tokens, overlap_tokens } = self.chunker.config;
        let tokens = self.chunker.tokens.as_ref();
        let mut context = context(self.title, &section.heading, "");
        if !context.is_empty() {
            context.push_str("\n\n");
        }
        let n_context = tokens.count(&context);
        // At least half for the text: a context that is longer than the other half makes the
        // embedded text longer than the budget, and the model cuts off its end.
        let n_text = max_tokens.saturating_sub(n_context).max(max_tokens / 2);
        let limit = max_tokens.max(n_context + n_text);
        let max_bytes = (n_text * MAX_BYTES_PER_TOKEN).min(MAX_CHUNK_TEXT_BYTES);

        let budget = Budget { tokens: n_text, bytes: max_bytes, overlap: overlap_tokens };
        let limits = Limits { heading: &section.heading, tokens: limit, budget };
        let (text, words) = (self.text, self.words);
        let count = |text| words.sum(text, tokens);
        for group in pack::blocks(text, &section.blocks, budget, &count) {
            let Some(block) = group.long.map(|index| &section.blocks[index]) else {
                self.push(&limits, trim_lines(&text[group.range]))?;
                continue;
            };
            if block.form != Form::Lines {
                self.split(&limits, block.clone())?;
                continue;
            }
            for group in pack::lines(text, block, budget, &count) {
                if group.long.is_none() {
                    self.push(&limits, trim_lines(&text[group.range]))?;
                } else {
                    let line = Block { range: group.range, form: Form::Plain, ..*block };
                    self.split(&limits, line)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the chunks of what is longer than one and is cut at its sentences.
    fn split(&mut self, limits: &Limits<'_>, block: Block) -> Result<(), ChunkError> {
        let text = self.text;
        let windows = sections::windows(text, block.range.clone());
        // A part of it cannot be parsed alone.
        let is_markdown = block.form == Form::Prose && windows.len() == 1;
        for window in windows {
            let tokens = self.chunker.tokens.as_ref();
            let part = &text[window.clone()];
            let sizer = Sizer::new(part, tokens, self.words, limits.budget.bytes);
            let config =
                || text_splitter::ChunkConfig::new(limits.budget.tokens).with_sizer(&sizer);
            // The overlap is a quarter of the budget at most and the text gets half of it.
            let config = config().with_overlap(limits.budget.overlap).unwrap_or_else(|_| config());
            let slices: Vec<Range<usize>> = match is_markdown {
                true => ranges(MarkdownSplitter::new(config).chunk_indices(part)),
                false => ranges(TextSplitter::new(config).chunk_indices(part)),
            };
            // Headings and fences say nothing alone: they go with what follows, or at the end with
            // what is before.
            let mut held: Option<Range<usize>> = None;
            let mut bare: Option<Range<usize>> = None;
            for slice in slices {
                let slice = window.start + slice.start..window.start + slice.end;
                let start = bare.as_ref().map_or(slice.start, |bare| bare.start);
                if slice.end <= block.body || pack::is_fence(&text[slice.clone()]) {
                    bare = Some(start..slice.end);
                } else {
                    bare = None;
                    if let Some(held) = held.replace(start..slice.end) {
                        self.push(limits, &text[held])?;
                    }
                }
            }
            let last = match (held, bare) {
                (Some(held), Some(bare)) => held.start..bare.end,
                (Some(last), None) | (None, Some(last)) => last,
                (None, None) => continue,
            };
            self.push(limits, &text[last])?;
        }
        Ok(())
    }

    /// Adds a chunk, or its halves if it is too long after all (see [`sizer`]).
    fn push(&mut self, limits: &Limits<'_>, text: &str) -> Result<(), ChunkError> {
        let text = text.trim_end();
        if text.trim_start().is_empty() {
            return Ok(());
        }
        let tokens = self.chunker.tokens.count(&embed_text(self.title, limits.heading, text));
        let is_long = tokens > limits.tokens || text.len() > limits.budget.bytes;
        if is_long && let middle @ 1.. = middle(text) {
            self.push(limits, &text[..middle])?;
            return self.push(limits, text[middle..].trim_start());
        }
        if self.chunks.len() >= MAX_CHUNKS_PER_DOCUMENT {
            return Err(ChunkError::TooManyChunks {
                bytes: self.text.len(),
                limit: MAX_CHUNKS_PER_DOCUMENT,
                max_tokens: self.chunker.config.max_tokens,
            });
        }
        self.chunks.push(Chunk {
            ordinal: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            text: text.to_owned(),
            heading: limits.heading.to_owned(),
            tokens,
        });
        Ok(())
    }
}

/// What holds for the chunks of one section.
struct Limits<'a> {
    heading: &'a str,
    /// Tokens of the embedded text.
    tokens: usize,
    budget: Budget,
}

fn ranges<'a>(slices: impl Iterator<Item = (usize, &'a str)>) -> Vec<Range<usize>> {
    slices.map(|(start, slice)| start..start + slice.len()).collect()
}

/// Without the empty lines around a text; its first line keeps its indentation.
fn trim_lines(text: &str) -> &str {
    let text = text.trim_end();
    let margin = &text[..text.len() - text.trim_start().len()];
    &text[margin.rfind('\n').map_or(0, |at| at + 1)..]
}

/// Where to halve a text: at the white space before its middle or else behind it, or else at a
/// character; 0 if it is one character. Neither half is only a fence of code if that can be.
fn middle(text: &str) -> usize {
    let half = text.floor_char_boundary(text.len().div_ceil(2));
    let is_bare = |part: &str| part.trim().is_empty() || pack::is_fence(part);
    let is_good = |at: &usize| !is_bare(&text[..*at]) && !is_bare(&text[*at..]);
    let before = text[..half].rfind(char::is_whitespace).filter(is_good);
    let mut behind = text[half..].match_indices(char::is_whitespace).map(|(at, _)| half + at);
    let mut anywhere = (1..half).rev().filter(|&at| text.is_char_boundary(at));
    match before.or_else(|| behind.find(is_good)).or_else(|| anywhere.find(is_good)) {
        Some(at) => at,
        None if half == 0 => text.chars().next().map_or(0, char::len_utf8) % text.len().max(1),
        None => half,
    }
}

#[cfg(test)]
mod tests;
