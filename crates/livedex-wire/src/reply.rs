//! `reply.v1`: the hits of a query.

use std::{sync::Arc, time::Duration};

use livedex_core::{document::Metadata, ports::ModelInfo, query};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::time::format_millis;

/// A reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyV1 {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// How many candidates stage 1 found.
    #[serde(rename = "candidates")]
    pub n_candidates: usize,
    /// Why stage 2 did not run though it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded: Option<Degraded>,
    /// The time of each step.
    pub timings_ms: Timings,
    /// What answered.
    pub models: Models,
}

/// A chunk that answers, with the ranks and scores of both stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The chunk's id.
    pub chunk_id: String,
    /// Its document's id.
    pub document_id: String,
    /// Its document's tenant; absent for the default tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// Its document's title.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    /// Where a reader finds the document.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The headings above the chunk, joined by " > ".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heading: Option<String>,
    /// The chunk's place in its document, from 0.
    pub ordinal: u32,
    /// The chunk's text; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Its document's metadata; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Metadata>,
    /// The producer's version of the document.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// When the producer changed the document (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub updated_at: Option<String>,
    /// What the hits are sorted by, 0..=1.
    pub score: f32,
    /// Stage 1: rank from 1, cosine similarity -1..=1.
    pub retrieve: Stage,
    /// Stage 2: rank from 1, probability 0..=1; absent if it did not run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<Stage>,
    /// The record that wrote the chunk.
    pub source: Source,
}

/// Rank and score of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The rank among the candidates, from 1.
    pub rank: usize,
    /// The score.
    pub score: f32,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Why an answer has the order of stage 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// A stable name (`deadline`, `no_reranker`, …); the list may grow.
    pub reason: String,
}

/// The time of each step in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Embedding the query.
    pub embed: f64,
    /// Searching the collection.
    pub search: f64,
    /// Reranking the candidates; absent if stage 2 was not tried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<f64>,
    /// From the request's arrival to its reply.
    pub total: f64,
}

/// Milliseconds to three places.
pub fn millis(duration: Duration) -> f64 {
    // Whole microseconds are exact in an f64 for 285 years.
    duration.as_micros() as f64 / 1000.0
}

/// The models of both stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// Stage 1.
    pub embedder: Model,
    /// Stage 2; absent if the service has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reranker: Option<Model>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name, for people.
    pub name: String,
    /// A hash over everything that its numbers depend on.
    pub fingerprint: String,
}

impl From<&ModelInfo> for Model {
    fn from(info: &ModelInfo) -> Self {
        Self { name: info.name.clone(), fingerprint: info.fingerprint.clone() }
    }
}

impl Hit {
    /// A hit as it is sent, with text and metadata if they were asked for.
    pub fn new(hit: query::Hit, include_text: bool, include_metadata: bool) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let fields = hit.fields;
        Self {
            chunk_id: fields.id.to_string(),
            document_id: fields.document.id.to_string(),
            tenant: some(fields.document.tenant.to_string()),
            title: some(fields.title),
            url: some(fields.url),
            heading: some(fields.heading),
            ordinal: fields.ordinal,
            text: include_text.then_some(fields.text),
            metadata: include_metadata.then(|| Arc::unwrap_or_clone(fields.metadata)),
            version: some(fields.version),
            updated_at: Some(fields.updated_at_ms).filter(|ms| *ms != 0).and_then(format_millis),
            score: hit.score,
            retrieve: Stage { rank: hit.retrieve_rank, score: hit.retrieve_score },
            rerank: hit
                .rerank_rank
                .zip(hit.rerank_score)
                .map(|(rank, score)| Stage { rank, score }),
            source: Source {
                topic: fields.position.topic.to_string(),
                partition: fields.position.partition,
                offset: fields.position.offset,
            },
        }
    }
}

impl ReplyV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        from_json(json)
    }
}

/// What came back is not what the contract says. Where, and not what: it may be a document's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reply breaks its contract at line {line}, column {column} ({bytes} bytes)")]
pub struct MalformedReply {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The size of the reply.
    pub bytes: usize,
}

/// The types of this crate have string keys only and no `Serialize` that fails: an empty body
/// would be a bug, and its reader would say so.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, MalformedReply> {
    serde_json::from_slice(json).map_err(|error| MalformedReply {
        line: error.line(),
        column: error.column(),
        bytes: json.len(),
    })
}

#[cfg(test)]
mod tests;
