//! Why a record cannot be mapped.
//!
//! A mapping may be wrong, and then any of its locations may lead to the document's text. So a
//! message names locations, kinds of values and numbers of bytes, and of the record's content
//! only what stands in its key and in its headers (INV-7).

use livedex_core::{
    ids::IdError,
    record::{DeadLetterReason, Stage},
};

use super::{cloudevents::EventError, debezium::EnvelopeError};
use crate::{
    document::DecodeError,
    fields::{FieldError, SyntaxError},
};

/// Why a record is no document by this mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// What refuses a record of `document.v1`, too: its size, its JSON, its limits.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A value that is needed is not there.
    #[error("`{field}`: nothing at {location}: {found}")]
    Missing {
        /// The mapping's key (`text`).
        field: String,
        /// Where it looked.
        location: String,
        /// What is there instead.
        found: String,
    },
    /// A value is of a kind that cannot be used.
    #[error("`{field}`: {location} is {found}, expected {expected}")]
    Kind {
        /// The mapping's key.
        field: String,
        /// Where it stands.
        location: String,
        /// What kind of value it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The key is needed and not there.
    #[error(
        "the record has no key, and the mapping takes the id from it; let mapping.id name where the \
         value has one"
    )]
    NoKey,
    /// The key is not JSON.
    #[error("`{field}`: the record's key is {source}, and {location} is looked for in it")]
    KeyNotJson {
        /// The mapping's key.
        field: String,
        /// Where it looked.
        location: String,
        /// What the parser says.
        source: SyntaxError,
    },
    /// The record says two things.
    #[error(
        "`{field}`: {first} and {second} ({second_text:?}) differ: they must agree, or a tombstone \
         could not delete the document"
    )]
    Differ {
        /// The mapping's key.
        field: &'static str,
        /// A place in the value.
        first: String,
        /// A place in the key or in a header.
        second: String,
        /// What that one says, cut.
        second_text: String,
    },
    /// A tombstone has nothing but its key and its headers.
    #[error(
        "the record deletes a document and has no value, where the {field} stands ({location}): {remedy}"
    )]
    Tombstone {
        /// The mapping's key.
        field: &'static str,
        /// Where it would stand.
        location: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A header is not UTF-8.
    #[error("the header {name:?} is not UTF-8")]
    HeaderNotUtf8 {
        /// Its name.
        name: String,
    },
    /// A text is not UTF-8.
    #[error("the text is not UTF-8 (at byte {at} of {bytes})")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
        /// The text's length.
        bytes: usize,
    },
    /// A time cannot be read.
    #[error("`{field}`: {location} is no {expected}")]
    Time {
        /// The mapping's key.
        field: String,
        /// Where it stands.
        location: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A content type that there is none of.
    #[error("`content_type`: {location} is none of text/plain, text/markdown and text/html")]
    ContentType {
        /// Where it stands.
        location: String,
    },
    /// The value is no Debezium envelope, or one that says nothing of a row.
    #[error(transparent)]
    Debezium(#[from] EnvelopeError),
    /// Debezium did not send the column's value.
    #[error(
        "`{field}`: Debezium sent no value for {location}, since it was not changed and is stored \
         out of line (TOAST); ALTER TABLE ... REPLICA IDENTITY FULL makes PostgreSQL send it"
    )]
    Unavailable {
        /// The mapping's key.
        field: String,
        /// The column.
        location: String,
    },
    /// The record is no CloudEvent, or one that cannot be read.
    #[error(transparent)]
    CloudEvent(#[from] EventError),
}

impl MappingError {
    /// A stable name of the error's kind.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.class(),
            Self::Missing { .. } => "MappingError.Missing",
            Self::Kind { .. } => "MappingError.Kind",
            Self::NoKey | Self::KeyNotJson { .. } => "MappingError.Key",
            Self::Differ { .. } => "MappingError.Differ",
            Self::Tombstone { .. } => "MappingError.Tombstone",
            Self::HeaderNotUtf8 { .. } => "MappingError.Header",
            Self::NotUtf8 { .. } => "MappingError.NotUtf8",
            Self::Time { .. } => "MappingError.Time",
            Self::ContentType { .. } => "MappingError.ContentType",
            Self::Debezium(_) => "MappingError.Debezium",
            Self::Unavailable { .. } => "MappingError.Unavailable",
            Self::CloudEvent(_) => "MappingError.CloudEvent",
        }
    }
}

impl From<IdError> for MappingError {
    fn from(error: IdError) -> Self {
        Self::Decode(error.into())
    }
}

impl From<SyntaxError> for MappingError {
    fn from(error: SyntaxError) -> Self {
        Self::Decode(error.into())
    }
}

impl From<FieldError> for MappingError {
    fn from(error: FieldError) -> Self {
        Self::Decode(error.into())
    }
}

impl From<MappingError> for DeadLetterReason {
    fn from(error: MappingError) -> Self {
        Self { stage: Stage::Decode, class: error.class().to_owned(), message: error.to_string() }
    }
}
