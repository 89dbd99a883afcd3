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
    /// What was asked for is not there: a document, or a collection.
    NotFound,
    /// The request, or its reply, is larger than a limit.
    TooLarge,
    /// The records of `after` are not in the collection yet: try again later.
    NotYet,
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
    pub const ALL: [Self; 8] = [
        Self::BadRequest,
        Self::NotFound,
        Self::TooLarge,
        Self::NotYet,
        Self::Overloaded,
        Self::Internal,
        Self::Unavailable,
        Self::DeadlineExceeded,
    ];

    /// The number in `Nats-Service-Error-Code`: HTTP's.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::NotYet => 425,
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
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::NotYet => "not_yet",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }

    /// Whether the same request may well be answered a moment later. Not so after a deadline: the
    /// time that the client had is over.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::NotYet | Self::Overloaded | Self::Unavailable => true,
            Self::BadRequest
            | Self::NotFound
            | Self::TooLarge
            | Self::Internal
            | Self::DeadlineExceeded => false,
        }
    }
}

/// A record of `after` that is not in the collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The partition's first unfinished offset; absent if no ingester has said one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watermark: Option<i64>,
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
    /// The records that a `not_yet` is about.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub missing: Vec<Missing>,
}

impl ErrorBody {
    /// An error with nothing but its kind and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            limit: None,
            retry_after_ms: None,
            missing: Vec::new(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_what_says_so() {
        let retryable: Vec<&str> = ErrorCode::ALL
            .into_iter()
            .filter(|code| code.is_retryable())
            .map(ErrorCode::as_str)
            .collect();
        assert_eq!(retryable, ["not_yet", "overloaded", "unavailable"]);
    }
}
