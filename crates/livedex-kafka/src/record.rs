//! A message of librdkafka as a record of core.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use livedex_core::{
    lease::Lease,
    record::{Header, RawRecord, SourcePosition},
};
use rdkafka::message::{BorrowedMessage, Headers, Message, OwnedHeaders};

/// Copies `message`, which gives librdkafka its memory back. The lease is one of its own until
/// the partition's is put in its place.
pub(crate) fn from_message(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> RawRecord {
    RawRecord {
        position: SourcePosition {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
        },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(headers).unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis(),
        lease: Lease::new(),
    }
}

/// Copies headers. rdkafka panics on a name that is not UTF-8 (`BorrowedHeaders::try_get` unwraps);
/// such a header keeps its place under a made-up name, without its value, so that one strange
/// producer does not stop the partition.
fn headers<H: Headers>(headers: &H) -> Vec<Header> {
    (0..headers.count())
        .map(|index| {
            catch_unwind(AssertUnwindSafe(|| {
                headers
                    .try_get(index)
                    .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            }))
            .ok()
            .flatten()
            .unwrap_or_else(|| (format!("livedex.unreadable_header.{index}"), None))
        })
        .collect()
}

/// Headers for a producer, in order.
pub(crate) fn to_native(headers: &[Header]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |native, (key, value)| {
        native.insert(rdkafka::message::Header { key, value: value.as_deref() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_in_order_with_null_and_empty_values() {
        let given: Vec<Header> = vec![
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), None),
            ("a".to_owned(), Some(Vec::new())),
            ("c".to_owned(), Some(vec![0, 0xff])),
        ];
        assert_eq!(headers(&to_native(&given)), given);
    }
}
