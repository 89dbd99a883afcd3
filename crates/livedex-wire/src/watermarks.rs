//! `watermarks.v1`: how far an ingester is, told to those who answer queries.

use serde::{Deserialize, Serialize};

use crate::reply::MalformedReply;

/// What one ingester knows of the partitions of one topic that it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarksV1 {
    /// The process that says so.
    pub worker: String,
    /// Where the documents go.
    pub collection: String,
    /// The collection's own random identity: another one of the same name is another collection,
    /// about which this says nothing.
    pub identity: String,
    /// Where they come from.
    pub topic: String,
    /// The partitions that the group has given to this worker.
    pub partitions: Vec<PartitionWatermark>,
    /// When this was true, in milliseconds since 1970 by the worker's clock.
    pub at: i64,
}

/// How far a partition is ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionWatermark {
    /// Its number.
    pub partition: i32,
    /// The first unfinished offset: every record below it is in the collection, or a dead letter.
    pub watermark: i64,
    /// The offset that the next record will get; absent until the broker has said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<i64>,
}

impl WatermarksV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a query worker reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}
