//! Any text, cut into chunks.

use std::sync::Arc;

use livedex_core::{
    chunk::{ChunkConfig, Chunker, embed_text},
    document::{ContentType, Document},
    ids::{DocumentId, DocumentKey, Tenant},
    limits::{MAX_CHUNK_TEXT_BYTES, MAX_HEADING_BYTES, MIN_CHUNK_TOKENS},
    ports::TokenCounter,
};

/// Four bytes of a word are a token, and so is every sign.
struct Tokens;

impl TokenCounter for Tokens {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace()
            .map(|word| {
                let signs = word.chars().filter(char::is_ascii_punctuation).count();
                signs + (word.len() - signs).div_ceil(4)
            })
            .sum()
    }
}

/// Cuts the text behind the first three bytes, which say how long chunks are, how much of them
/// overlaps, and what the text is written in.
///
/// # Panics
/// If a chunk is empty, too long or out of order, if text is lost between two chunks, or if the
/// same text is cut in two ways.
pub fn chunking(data: &[u8]) {
    let [tokens, overlap, kind, text @ ..] = data else { return };
    let max_tokens = MIN_CHUNK_TOKENS + usize::from(*tokens);
    let overlap_tokens = usize::from(*overlap) % (max_tokens / 4 + 1);
    let content_type =
        [ContentType::Plain, ContentType::Markdown, ContentType::Html][usize::from(*kind) % 3];
    let document = Document {
        key: DocumentKey {
            tenant: Tenant::default(),
            id: DocumentId::new("id").expect("an id that is short"),
        },
        title: None,
        text: String::from_utf8_lossy(text).into_owned(),
        content_type,
        url: None,
        metadata: Default::default(),
        version: None,
        updated_at_ms: None,
    };
    let config = ChunkConfig { max_tokens, overlap_tokens };
    let chunker = Chunker::new(config, Arc::new(Tokens)).expect("a configuration within bounds");
    let Ok(chunked) = chunker.chunk(&document) else { return };

    let title = chunked.title.as_deref().unwrap_or_default();
    for (index, chunk) in chunked.chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal as usize, index);
        assert!(!chunk.text.trim().is_empty(), "chunk {index} is empty");
        assert!(
            chunk.text.len() <= MAX_CHUNK_TEXT_BYTES && chunk.heading.len() <= MAX_HEADING_BYTES
        );
        let embedded = embed_text(title, &chunk.heading, &chunk.text);
        assert_eq!(chunk.tokens, Tokens.count(&embedded));
        // A context of more than half of it leaves the text the other half.
        let n_context = Tokens.count(&embed_text(title, &chunk.heading, ""));
        let limit = max_tokens.max(n_context + max_tokens / 2);
        assert!(chunk.tokens <= limit, "{} of {limit} tokens: {chunk:?}", chunk.tokens);
    }
    if content_type != ContentType::Html && overlap_tokens == 0 {
        nothing_is_lost(&document.text, chunked.chunks.iter().map(|chunk| &*chunk.text));
    }
    let again = chunker.chunk(&document).expect("it could be cut before");
    assert!(again.title == chunked.title && again.chunks == chunked.chunks, "cut in another way");
}

/// Each chunk is a piece of the text, behind the one before, with only blanks between them.
fn nothing_is_lost<'a>(text: &str, chunks: impl Iterator<Item = &'a str>) {
    let mut rest = text;
    for chunk in chunks {
        let at = rest.find(chunk).expect("a chunk is a piece of the text");
        assert!(rest[..at].trim().is_empty(), "lost: {:?}", &rest[..at]);
        rest = &rest[at + chunk.len()..];
    }
    assert!(rest.trim().is_empty(), "lost at the end: {rest:?}");
}
