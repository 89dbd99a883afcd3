//! A dead letter, read back from its topic.

use std::{str::FromStr, sync::Arc};

use super as names;
use crate::{
    record::{Header, RawRecord, SourcePosition},
    replay,
};

/// What stands for a stage, class or message that the headers do not tell: Kafka Connect leaves
/// out the message of an exception that has none.
const UNKNOWN: &str = "unknown";

/// A dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Where the dead letter itself lies.
    pub position: SourcePosition,
    /// When it was written, in milliseconds since 1970, if the broker has a time.
    pub written_at_ms: Option<i64>,
    /// The record as it came: its position in the source, its key, its value, its own headers in
    /// their order, and its own time.
    pub record: RawRecord,
    /// The step that refused it; Kafka Connect has other steps than [`crate::record::Stage`].
    pub stage: String,
    /// The kind of the error.
    pub class: String,
    /// The error for people.
    pub message: String,
    /// The consumer group, or the connector, that refused it.
    pub refused_by: Option<String>,
    /// Bytes of the value, if it was too large for the dead-letter topic and was left out. The
    /// record then has no value, and is no tombstone.
    pub value_dropped_bytes: Option<usize>,
}

/// Why a record of the dead-letter topic is no dead letter: where it came from cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignRecord {
    /// A header that every dead letter has is not there.
    #[error("it has no header {0}")]
    Missing(&'static str),
    /// A header does not hold what it should.
    #[error("its header {0} cannot be read")]
    Malformed(&'static str),
}

impl DeadLetter {
    /// Reads a record of the dead-letter topic.
    pub fn read(mut letter: RawRecord) -> Result<Self, ForeignRecord> {
        let headers = &letter.headers;
        let topic: String = need(headers, names::TOPIC)?;
        let text = |name| match find(headers, name) {
            Some(value) if !value.is_empty() => String::from_utf8_lossy(value).into_owned(),
            _ => UNKNOWN.to_owned(),
        };
        let source = SourcePosition {
            topic: Arc::from(topic),
            partition: need(headers, names::PARTITION)?,
            offset: need(headers, names::OFFSET)?,
        };
        let dropped = find(headers, names::VALUE_DROPPED_BYTES)
            .map(|_| need(headers, names::VALUE_DROPPED_BYTES))
            .transpose()?;
        // A time that cannot be read is no reason to lose the rest.
        let timestamp_ms = need(headers, names::TIMESTAMP_MS).ok();
        let (stage, class, message) =
            (text(names::STAGE), text(names::EXCEPTION_CLASS_NAME), text(names::EXCEPTION_MESSAGE));
        let refused_by = find(headers, names::CONNECTOR_NAME).map(|_| text(names::CONNECTOR_NAME));
        letter.headers.retain(|(name, _)| !names::is_added(name));
        Ok(Self {
            position: letter.position.clone(),
            written_at_ms: letter.timestamp_ms,
            record: RawRecord { position: source, timestamp_ms, ..letter },
            stage,
            class,
            message,
            refused_by,
            value_dropped_bytes: dropped,
        })
    }

    /// The headers that the record is replayed with: its own, and where it stood first. A record
    /// that was replayed before says so already, and keeps that.
    pub fn replay_headers(&self) -> Vec<Header> {
        let mut headers = self.record.headers.clone();
        if replay::replayed_from(&headers).is_none() {
            headers.retain(|(name, _)| name != replay::REPLAYED_FROM_HEADER);
            headers.push(replay::replayed_from_header(&self.record.position));
        }
        headers
    }
}

/// The last header of this name: whoever refuses a record adds its headers at the end.
fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().rev().find(|(found, _)| found == name)?.1.as_deref()
}

fn need<T: FromStr>(headers: &[Header], name: &'static str) -> Result<T, ForeignRecord> {
    let value = find(headers, name).ok_or(ForeignRecord::Missing(name))?;
    let text = std::str::from_utf8(value).ok().filter(|text| !text.is_empty());
    text.and_then(|text| text.parse().ok()).ok_or(ForeignRecord::Malformed(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::lease::Lease;

    fn header(name: &str, value: &str) -> Header {
        (name.to_owned(), Some(value.as_bytes().to_vec()))
    }

    /// A record of the dead-letter topic with these headers behind two of its own.
    fn letter(added: &[(&str, &str)]) -> RawRecord {
        let mut headers = vec![("own".to_owned(), None), ("own".to_owned(), Some(vec![0xff]))];
        headers.extend(added.iter().map(|(name, value)| header(name, value)));
        RawRecord {
            position: SourcePosition { topic: "docs.dlq".into(), partition: 2, offset: 9 },
            key: Some(vec![0xfe]),
            value: Some(b"{".to_vec()),
            headers,
            timestamp_ms: Some(5_000),
            lease: Lease::new(),
        }
    }

    const PLACE: [(&str, &str); 3] =
        [(names::TOPIC, "docs"), (names::PARTITION, "3"), (names::OFFSET, "42")];

    #[test]
    fn a_dead_letter_gives_the_record_back_as_it_came() {
        let mut added = PLACE.to_vec();
        added.extend([
            (names::STAGE, "DECODE"),
            (names::CONNECTOR_NAME, "livedex"),
            (names::EXCEPTION_CLASS_NAME, "DecodeError.Json"),
            (names::EXCEPTION_MESSAGE, "not JSON"),
            (names::TIMESTAMP_MS, "1000"),
            ("__connect.errors.exception.stacktrace", "at …"),
        ]);
        let read = DeadLetter::read(letter(&added)).unwrap();
        assert_eq!(read.position.to_string(), "docs.dlq[2]@9");
        assert_eq!(read.record.position.to_string(), "docs[3]@42");
        assert_eq!((read.written_at_ms, read.record.timestamp_ms), (Some(5_000), Some(1_000)));
        assert_eq!((read.record.key, read.record.value), (Some(vec![0xfe]), Some(b"{".to_vec())));
        let own = [("own".to_owned(), None), ("own".to_owned(), Some(vec![0xff]))];
        assert_eq!(read.record.headers, own);
        assert_eq!(
            (&*read.stage, &*read.class, &*read.message),
            ("DECODE", "DecodeError.Json", "not JSON")
        );
        assert_eq!((read.refused_by.as_deref(), read.value_dropped_bytes), (Some("livedex"), None));
    }

    #[test]
    fn what_was_added_last_counts() {
        let mut added = vec![(names::OFFSET, "7"), (names::STAGE, "old")];
        added.extend(PLACE);
        added.push((names::STAGE, "new"));
        let read = DeadLetter::read(letter(&added)).unwrap();
        assert_eq!((read.record.position.offset, &*read.stage), (42, "new"));
    }

    #[test]
    fn a_record_that_does_not_say_where_it_came_from_is_foreign() {
        for missing in 0..PLACE.len() {
            let mut added = PLACE.to_vec();
            let (name, _) = added.remove(missing);
            let error = DeadLetter::read(letter(&added)).unwrap_err();
            assert_eq!(error, ForeignRecord::Missing(name));
        }
        for (name, value) in [
            (names::PARTITION, "x"),
            (names::OFFSET, ""),
            (names::TOPIC, ""),
            (names::VALUE_DROPPED_BYTES, "many"),
        ] {
            let mut added = PLACE.to_vec();
            added.push((name, value));
            let error = DeadLetter::read(letter(&added)).unwrap_err();
            assert_eq!(error, ForeignRecord::Malformed(name));
        }
        // What only people read may be missing.
        let read = DeadLetter::read(letter(&PLACE)).unwrap();
        assert_eq!((&*read.stage, &*read.class, &*read.message), (UNKNOWN, UNKNOWN, UNKNOWN));
        assert_eq!((read.refused_by, read.record.timestamp_ms), (None, None));
    }

    #[test]
    fn a_replay_says_where_the_record_stood_first() {
        let read = DeadLetter::read(letter(&PLACE)).unwrap();
        let first = header(replay::REPLAYED_FROM_HEADER, "docs/3/42");
        assert_eq!(read.replay_headers()[2..], [first]);

        // Refused again: it stood somewhere else before.
        let mut again = letter(&PLACE);
        again.headers.insert(1, header(replay::REPLAYED_FROM_HEADER, "docs/3/7"));
        let expected = again.headers[..3].to_vec();
        assert_eq!(DeadLetter::read(again).unwrap().replay_headers(), expected);

        // Nonsense is replaced.
        let mut nonsense = letter(&PLACE);
        nonsense.headers.insert(0, header(replay::REPLAYED_FROM_HEADER, "somewhere"));
        let headers = DeadLetter::read(nonsense).unwrap().replay_headers();
        assert_eq!(headers.len(), 3);
        assert_eq!(replay::replayed_from(&headers).unwrap().to_string(), "docs[3]@42");
    }
}
