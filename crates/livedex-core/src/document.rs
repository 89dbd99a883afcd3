//! A document, its metadata and what an event does to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::DocumentKey;

/// What the text of a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContentType {
    /// `text/plain`
    #[default]
    Plain,
    /// `text/markdown`
    Markdown,
    /// `text/html`
    Html,
}

/// A value of a document's metadata: a scalar or a list of strings, never nested, so that
/// every value can be filtered on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetadataValue {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite number that is no integer.
    Float(f64),
    /// A string.
    String(String),
    /// A list of strings.
    Strings(Vec<String>),
}

/// Metadata by key, in key order, so that its hash does not depend on the sender.
pub type Metadata = BTreeMap<String, MetadataValue>;

/// A document as a producer sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its name in the collection.
    pub key: DocumentKey,
    /// A title, shown with every hit and embedded with every chunk.
    pub title: Option<String>,
    /// The text, in `content_type`.
    pub text: String,
    /// What the text is written in.
    pub content_type: ContentType,
    /// Where a reader finds it.
    pub url: Option<String>,
    /// What queries may filter on.
    pub metadata: Metadata,
    /// The producer's own version, opaque: order comes from the partition, not from here.
    pub version: Option<String>,
    /// When the producer last changed it, in milliseconds since 1970-01-01T00:00:00Z.
    pub updated_at_ms: Option<i64>,
}

/// What a record does to the collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The document now reads like this.
    Upsert(Box<Document>),
    /// The document is gone (a tombstone).
    Delete(DocumentKey),
}

impl Change {
    /// The document that changes.
    pub fn key(&self) -> &DocumentKey {
        match self {
            Self::Upsert(document) => &document.key,
            Self::Delete(key) => key,
        }
    }
}
