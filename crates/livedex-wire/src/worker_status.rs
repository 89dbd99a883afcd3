//! `worker_status.v1`: what a worker process knows of itself and nobody else can tell.

use serde::{Deserialize, Serialize};

use crate::reply::MalformedReply;

/// The status of one worker, as its HTTP endpoint gives it at `/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatusV1 {
    /// The version of Livedex.
    pub version: String,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// Whether the models have passed their self-test and every role runs.
    pub ready: bool,
    /// What waits for the models; absent while they are being loaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<ModelQueues>,
    /// The streams that it ingests; empty while it starts, and if it only answers queries.
    pub streams: Vec<StreamStatus>,
}

/// What waits for the models' device, running work included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelQueues {
    /// Requests in the query lane.
    pub query: u64,
    /// Texts in the ingest lane.
    pub ingest: u64,
}

/// One stream of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Its name.
    pub stream: String,
    /// Where its documents come from.
    pub topic: String,
    /// Its consumer group.
    pub group: String,
    /// Where its documents go.
    pub collection: String,
    /// Whether reading is paused, for back-pressure or because the worker stops.
    pub paused: bool,
    /// Whether every partition had been read to its end when the source was last asked, and
    /// everything read was finished.
    pub caught_up: bool,
    /// The partitions that the group has given to this worker.
    pub partitions: Vec<PartitionStatus>,
    /// The records that were read and are not finished, by where they are.
    pub queues: Queues,
    /// How old records were when they became searchable; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub freshness: Option<Freshness>,
    /// What was done since the worker started.
    pub done: Done,
    /// The share of embeddings that the comparison with what is stored has saved, 0 to 1; absent
    /// before the first chunk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub embeddings_saved: Option<f64>,
}

/// A partition that a worker owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// The first unfinished offset; absent if nothing was read yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watermark: Option<i64>,
    /// The last offset that the broker confirmed as committed; absent if nothing was read yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub committed: Option<i64>,
    /// The offset that the next record will get; absent until the broker has said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<i64>,
    /// Records between what is committed and the end; absent while either is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<i64>,
    /// Records that were read and are not finished.
    pub in_flight: u64,
}

/// Where records are between their reading and their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// Read, and not yet taken by the pipeline.
    pub source: Depth,
    /// Decoded, and waiting for a wave.
    pub pipeline: Depth,
    /// In waves: compared, chunked, embedded, written.
    pub waves: Depth,
    /// How many waves that are.
    pub waves_in_flight: u64,
}

/// Records, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// How many.
    pub records: u64,
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
}

/// How old records were when they became searchable: seconds since their timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// How many records this is about: the last ones.
    pub records: u64,
    /// The median.
    pub p50_seconds: f64,
    /// What 99 of 100 were younger than.
    pub p99_seconds: f64,
}

/// Counts since a worker's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Records finished.
    pub records: u64,
    /// Events that were brought into the collection, deletions included.
    pub documents: u64,
    /// Chunks that were embedded and written.
    pub chunks_embedded: u64,
    /// Chunks that were in the collection just so.
    pub chunks_unchanged: u64,
    /// Rows written again with their stored vector.
    pub rows_rewritten: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Records older than what the collection says.
    pub replays: u64,
    /// Tokens of the chunks that were embedded.
    pub tokens_embedded: u64,
}

impl WorkerStatusV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}
