//! Records that are replayed: sent to a topic again from the dead-letter topic.
//!
//! A replayed record has a new, higher offset, but it is no new version of its document: newer
//! ones may have come since it was refused. So it names the position where it stood first, in the
//! header [`REPLAYED_FROM_HEADER`], and wherever versions of a document are compared that position
//! counts instead of its own ([`fence_position`]):
//! - the fence ([`crate::diff::is_replay`]) skips it where the document's rows are of a later one;
//! - among the events of one document in a wave the latest version is applied, wherever the
//!   replayed one stands;
//! - the rows written from it carry it.
//!
//! Why the rows carry the original position and not the new one: say versions 5 and 8 of a
//! document were refused, and are replayed as records 20 and 21. Rows that carried 20 would be
//! later than 8, so the second replay would be skipped, and version 8 were lost. With the original
//! positions the rows are of version 5, then of 8; a letter that is replayed twice is compared
//! again and changes nothing; a record that comes after the replay has an offset above any
//! original position of its partition, so it is never taken for an old one; and a record between 8
//! and 20 that is read again after a crash is later than both, as it should be.
//!
//! Watermarks and commits know nothing of this: for them a replayed record is a record.

use std::sync::Arc;

use crate::record::{Header, RawRecord, SourcePosition};

/// The header that a replay adds: the position where the record stood first, as
/// `topic/partition/offset`. A record that is refused and replayed again keeps the first one.
///
/// A topic's name cannot hold a slash.
pub const REPLAYED_FROM_HEADER: &str = "livedex-replayed-from";

/// The header for a record that stood at `position`.
pub fn replayed_from_header(position: &SourcePosition) -> Header {
    let SourcePosition { topic, partition, offset } = position;
    (REPLAYED_FROM_HEADER.to_owned(), Some(format!("{topic}/{partition}/{offset}").into_bytes()))
}

/// The position that [`REPLAYED_FROM_HEADER`] names; `None` if there is no such header, or it
/// names none.
pub fn replayed_from(headers: &[Header]) -> Option<SourcePosition> {
    let (_, value) = headers.iter().find(|(name, _)| name == REPLAYED_FROM_HEADER)?;
    let text = std::str::from_utf8(value.as_deref()?).ok()?;
    let mut parts = text.split('/');
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let position = SourcePosition {
        topic: Arc::from(topic),
        partition: partition.parse().ok().filter(|&partition| partition >= 0)?,
        offset: offset.parse().ok().filter(|&offset| offset >= 0)?,
    };
    (parts.next().is_none() && !topic.is_empty()).then_some(position)
}

/// The position that says how old the version is that `record` brings: where it stood first, if
/// it was replayed, else where it stands.
///
/// A header that claims to come from later in the record's own partition is not believed (its
/// topic was made again, or a producer wrote it): the document would take no event until then.
pub fn fence_position(record: &RawRecord) -> SourcePosition {
    let own = &record.position;
    match replayed_from(&record.headers) {
        Some(first) if !is_later(&first, own) => first,
        _ => own.clone(),
    }
}

/// Whether `a` stands after `b` in the same partition. Positions of different partitions have no
/// order.
pub fn is_later(a: &SourcePosition, b: &SourcePosition) -> bool {
    a.topic == b.topic && a.partition == b.partition && a.offset > b.offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Lease;

    fn position(topic: &str, partition: i32, offset: i64) -> SourcePosition {
        SourcePosition { topic: topic.into(), partition, offset }
    }

    fn record(headers: Vec<Header>) -> RawRecord {
        RawRecord {
            position: position("docs", 1, 50),
            key: None,
            value: None,
            headers,
            timestamp_ms: None,
            lease: Lease::new(),
        }
    }

    #[test]
    fn a_replayed_record_counts_where_it_stood_first() {
        for first in
            [position("docs", 1, 7), position("docs", 2, 900), position("old.docs", 1, 900)]
        {
            let own: Header = ("trace".to_owned(), Some(vec![0xff]));
            let header = replayed_from_header(&first);
            assert_eq!(fence_position(&record(vec![own, header])), first);
        }
        assert_eq!(fence_position(&record(vec![])), position("docs", 1, 50));
    }

    #[test]
    fn a_header_from_the_future_of_its_own_partition_is_not_believed() {
        let header = replayed_from_header(&position("docs", 1, i64::MAX));
        assert_eq!(fence_position(&record(vec![header])), position("docs", 1, 50));
    }

    #[test]
    fn a_header_that_names_no_position_is_none() {
        for text in
            ["", "docs", "docs/1", "docs/1/", "docs/1/7/8", "/1/7", "docs/-1/7", "docs/1/-7"]
        {
            let header = (REPLAYED_FROM_HEADER.to_owned(), Some(text.as_bytes().to_vec()));
            assert_eq!(replayed_from(&[header]), None, "{text}");
        }
        for value in [None, Some(vec![0xff])] {
            assert_eq!(replayed_from(&[(REPLAYED_FROM_HEADER.to_owned(), value)]), None);
        }
    }
}
