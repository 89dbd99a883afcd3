//! Which failure is tried again and which is not.
//!
//! The rule: **Reject** only when this very request is at fault, because a rejected record
//! becomes a dead letter. A wrong password, a dropped collection, a full disk and every code that
//! nobody knows are tried again, so that nothing is lost while somebody repairs them.
//!
//! | where | code | class |
//! |---|---|---|
//! | gRPC | unavailable, resource exhausted, unauthenticated, permission denied, unimplemented, not found, failed precondition, already exists, ok | retry |
//! | gRPC | deadline exceeded, cancelled, aborted, internal, unknown, data loss | write: unknown, read: retry |
//! | gRPC | invalid argument, out of range | reject |
//! | Milvus | 1100 to 1102 invalid parameters, 1804 invalid insert data, 2001 and 3000 unsupported operations | reject |
//! | Milvus | all others: 1 to 4 and 8 to 12 not ready, memory, rate limit, quota; 100 to 106 collection; 4xx to 6xx replicas, channels, segments; 9xx nodes; 14xx privileges; ... | retry |
//! | Milvus before 2.3 (the old codes) | 5, 7, 10, 11 illegal argument, dimension, top k, row | reject |
//! | Milvus Lite | 6 illegal argument | reject |
//! | SDK | invalid request, value of the wrong type | reject |
//! | SDK | timeout, cancelled | write: unknown, read: retry |
//! | SDK | malformed response, anything else | retry |
//!
//! Milvus' codes are those of `pkg/util/merr/errors.go`. Milvus Lite has its own small list
//! (`milvus_lite/adapter/grpc/errors.py`), in which 1 is "unexpected", not "not ready".
//! `Error` and `ServerError` of the SDK do not show the `retriable` flag of a status.

use livedex_core::ports::ServiceError;
use milvus::v2::error::Error;
use tonic::Code;

/// Whether an RPC changes something: only then is it unknown whether it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// What a failed RPC means to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Retry,
    Reject,
    Unknown,
}

impl Class {
    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Unknown => "unknown",
        }
    }

    /// The error with this class.
    pub(crate) fn error(self, message: String) -> ServiceError {
        match self {
            Self::Retry => ServiceError::Retry(message),
            Self::Reject => ServiceError::Reject(message),
            Self::Unknown => ServiceError::Unknown(message),
        }
    }
}

/// A failure that this crate itself acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No connection, or the server says that it is not ready.
    Unavailable,
    /// The connection broke under the request.
    Broken,
    /// The token is missing or wrong.
    Unauthenticated,
    /// The token does not allow it.
    Forbidden,
    /// The reply is larger than the SDK decodes (4 MiB, tonic's default, which it does not let
    /// us raise).
    ReplyTooLarge,
    /// The deadline passed.
    Deadline,
    /// There is no such collection.
    NoCollection,
    /// The collection is not loaded.
    NotLoaded,
    /// There is no such database.
    NoDatabase,
    /// There is no such index.
    NoIndex,
    /// Anything else.
    Other,
}

/// One failure, understood. Convert it into the error that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) kind: Kind,
    /// What happened, without the server's words: those may quote a document or a query.
    pub(crate) what: String,
}

impl From<Failure> for ServiceError {
    fn from(failure: Failure) -> Self {
        failure.class.error(failure.what)
    }
}

/// Understands an error of the SDK. `lite`: the server is Milvus Lite.
pub(crate) fn classify(error: &Error, effect: Effect, lite: bool) -> Failure {
    match error {
        Error::Grpc(status) => grpc(status.code(), effect),
        Error::Server(server) => this_server(server.code(), server.legacy_code(), lite),
        Error::RetryExhausted { source, .. } => classify(source, effect, lite),
        Error::Validation(invalid) => failure(
            Class::Reject,
            Kind::Other,
            format!("the value of `{}` does not fit the collection", invalid.parameter()),
        ),
        Error::Conversion(_) => {
            failure(Class::Reject, Kind::Other, "a value cannot be sent or read".to_owned())
        }
        Error::Timeout(_) => deadline(effect),
        Error::Cancelled(_) => {
            failure(in_doubt(effect), Kind::Other, "it was cancelled".to_owned())
        }
        Error::MalformedResponse(_) => {
            failure(Class::Retry, Kind::Other, "the response cannot be read".to_owned())
        }
        _ => failure(Class::Retry, Kind::Other, "the SDK failed".to_owned()),
    }
}

/// A deadline that passed.
pub(crate) fn deadline(effect: Effect) -> Failure {
    failure(in_doubt(effect), Kind::Deadline, "the deadline passed".to_owned())
}

fn failure(class: Class, kind: Kind, what: String) -> Failure {
    Failure { class, kind, what }
}

fn in_doubt(effect: Effect) -> Class {
    match effect {
        Effect::Read => Class::Retry,
        Effect::Write => Class::Unknown,
    }
}

fn grpc(code: Code, effect: Effect) -> Failure {
    let (class, kind) = match code {
        Code::Unavailable => (Class::Retry, Kind::Unavailable),
        Code::Unauthenticated => (Class::Retry, Kind::Unauthenticated),
        Code::PermissionDenied => (Class::Retry, Kind::Forbidden),
        Code::ResourceExhausted
        | Code::Unimplemented
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::Ok => (Class::Retry, Kind::Other),
        Code::DeadlineExceeded => return deadline(effect),
        // tonic's own deadline among others.
        Code::Cancelled => (in_doubt(effect), Kind::Deadline),
        Code::Aborted | Code::Internal | Code::Unknown | Code::DataLoss => {
            let what = format!("the connection or the server failed (gRPC code {})", code as i32);
            return failure(in_doubt(effect), Kind::Broken, what);
        }
        Code::InvalidArgument => (Class::Reject, Kind::Other),
        Code::OutOfRange => (Class::Reject, Kind::ReplyTooLarge),
    };
    failure(class, kind, format!("{} (gRPC code {})", code.description(), code as i32))
}

fn this_server(code: i32, old_code: i32, lite: bool) -> Failure {
    // Servers before 2.3 fill the old field only; Lite fills both.
    let (class, kind, what) = match (code, old_code) {
        (0, 5 | 7 | 10 | 11) => (Class::Reject, Kind::Other, "illegal argument"),
        (0, 4) => (Class::Retry, Kind::NoCollection, "collection not found"),
        (0, 49) => (Class::Retry, Kind::Other, "rate limit exceeded"),
        (0, 48 | 53 | 54) => (Class::Retry, Kind::Other, "writing is denied by a quota"),
        (0, _) => (Class::Retry, Kind::Other, "the server failed"),
        (1, _) if lite => (Class::Retry, Kind::Other, "unexpected error"),
        (6, _) if lite => (Class::Reject, Kind::Other, "invalid parameter"),
        (1, _) => (Class::Retry, Kind::Unavailable, "service not ready"),
        (2, _) => (Class::Retry, Kind::Unavailable, "service unavailable"),
        (3, _) => (Class::Retry, Kind::Other, "memory limit exceeded"),
        (4, _) => (Class::Retry, Kind::Other, "too many requests"),
        (7, _) => (Class::Retry, Kind::Other, "disk limit exceeded"),
        (8, _) => (Class::Retry, Kind::Other, "rate limit exceeded"),
        (9, _) => (Class::Retry, Kind::Other, "quota exceeded"),
        (11, _) => (Class::Retry, Kind::Other, "time tick long delay"),
        (12, _) => (Class::Retry, Kind::Other, "service resource insufficient"),
        (100, _) => (Class::Retry, Kind::NoCollection, "collection not found"),
        (101 | 103, _) => (Class::Retry, Kind::NotLoaded, "collection not loaded"),
        (700, _) => (Class::Retry, Kind::NoIndex, "index not found"),
        (800, _) => (Class::Retry, Kind::NoDatabase, "database not found"),
        (1100, _) => (Class::Reject, Kind::Other, "invalid parameter"),
        (1101, _) => (Class::Reject, Kind::Other, "missing parameter"),
        (1102, _) => (Class::Reject, Kind::Other, "parameter too large"),
        (1400 | 1800, _) => (Class::Retry, Kind::Unauthenticated, "not authenticated"),
        (1401, _) => (Class::Retry, Kind::Forbidden, "privilege not permitted"),
        (1804, _) => (Class::Reject, Kind::Other, "invalid insert data"),
        (2001, _) => (Class::Reject, Kind::Other, "operation not supported by the engine"),
        (3000, _) => (Class::Reject, Kind::Other, "unsupported operation"),
        _ => (Class::Retry, Kind::Other, "the server failed"),
    };
    let shown = if code == 0 { old_code } else { code };
    failure(class, kind, format!("{what} (milvus code {shown})"))
}

#[cfg(test)]
mod tests {
    use milvus::proto::common::Status;

    use super::*;

    fn server(code: i32, old_code: i32, lite: bool) -> Failure {
        #[allow(deprecated, reason = "old servers fill this field only")]
        let status =
            Status { code, error_code: old_code, reason: "secret".into(), ..Status::default() };
        classify(&Error::from(status), Effect::Write, lite)
    }

    fn grpc_of(code: Code, effect: Effect) -> Failure {
        classify(&Error::Grpc(tonic::Status::new(code, "secret")), effect, false)
    }

    #[test]
    fn only_a_request_at_fault_is_rejected() {
        for code in [1100, 1101, 1102, 1804, 2001, 3000] {
            assert_eq!(server(code, 0, false).class, Class::Reject, "{code}");
        }
        for code in
            [1, 2, 3, 4, 7, 8, 9, 11, 12, 100, 101, 103, 106, 401, 503, 800, 905, 1401, 2000, 65535]
        {
            assert_eq!(server(code, 0, false).class, Class::Retry, "{code}");
        }
        assert_eq!(server(0, 5, false).class, Class::Reject);
        assert_eq!(server(0, 49, false).class, Class::Retry);
    }

    #[test]
    fn lite_has_its_own_meaning_of_a_few_codes() {
        assert_eq!(server(6, 6, true).class, Class::Reject);
        assert_eq!(server(6, 0, false).class, Class::Retry);
        assert_eq!(server(1, 1, true).kind, Kind::Other);
        assert_eq!(server(1, 0, false).kind, Kind::Unavailable);
    }

    #[test]
    fn a_broken_write_is_in_doubt_and_a_broken_read_is_not() {
        for code in [Code::DeadlineExceeded, Code::Cancelled, Code::Internal, Code::Unknown] {
            assert_eq!(grpc_of(code, Effect::Write).class, Class::Unknown, "{code:?}");
            assert_eq!(grpc_of(code, Effect::Read).class, Class::Retry, "{code:?}");
        }
        assert_eq!(grpc_of(Code::Unavailable, Effect::Write).class, Class::Retry);
        assert_eq!(grpc_of(Code::Unauthenticated, Effect::Write).class, Class::Retry);
        assert_eq!(grpc_of(Code::OutOfRange, Effect::Read).kind, Kind::ReplyTooLarge);
        let wrapped = Error::RetryExhausted {
            attempts: 1,
            source: Box::new(Error::Grpc(tonic::Status::unavailable("secret"))),
        };
        assert_eq!(classify(&wrapped, Effect::Read, false).kind, Kind::Unavailable);
    }

    #[test]
    fn the_servers_words_are_left_out() {
        assert!(!server(1100, 0, false).what.contains("secret"));
        assert!(!grpc_of(Code::Internal, Effect::Read).what.contains("secret"));
    }
}
