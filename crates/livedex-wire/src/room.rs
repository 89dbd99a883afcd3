//! `room.v1`: what those who answer queries tell each other, so that one that is full knows whether
//! another has room.

use serde::{Deserialize, Serialize};

use crate::reply::MalformedReply;

/// Whether an instance has room for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomV1 {
    /// The instance, as in NATS' service discovery.
    pub id: String,
    /// Whether it is a member of the queue group, which requests are handed out to.
    #[serde(rename = "member")]
    pub is_member: bool,
    /// Whether a request that comes now would be taken rather than refused.
    #[serde(rename = "room")]
    pub has_room: bool,
}

impl RoomV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As another instance reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}
