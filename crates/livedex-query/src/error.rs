//! How a request fails, as a typed error of the contract.

use livedex_wire::error::{ErrorBody, ErrorCode};

use crate::deadline::DEADLINE_HEADER;

/// When a refused caller may try again. Short: places free up as fast as queries are answered, and
/// another instance may have one now.
const RETRY_AFTER_MS: u64 = 100;

/// Why a request gets no reply. Messages are for the caller: with the field, the value and the
/// limit, and without a server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The request is not what the schema says.
    #[error("{}", .0.message)]
    Request(ErrorBody),
    /// The deadline header holds no number.
    #[error("the header {DEADLINE_HEADER} is {value:?}, expected milliseconds as a whole number")]
    DeadlineHeader {
        /// Its first characters.
        value: String,
    },
    /// This query has no embedding.
    #[error("the query has no embedding: {reason}")]
    NoEmbedding {
        /// Why.
        reason: String,
    },
    /// Too much at once. Asking another instance, or again a little later, may work.
    #[error("too many {what}, the limit is {limit}")]
    Overloaded {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// No time was left.
    #[error("the deadline passed at the step {step}")]
    DeadlineExceeded {
        /// The step that was not finished.
        step: &'static str,
    },
    /// Something that the service needs is away.
    #[error("{what} is not available")]
    Unavailable {
        /// What.
        what: &'static str,
    },
    /// The reply does not fit a message of this NATS server, not even without texts and metadata.
    #[error(
        "the reply has {bytes} bytes, the limit is {limit} (max_payload of the NATS server); ask \
         for fewer hits"
    )]
    ReplyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A bug, or a collection that is not as it should be.
    #[error("{what}")]
    Internal {
        /// What happened.
        what: &'static str,
    },
}

impl QueryError {
    /// What kind of error it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Request(body) => body.code,
            Self::DeadlineHeader { .. } | Self::NoEmbedding { .. } => ErrorCode::BadRequest,
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::DeadlineExceeded { .. } => ErrorCode::DeadlineExceeded,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::ReplyTooLarge { .. } => ErrorCode::TooLarge,
            Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// As the body of an `error.v1`.
    pub fn to_body(&self) -> ErrorBody {
        if let Self::Request(body) = self {
            return body.clone();
        }
        let mut body = ErrorBody::new(self.code(), self.to_string());
        match self {
            Self::DeadlineHeader { .. } => body.field = Some(DEADLINE_HEADER.to_owned()),
            Self::NoEmbedding { .. } => body.field = Some("query".to_owned()),
            Self::Overloaded { limit, .. } => {
                body.limit = Some(*limit as u64);
                body.retry_after_ms = Some(RETRY_AFTER_MS);
            }
            Self::ReplyTooLarge { limit, .. } => {
                body.field = Some("top_k".to_owned());
                body.limit = Some(*limit as u64);
            }
            _ => {}
        }
        body
    }
}

impl From<ErrorBody> for QueryError {
    fn from(body: ErrorBody) -> Self {
        Self::Request(body)
    }
}
