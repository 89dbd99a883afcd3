//! Milvus' answer to a write, as bytes: the fields that decide, of `MutationResult`
//! (`milvus.proto`) and `Status` (`common.proto`) of milvus-proto. Only livedex-milvus names the
//! SDK that has all of them (INV-1).

use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use super::Answer;

/// Bytes in front of a message: whether it is compressed, and its length.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
const PREFIX: usize = 5;

/// gRPC's own status, a header or trailer.
const GRPC_STATUS: &str = "grpc-status";

#[derive(Clone, PartialEq, Message)]
pub(super) struct MutationResult {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<MilvusStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MilvusStatus {
    /// `ErrorCode`, of servers before 2.3; newer ones fill it as well.
    #[prost(int32, tag = "1")]
    pub(super) error_code: i32,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
    /// `pkg/util/merr/errors.go`.
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
    #[prost(bool, tag = "4")]
    pub(super) retriable: bool,
}

impl Answer {
    pub(super) fn response(self) -> Response<Body> {
        match self {
            Self::RateLimit => mutation(8, 49, "rate limit exceeded"),
            Self::WritesDenied => mutation(9, 54, "quota exceeded[reason=disk quota exhausted]"),
            Self::Grpc(code) => Status::new(code, "the proxy says so").into_http(),
        }
    }
}

/// An answer with Milvus' code and its old one.
pub(super) fn mutation(code: i32, error_code: i32, reason: &str) -> Response<Body> {
    let reason = reason.to_owned();
    let status = MilvusStatus { error_code, reason, code, retriable: code == 8 };
    let message = MutationResult { status: Some(status) }.encode_to_vec();
    // No message of ours has 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed = [&[0], &length.to_be_bytes()[..], &message].concat();
    let mut ok = HeaderMap::new();
    ok.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(async { Some(Ok(ok)) });
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

/// Whether a whole answer says that the server did what was asked. `status`: where gRPC's status
/// stands, in the trailers or, without a message, in the headers.
pub(super) fn was_applied(status: &HeaderMap, message: &[u8]) -> bool {
    let is_ok = status.get(GRPC_STATUS).is_some_and(|status| status == "0");
    is_ok && milvus_status(message).is_some_and(|status| status.code == 0)
}

/// Milvus' status in a message that is not compressed.
fn milvus_status(framed: &[u8]) -> Option<MilvusStatus> {
    MutationResult::decode(framed.get(PREFIX..)?).ok()?.status
}
