//! `reply.v1`: the hits of a query.

use std::time::Duration;

use livedex_core::ports::ModelInfo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod hit;

pub use hit::{Chunk, Hit, Include, Passage, RouteRank, Source, Stage};
pub(crate) use hit::{some, updated_at};

/// A reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyV1 {
    /// The collection that was searched.
    pub collection: String,
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// How many candidates stage 1 found.
    #[serde(rename = "candidates")]
    pub n_candidates: usize,
    /// Why stage 2 did not score all candidates though it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded: Option<Degraded>,
    /// The consistency level that was read with: `strong`, `bounded` or `eventually`.
    pub consistency: String,
    /// How far each partition that feeds the collection is ingested.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub watermarks: Vec<Watermark>,
    /// Records that are not in the collection yet, over all partitions; absent if that is not known
    /// of every one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<u64>,
    /// The time of each step.
    pub timings_ms: Timings,
    /// What answered.
    pub models: Models,
    /// How the answer came about, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explain: Option<Explain>,
}

/// Why candidates were not scored by stage 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// A stable name (`deadline`, `no_reranker`, …); the list may grow.
    pub reason: String,
    /// How many candidates it scored.
    pub reranked: usize,
}

/// How far a partition is ingested, as its ingester said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first unfinished offset: every record below it is in the collection, or a dead letter.
    pub watermark: i64,
    /// The offset that the next record will get; absent until the broker has said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<i64>,
    /// Records from the watermark to the end, as an upper bound; absent without an end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<u64>,
    /// How long ago the ingester said so, in milliseconds.
    pub age_ms: u64,
}

impl Watermark {
    /// What was said `age_ms` ago, with the lag that follows from it. A watermark above the end
    /// (which is asked less often) has a lag of 0.
    pub fn new(
        topic: impl Into<String>,
        partition: i32,
        watermark: i64,
        end: Option<i64>,
        age_ms: u64,
    ) -> Self {
        let lag = end.map(|end| u64::try_from(end.saturating_sub(watermark)).unwrap_or(0));
        Self { topic: topic.into(), partition, watermark, end, lag, age_ms }
    }
}

/// The time of each step in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Waiting for the records of `after`; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wait: Option<f64>,
    /// Embedding the queries; absent if no embedding was needed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub embed: Option<f64>,
    /// Searching the collection.
    pub search: f64,
    /// Reading the hits' neighbours; absent if there was nothing to read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub neighbours: Option<f64>,
    /// Reranking the candidates; absent if stage 2 was not tried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<f64>,
    /// From the request's arrival to its reply.
    pub total: f64,
}

/// How an answer came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// How stage 1 searched: `dense`, `bm25` or `hybrid`.
    pub mode: String,
    /// The lists of stage 1, in the order that a hit's `routes` count them by.
    pub routes: Vec<ExplainRoute>,
    /// How the scores of both stages became the final one, by its name in the configuration.
    pub fusion: String,
    /// How many candidates stage 2 scored.
    pub reranked: usize,
    /// How many of those scores were known from earlier requests.
    pub rerank_cached: usize,
    /// How many of the queries' embeddings were known from earlier requests.
    pub embed_cached: usize,
    /// What the final score is, in words.
    pub score: String,
}

/// One list of stage 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRoute {
    /// How it was found: `dense` or `bm25`.
    pub kind: String,
    /// For which of the texts: 0 is `query`, the others are those of `queries` after it.
    pub query: usize,
    /// How many candidates are in it.
    pub found: usize,
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
pub(crate) mod tests;
