//! `status.v1`: what a service is and does.

use serde::{Deserialize, Serialize};

use crate::reply::{MalformedReply, Model, Watermark};

/// The status of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusV1 {
    /// The instance, as in NATS' service discovery.
    pub service_id: String,
    /// The version of Livedex.
    pub version: String,
    /// The collection it searches if a request names none.
    pub collection: String,
    /// Rows (chunks) in that collection; absent if the collection did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Stage 1's model.
    pub embedder: Model,
    /// Stage 2's model; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reranker: Option<Model>,
    /// Queries being answered now.
    pub in_flight: u64,
    /// Queries answered at once at most: the next one is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_in_flight: Option<u64>,
    /// Whether it is a member of the queue group, which requests are handed out to: one that is full
    /// or drains may not be.
    #[serde(rename = "accepting")]
    pub is_member: bool,
    /// How long a new request is likely to wait for the models, in milliseconds; absent if nothing
    /// is known yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wait_ms: Option<u64>,
    /// Every collection it searches, the default one among them.
    pub collections: Vec<CollectionStatus>,
}

/// A collection as an instance sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionStatus {
    /// Its name.
    pub name: String,
    /// Rows (chunks) in it; absent if it did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Records that are not in it yet, over all partitions; absent if that is not known of every
    /// one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<u64>,
    /// How far each partition that feeds it is ingested.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub watermarks: Vec<Watermark>,
}

impl StatusV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}
