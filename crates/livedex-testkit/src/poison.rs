//! Records that can never be processed, of every kind.

use livedex_core::{ids::DocumentKey, limits::MAX_CHUNKS_PER_DOCUMENT, record::Stage};

use crate::crash::ports::{NOT_A_NUMBER, UNEMBEDDABLE};

/// A kind of poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// JSON that ends in the middle.
    BrokenJson,
    /// Bytes that are no UTF-8.
    BadUtf8,
    /// JSON that is no document.
    WrongSchema,
    /// No bytes at all, which is no tombstone.
    EmptyValue,
    /// A document of one byte more than a document may have.
    Oversized,
    /// A document of one chunk more than a document may have.
    TooManyChunks,
    /// A document with a text that the embedder refuses.
    Unembeddable,
    /// A document with a text that the embedder makes NaN of.
    NotANumber,
    /// A document with a text that Milvus refuses, if a
    /// [`MilvusProxy`](crate::milvus_proxy::MilvusProxy) says so for it.
    Unstorable,
}

/// The word that a Milvus behind a proxy refuses.
pub const UNSTORABLE: &str = "UNSTORABLE";

impl Poison {
    /// All that needs nothing but a worker.
    pub const ALL: [Self; 8] = [
        Self::BrokenJson,
        Self::BadUtf8,
        Self::WrongSchema,
        Self::EmptyValue,
        Self::Oversized,
        Self::TooManyChunks,
        Self::Unembeddable,
        Self::NotANumber,
    ];

    /// Those that cost a worker next to nothing.
    pub const SMALL: [Self; 6] = [
        Self::BrokenJson,
        Self::BadUtf8,
        Self::WrongSchema,
        Self::EmptyValue,
        Self::Unembeddable,
        Self::NotANumber,
    ];

    /// The step that refuses it.
    pub fn stage(self) -> Stage {
        match self {
            Self::TooManyChunks => Stage::Chunk,
            Self::Unembeddable | Self::NotANumber => Stage::Embed,
            Self::Unstorable => Stage::Write,
            _ => Stage::Decode,
        }
    }

    /// Whether it can be decoded: it is then a version of a document that never takes effect.
    pub fn is_document(self) -> bool {
        self.stage() != Stage::Decode
    }

    /// Its value. `key` is the document whose key the record has, if any; documents have at most
    /// `max_document_bytes`.
    pub fn value(self, key: Option<&DocumentKey>, max_document_bytes: usize) -> Vec<u8> {
        match self {
            Self::BrokenJson => br#"{"text": "never en"#.to_vec(),
            Self::BadUtf8 => b"{\"text\": \"\xff\xfe\"}".to_vec(),
            Self::WrongSchema => br#"{"text": 5, "id": []}"#.to_vec(),
            Self::EmptyValue => Vec::new(),
            Self::Oversized => {
                let value = document(key, "");
                let rest = (max_document_bytes + 1).saturating_sub(value.len());
                document(key, &"x".repeat(rest))
            }
            Self::TooManyChunks => {
                let sections =
                    (0..=MAX_CHUNKS_PER_DOCUMENT).map(|n| format!("## {n}\\n\\nw\\n\\n"));
                document(key, &sections.collect::<String>())
            }
            Self::Unembeddable => document(key, &between(UNEMBEDDABLE)),
            Self::NotANumber => document(key, &between(NOT_A_NUMBER)),
            Self::Unstorable => document(key, &between(UNSTORABLE)),
        }
    }
}

/// A text of three chunks, the middle one with `word`.
fn between(word: &str) -> String {
    format!("# One\\n\\nBefore it.\\n\\n# Two\\n\\nThen {word}.\\n\\n# Three\\n\\nAfter it.\\n")
}

/// A value of `document.v1`. `text` is escaped already.
fn document(key: Option<&DocumentKey>, text: &str) -> Vec<u8> {
    let id = key.map_or_else(String::new, |key| format!(r#""id": "{}", "#, key.id));
    format!(r#"{{{id}"content_type": "text/markdown", "text": "{text}"}}"#).into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::sync::Arc;

    use livedex_core::{
        chunk::{ChunkConfig, ChunkError, Chunker},
        document::Change,
        ids::{DocumentId, Tenant},
        lease::Lease,
        record::{RawRecord, SourcePosition},
    };
    use livedex_wire::document::NativeDecoder;

    use super::*;
    use crate::embedder::Words;

    #[test]
    fn each_is_refused_by_the_step_it_says() {
        let key = DocumentKey { tenant: Tenant::default(), id: DocumentId::new("a/b.md").unwrap() };
        let config = ChunkConfig { max_tokens: 60, overlap_tokens: 0 };
        let chunker = Chunker::new(config, Arc::new(Words)).unwrap();
        for poison in Poison::ALL.into_iter().chain([Poison::Unstorable]) {
            let value = poison.value(Some(&key), 500_000);
            if poison == Poison::Oversized {
                assert_eq!(value.len(), 500_001);
            }
            let record = RawRecord {
                position: SourcePosition { topic: Arc::from("t"), partition: 0, offset: 0 },
                key: Some(key.id.as_str().as_bytes().to_vec()),
                value: Some(value),
                headers: Vec::new(),
                timestamp_ms: None,
                lease: Lease::new(),
            };
            let change = NativeDecoder::new(500_000).change(&record);
            assert_eq!(change.is_ok(), poison.is_document(), "{poison:?}: {change:?}");
            let Ok(Change::Upsert(document)) = change else { continue };
            assert_eq!(document.key, key);
            match chunker.chunk(&document) {
                Ok(chunked) => {
                    assert!(matches!(poison.stage(), Stage::Embed | Stage::Write), "{poison:?}");
                    assert_eq!(chunked.chunks.len(), 3);
                }
                Err(ChunkError::TooManyChunks { .. }) => {
                    assert_eq!(poison, Poison::TooManyChunks);
                }
                Err(error) => panic!("{poison:?}: {error}"),
            }
        }
    }
}
