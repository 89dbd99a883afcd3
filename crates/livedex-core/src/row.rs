//! What a chunk looks like in the collection.

use std::{collections::HashMap, sync::Arc};

use crate::{
    chunk::{Chunked, embed_text},
    document::{Document, Metadata, MetadataValue},
    ids::{ChunkId, ContentHash, DocumentKey},
    record::SourcePosition,
};

/// Everything of a chunk but its vector. One row of the collection is this and a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkFields {
    /// The primary key.
    pub id: ChunkId,
    /// The document it is part of.
    pub document: DocumentKey,
    /// Its place in the document, from 0.
    pub ordinal: u32,
    /// The chunk's own text.
    pub text: String,
    /// The headings above it, joined by " > "; empty if there are none.
    pub heading: String,
    /// The document's title; empty if it has none.
    pub title: String,
    /// The document's URL; empty if it has none.
    pub url: String,
    /// The document's metadata; its chunks share it.
    pub metadata: Arc<Metadata>,
    /// The producer's version; empty if it gave none.
    pub version: String,
    /// When the producer changed the document, milliseconds since 1970; 0 if it did not say.
    pub updated_at_ms: i64,
    /// The hash of the embedded text alone: equal texts share it across documents.
    pub content_hash: ContentHash,
    /// The hash of ordinal, text, heading, title, URL, metadata, version and time: when only this
    /// differs, the row is rewritten with its stored vector.
    pub attributes_hash: ContentHash,
    /// The version that the row is of: the record that brought it, or, if that was replayed, where
    /// it stood first ([`crate::replay::fence_position`]).
    pub position: SourcePosition,
}

/// A row to write.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkRow {
    /// Everything but the vector.
    pub fields: ChunkFields,
    /// The embedding: L2-normalised, as many numbers as the model has dimensions.
    pub vector: Vec<f32>,
}

/// What the diff needs to know of a row that is in the collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The primary key.
    pub id: ChunkId,
    /// See [`ChunkFields::attributes_hash`].
    pub attributes_hash: ContentHash,
    /// See [`ChunkFields::position`].
    pub position: SourcePosition,
}

/// A chunk that is ready to be compared with the collection and, if new, embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedChunk {
    /// The row to be, without its vector.
    pub fields: ChunkFields,
    /// What is embedded: [`embed_text`] of the chunk.
    pub embed_text: String,
}

/// Makes the rows of a document from its chunks. `fingerprint` is the embedder's; `position` is
/// the version's ([`ChunkFields::position`]). Ids are distinct: equal texts count their occurrences.
pub fn prepare(
    document: &Document,
    chunked: Chunked,
    fingerprint: &str,
    position: &SourcePosition,
) -> Vec<PreparedChunk> {
    let title = chunked.title.unwrap_or_default();
    let url = document.url.clone().unwrap_or_default();
    let version = document.version.clone().unwrap_or_default();
    let updated_at_ms = document.updated_at_ms.unwrap_or(0);
    let metadata = Arc::new(document.metadata.clone());
    let mut occurrences: HashMap<ContentHash, u32> = HashMap::new();
    chunked
        .chunks
        .into_iter()
        .map(|chunk| {
            let embed_text = embed_text(&title, &chunk.heading, &chunk.text);
            let content_hash = ContentHash::of([embed_text.as_bytes()]);
            let occurrence = occurrences.entry(content_hash.clone()).or_insert(0);
            let id = ChunkId::new(&document.key, fingerprint, &embed_text, *occurrence);
            *occurrence += 1;
            let mut fields = ChunkFields {
                id,
                document: document.key.clone(),
                ordinal: chunk.ordinal,
                text: chunk.text,
                heading: chunk.heading,
                title: title.clone(),
                url: url.clone(),
                metadata: metadata.clone(),
                version: version.clone(),
                updated_at_ms,
                content_hash,
                attributes_hash: ContentHash::from_stored(""),
                position: position.clone(),
            };
            fields.attributes_hash = attributes_hash(&fields);
            PreparedChunk { fields, embed_text }
        })
        .collect()
}

/// The hash of everything a row says beside its vector and its source position. The text is part
/// of it: the embedded text leaves out what its context already says, so it does not tell all.
fn attributes_hash(fields: &ChunkFields) -> ContentHash {
    let mut parts: Vec<Vec<u8>> = vec![
        fields.ordinal.to_le_bytes().to_vec(),
        fields.text.clone().into_bytes(),
        fields.heading.clone().into_bytes(),
        fields.title.clone().into_bytes(),
        fields.url.clone().into_bytes(),
        fields.version.clone().into_bytes(),
        fields.updated_at_ms.to_le_bytes().to_vec(),
    ];
    for (key, value) in &*fields.metadata {
        parts.push(key.clone().into_bytes());
        match value {
            MetadataValue::Bool(value) => parts.push(vec![b'b', u8::from(*value)]),
            MetadataValue::Int(value) => parts.push([&b"i"[..], &value.to_le_bytes()].concat()),
            MetadataValue::Float(value) => {
                parts.push([&b"f"[..], &value.to_bits().to_le_bytes()].concat());
            }
            MetadataValue::String(value) => parts.push([&b"s"[..], value.as_bytes()].concat()),
            MetadataValue::Strings(values) => {
                parts.push([&b"l"[..], &(values.len() as u64).to_le_bytes()].concat());
                parts.extend(values.iter().map(|value| value.clone().into_bytes()));
            }
        }
    }
    ContentHash::of(parts.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::{
        chunk::Chunk,
        document::ContentType,
        ids::{DocumentId, Tenant},
    };

    fn document() -> Document {
        Document {
            key: DocumentKey { tenant: Tenant::default(), id: DocumentId::new("a").unwrap() },
            title: None,
            text: String::new(),
            content_type: ContentType::Markdown,
            url: Some("u".to_owned()),
            metadata: [("k".to_owned(), MetadataValue::Int(1))].into(),
            version: None,
            updated_at_ms: Some(5),
        }
    }

    fn one(document: &Document, chunk: Chunk) -> PreparedChunk {
        let chunked = Chunked { title: Some("Title".to_owned()), chunks: vec![chunk] };
        let position = SourcePosition { topic: "t".into(), partition: 0, offset: 0 };
        prepare(document, chunked, "model", &position).remove(0)
    }

    fn chunk() -> Chunk {
        Chunk { ordinal: 0, text: "text".to_owned(), heading: "A > B".to_owned(), tokens: 1 }
    }

    #[test]
    fn a_row_says_what_the_document_and_the_chunk_say() {
        let prepared = one(&document(), chunk());
        assert_eq!(prepared.embed_text, "Title > A > B\n\ntext");
        let fields = prepared.fields;
        assert_eq!(
            (fields.title.as_str(), fields.heading.as_str(), fields.url.as_str()),
            ("Title", "A > B", "u")
        );
        assert_eq!((fields.version.as_str(), fields.updated_at_ms), ("", 5));
        assert_eq!(fields.content_hash, ContentHash::of([prepared.embed_text.as_bytes()]));
        let id = ChunkId::new(&document().key, "model", &prepared.embed_text, 0);
        assert_eq!(fields.id, id);
    }

    #[test]
    fn every_attribute_changes_the_hash_and_none_the_id() {
        let before = one(&document(), chunk()).fields;
        let metadata = |value| {
            let metadata = [("k".to_owned(), value)].into();
            one(&Document { metadata, ..document() }, chunk()).fields
        };
        for after in [
            one(&document(), Chunk { ordinal: 1, ..chunk() }).fields,
            one(&Document { url: None, ..document() }, chunk()).fields,
            one(&Document { version: Some("2".to_owned()), ..document() }, chunk()).fields,
            one(&Document { updated_at_ms: Some(6), ..document() }, chunk()).fields,
            one(&Document { metadata: Metadata::new(), ..document() }, chunk()).fields,
            metadata(MetadataValue::Int(2)),
            metadata(MetadataValue::Float(1.0)),
            metadata(MetadataValue::Bool(true)),
            metadata(MetadataValue::String("1".to_owned())),
            metadata(MetadataValue::Strings(vec!["1".to_owned()])),
            metadata(MetadataValue::Strings(vec![])),
        ] {
            assert_eq!(after.id, before.id);
            assert_ne!(after.attributes_hash, before.attributes_hash, "{after:?}");
        }
        // The position alone is no reason to write a row again.
        let chunked = Chunked { title: Some("Title".to_owned()), chunks: vec![chunk()] };
        let position = SourcePosition { topic: "t".into(), partition: 3, offset: 9 };
        let after = prepare(&document(), chunked, "model", &position).remove(0).fields;
        assert_eq!(after.attributes_hash, before.attributes_hash);
    }
}
