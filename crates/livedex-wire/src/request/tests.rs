#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fmt::Debug;

use super::*;

/// That a request is refused as a bad request, with this path and message.
pub(crate) fn is_bad<T: Debug>(decoded: Result<T, RequestError>, field: &str, message: &str) {
    is_refused(decoded, ErrorCode::BadRequest, field, None, message);
}

/// That a request is refused with this code, path, limit and message.
pub(crate) fn is_refused<T: Debug>(
    decoded: Result<T, RequestError>,
    code: ErrorCode,
    field: &str,
    limit: Option<u64>,
    message: &str,
) {
    let body = decoded.unwrap_err().body();
    let got = (body.code, body.field.as_deref(), body.limit, body.message.as_str());
    assert_eq!(got, (code, Some(field), limit, message));
}
