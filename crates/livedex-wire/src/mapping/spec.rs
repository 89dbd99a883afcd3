//! A mapping as it is typed: the section `[mapping]` of the configuration.
//!
//! Nothing here is checked beyond its type; [`Mapping::new`](super::Mapping::new) checks the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::timestamp::TimeFormat;

/// What the records of a topic are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Livedex's own contract.
    #[default]
    #[serde(rename = "document.v1")]
    DocumentV1,
    /// JSON of any shape.
    Json,
    /// Debezium's change events.
    Debezium,
    /// CloudEvents 1.0.
    Cloudevents,
    /// The value is the text, as it is.
    Text,
    /// The value is a text in markdown.
    Markdown,
    /// The value is an HTML page.
    Html,
}

impl Format {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DocumentV1 => "document.v1",
            Self::Json => "json",
            Self::Debezium => "debezium",
            Self::Cloudevents => "cloudevents",
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
        }
    }

    /// Whether the value is the text itself, with no fields in it.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Text | Self::Markdown | Self::Html)
    }
}

/// How the bytes of a key or a value are written. All but the first begin with the number of a
/// schema in a schema registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As the format has them.
    #[default]
    Plain,
    /// Avro.
    Avro,
    /// Protobuf.
    Protobuf,
    /// JSON that has a JSON Schema.
    JsonSchema,
}

impl Encoding {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
            Self::JsonSchema => "json-schema",
        }
    }
}

/// How records become documents.
///
/// A place is a JSON pointer into the value (`/a/b`), with Debezium into the row, with CloudEvents into
/// the data; or `key:/a/b`, `header:name`, or `ce:name` for an attribute of a CloudEvent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappingSpec {
    /// What the records are.
    pub format: Format,
    /// How keys are written.
    pub key_encoding: Encoding,
    /// How values are written.
    pub value_encoding: Encoding,
    /// The document's id; the record's key if not given.
    pub id: Option<String>,
    /// A pointer to the id in the key.
    pub key_id: Option<String>,
    /// The text: one place, or several whose texts are joined by a blank line.
    pub text: Option<OneOrMore>,
    /// The text as a template (`# {/title}\n\n{/body}`), in place of `text`.
    pub template: Option<String>,
    /// A content type, or where it stands.
    pub content_type: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// Where a reader finds the document.
    pub url: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The producer's version.
    pub version: Option<String>,
    /// When the producer last changed it.
    pub updated_at: Option<String>,
    /// How `updated_at` is written.
    pub updated_at_format: TimeFormat,
    /// An object whose fields are all metadata.
    pub metadata_object: Option<String>,
    /// Types of CloudEvents that delete a document; `*` in front matches the end of a type.
    pub deleted_types: Vec<String>,
    /// Metadata by name.
    pub metadata: BTreeMap<String, String>,
    /// What marks a document as deleted.
    pub deleted: DeletedSpec,
}

/// One place or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "is neither a string nor a list of strings")]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

impl OneOrMore {
    /// All of them.
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// A value that marks a document as deleted: where it stands, and either what it equals or that it
/// is there at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeletedSpec {
    /// Where it stands.
    pub pointer: Option<String>,
    /// The scalar that it equals, compared as text.
    pub equals: Option<Value>,
    /// Whether anything but null marks it (`deleted_at`).
    pub present: bool,
}

/// One thing that is wrong with a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The key within the section (`text`, `metadata.lang`).
    pub key: String,
    /// What is wrong with it; reads on from the key.
    pub message: String,
}
