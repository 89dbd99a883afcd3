//! `status.v1`: what a service is and does.

use serde::{Deserialize, Serialize};

use crate::reply::{MalformedReply, Model};

/// The status of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusV1 {
    /// The instance, as in NATS' service discovery.
    pub service_id: String,
    /// The version of Livedex.
    pub version: String,
    /// The collection it searches.
    pub collection: String,
    /// Rows (chunks) in the collection; absent if the collection did not answer in time.
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
