//! How a request fails, as a typed error of the contract.

use std::time::Duration;

use livedex_wire::{
    error::{ErrorBody, ErrorCode, Missing},
    request::RequestError,
};

use crate::endpoint::DEADLINE_HEADER;

/// When records that are not there yet may be: ingesters say every second where they are.
const NOT_YET_RETRY_MS: u64 = 1000;

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
    /// This text has no embedding.
    #[error("the text has no embedding: {reason}")]
    NoEmbedding {
        /// Why.
        reason: String,
    },
    /// Too much at once. Asking another instance, or again a little later, may work.
    #[error("too many {what}, the limit is {limit} now; try again in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// A collection that this service does not have.
    #[error("there is no collection {name:?} here; there are {known}")]
    UnknownCollection {
        /// The name.
        name: String,
        /// The collections there are.
        known: String,
    },
    /// A search by words in a collection without an index for it.
    #[error(
        "collection {collection:?} cannot be searched by words: it was made without BM25 \
         (milvus.analyzer); ask with mode \"dense\", or index again"
    )]
    NoBm25 {
        /// The collection.
        collection: String,
    },
    /// A filter that the collection cannot search with.
    #[error("{problem}")]
    Filter {
        /// What about it, without a value of it.
        problem: String,
    },
    /// The service answers nobody without a tenant.
    #[error("`tenant` is missing: this service answers for one tenant at a time")]
    TenantMissing,
    /// An endpoint that needs a reranker, on a service without one.
    #[error("this service has no reranker")]
    NoReranker,
    /// A document that is not in the collection.
    #[error("there is no document {id:?} in collection {collection:?}, or no chunk from there on")]
    NotFound {
        /// Its id.
        id: String,
        /// The collection.
        collection: String,
    },
    /// Records that the request wants to see are not in the collection.
    #[error(
        "{} of the records that `after` names are not in the collection yet, the first is {}[{}]@{}",
        .missing.len(),
        .missing.first().map_or("", |record| record.topic.as_str()),
        .missing.first().map_or(0, |record| record.partition),
        .missing.first().map_or(0, |record| record.offset)
    )]
    NotYet {
        /// Which.
        missing: Vec<Missing>,
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
         for less (`{field}`)"
    )]
    ReplyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// The field of the request that makes it so large.
        field: &'static str,
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
            Self::UnknownCollection { .. }
            | Self::NoBm25 { .. }
            | Self::Filter { .. }
            | Self::TenantMissing => ErrorCode::BadRequest,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::NotYet { .. } => ErrorCode::NotYet,
            Self::Unavailable { .. } | Self::NoReranker => ErrorCode::Unavailable,
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
            Self::Overloaded { limit, retry_after, .. } => {
                body.limit = Some(*limit as u64);
                body.retry_after_ms =
                    Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
            }
            Self::UnknownCollection { .. } => body.field = Some("collection".to_owned()),
            Self::NoBm25 { .. } => body.field = Some("mode".to_owned()),
            Self::Filter { .. } => body.field = Some("filter".to_owned()),
            Self::TenantMissing => body.field = Some("tenant".to_owned()),
            Self::NotFound { .. } => body.field = Some("document_id".to_owned()),
            Self::NotYet { missing } => {
                body.field = Some("after".to_owned());
                body.missing.clone_from(missing);
                body.retry_after_ms = Some(NOT_YET_RETRY_MS);
            }
            Self::ReplyTooLarge { limit, field, .. } => {
                body.field = Some((*field).to_owned());
                body.limit = Some(*limit as u64);
            }
            _ => {}
        }
        body
    }
}

impl From<RequestError> for QueryError {
    fn from(error: RequestError) -> Self {
        Self::Request(error.body())
    }
}
