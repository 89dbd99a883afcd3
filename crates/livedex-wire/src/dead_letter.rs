//! `dead_letter.v1`: a dead letter for people and scripts.
//!
//! On its topic a dead letter is the record as it came, with headers
//! ([`livedex_core::dead_letter`]). This is what a listing prints of it: all but the value, which
//! may be long and is nobody's business in a log.

use base64::{Engine, engine::general_purpose::STANDARD};
use livedex_core::record::{DeadLetterReason, RawRecord};
use serde::{Deserialize, Serialize};

use crate::{
    reply::{MalformedReply, Source},
    time::format_millis,
};

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterV1 {
    /// Where the record stood.
    pub source: Source,
    /// The record's own time (RFC 3339), if the broker had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timestamp: Option<String>,
    /// The step that refused it (`DECODE`, `CHUNK`, `EMBED`, `WRITE`).
    pub stage: String,
    /// The kind of the error (`DecodeError.Json`).
    pub class: String,
    /// The error for people.
    pub message: String,
    /// The record's key; absent if it had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Key>,
    /// Bytes of the record's value; absent if it had none (a tombstone).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value_bytes: Option<usize>,
}

/// A key as text, or as Base64 where it is no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Text.
    Utf8(String),
    /// Anything else, in standard Base64 with padding.
    Base64(String),
}

impl Key {
    /// The key of a record.
    pub fn new(key: &[u8]) -> Self {
        match std::str::from_utf8(key) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(key)),
        }
    }
}

impl DeadLetterV1 {
    /// The dead letter that a record became.
    pub fn new(record: &RawRecord, reason: &DeadLetterReason) -> Self {
        Self {
            source: Source {
                topic: record.position.topic.to_string(),
                partition: record.position.partition,
                offset: record.position.offset,
            },
            timestamp: record.timestamp_ms.and_then(format_millis),
            stage: reason.stage.as_str().to_owned(),
            class: reason.class.clone(),
            message: reason.message.clone(),
            key: record.key.as_deref().map(Key::new),
            value_bytes: record.value.as_ref().map(Vec::len),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// Reads it back.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}

#[cfg(test)]
mod tests;
