//! `error.v1`: why there is no reply.
//!
//! The body of a NATS message whose headers `Nats-Service-Error-Code` and `Nats-Service-Error`
//! hold [`ErrorCode::status`] and the message.

use serde::{Deserialize, Serialize};

use crate::reply::MalformedReply;

/// The kind of an error: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request breaks the contract: the same request will always fail.
    BadRequest,
    /// The request, or its reply, is larger than a limit.
    TooLarge,
    /// Too much at once: try again later, or another instance.
    Overloaded,
    /// A bug or a broken installation.
    Internal,
    /// Something that the service needs is away: try again later.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BadRequest,
        Self::TooLarge,
        Self::Overloaded,
        Self::Internal,
        Self::Unavailable,
        Self::DeadlineExceeded,
    ];

    /// The number in `Nats-Service-Error-Code`: HTTP's.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::TooLarge => 413,
            Self::Overloaded => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }
}

/// An error as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({})", .code.as_str())]
pub struct ErrorBody {
    /// The kind.
    pub code: ErrorCode,
    /// What was wrong, for people: field, value and limit, never a text of a document.
    pub message: String,
    /// The field of the request, as a path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
    /// When it may work again, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// An error with nothing but its kind and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, limit: None, retry_after_ms: None }
    }

    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}
