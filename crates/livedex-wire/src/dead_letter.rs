//! `dead_letter.v1`: a dead letter for people and scripts.
//!
//! On its topic a dead letter is the record as it came, with headers
//! ([`livedex_core::dead_letter`]). This is what a listing prints of it: all but the value, which
//! may be long and is nobody's business in a log.

use base64::{Engine, engine::general_purpose::STANDARD};
use livedex_core::{dead_letter::DeadLetter, record::SourcePosition, replay};
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
    /// The step that refused it (`DECODE`, `CHUNK`, `EMBED`, `WRITE`; Kafka Connect has others).
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
    /// Whether that value was left out, since it was too large for the dead-letter topic.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub value_dropped: bool,
    /// Where the dead letter itself lies.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub letter: Option<Source>,
    /// When it was written (RFC 3339), if the broker had a time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub written_at: Option<String>,
    /// The consumer group, or the connector, that refused the record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused_by: Option<String>,
    /// Where the record stood first; absent unless it was replayed before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replayed_from: Option<Source>,
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
    /// What a listing says of `letter`.
    pub fn new(letter: &DeadLetter) -> Self {
        let record = &letter.record;
        Self {
            source: source(&record.position),
            timestamp: record.timestamp_ms.and_then(format_millis),
            stage: letter.stage.clone(),
            class: letter.class.clone(),
            message: letter.message.clone(),
            key: record.key.as_deref().map(Key::new),
            value_bytes: letter.value_dropped_bytes.or(record.value.as_ref().map(Vec::len)),
            value_dropped: letter.value_dropped_bytes.is_some(),
            letter: Some(source(&letter.position)),
            written_at: letter.written_at_ms.and_then(format_millis),
            refused_by: letter.refused_by.clone(),
            replayed_from: replay::replayed_from(&record.headers).as_ref().map(source),
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

fn source(position: &SourcePosition) -> Source {
    Source {
        topic: position.topic.to_string(),
        partition: position.partition,
        offset: position.offset,
    }
}

#[cfg(test)]
mod tests;
