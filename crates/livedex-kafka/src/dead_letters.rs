//! Dead letters: records that can never be processed, kept whole with the reason.
//!
//! Key, value and headers go to the dead-letter topic as they came, with Kafka Connect's header
//! names added ([`livedex_core::dead_letter`]). [`KafkaDeadLetters::send`] returns once the dead
//! letter is on all in-sync replicas; only then may the record be finished. A record too large
//! for the dead-letter topic leaves a dead letter without its value that says so: the value can
//! still be read at the position it names.

use async_trait::async_trait;
use livedex_core::{
    dead_letter as names,
    ports::{DeadLetters, ServiceError},
    record::{DeadLetterReason, Header, RawRecord},
};
use rdkafka::types::RDKafkaErrorCode;

use crate::{
    KafkaConfig, KafkaError, client, metrics,
    producer::{Outgoing, Producer},
    properties,
    publisher::explain,
};

/// Bytes of an error message in a header: Kafka counts headers into the message's size.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// The dead-letter topic as a sink. The topic must exist ([`crate::Admin::ensure_topics`]).
pub struct KafkaDeadLetters {
    producer: Producer,
    config: KafkaConfig,
}

impl KafkaDeadLetters {
    /// A sink for [`KafkaConfig::dead_letter_topic`]. Connects in the background.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        // The record came through a broker, so its size is the broker's to judge.
        let client = client::producer(config, properties::MAX_MESSAGE_BYTES)?;
        let producer = Producer::new(&client).map_err(|error| KafkaError::Other {
            brokers: config.brokers.clone(),
            what: "setting up the dead-letter producer".to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self { producer, config: config.clone() })
    }
}

#[async_trait]
impl DeadLetters for KafkaDeadLetters {
    async fn send(
        &self,
        record: &RawRecord,
        reason: &DeadLetterReason,
    ) -> Result<(), ServiceError> {
        let mut headers = headers(&self.config.group, record, reason);
        let whole = Outgoing {
            topic: &self.config.dead_letter_topic,
            partition: None,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let mut code = match self.producer.send(&whole).await {
            Ok(_) => {
                metrics::dead_letter(&self.config.stream, "ok");
                return Ok(());
            }
            Err(code) => code,
        };
        if let (RDKafkaErrorCode::MessageSizeTooLarge, Some(value)) = (code, &record.value) {
            headers.push((
                names::VALUE_DROPPED_BYTES.to_owned(),
                Some(value.len().to_string().into_bytes()),
            ));
            let hollow = Outgoing {
                topic: &self.config.dead_letter_topic,
                partition: None,
                key: record.key.as_deref(),
                value: None,
                headers: &headers,
            };
            match self.producer.send(&hollow).await {
                Ok(_) => {
                    metrics::dead_letter(&self.config.stream, "without_value");
                    tracing::warn!(
                        position = %record.position,
                        bytes = value.len(),
                        "a dead letter is kept without its value: it is too large for the dead-letter topic"
                    );
                    return Ok(());
                }
                Err(again) => code = again,
            }
        }
        metrics::dead_letter(&self.config.stream, "error");
        let message = Outgoing {
            topic: &self.config.dead_letter_topic,
            partition: None,
            key: record.key.as_deref(),
            value: None,
            headers: &headers,
        };
        Err(explain(&self.config, &message, code).await.into())
    }
}

/// The record's own headers, then the reason. A record that was a dead letter before (a replay)
/// carries the newest reason only.
fn headers(group: &str, record: &RawRecord, reason: &DeadLetterReason) -> Vec<Header> {
    let mut headers: Vec<Header> =
        record.headers.iter().filter(|(name, _)| !names::is_added(name)).cloned().collect();
    let position = &record.position;
    let mut add =
        |name: &str, value: &str| headers.push((name.to_owned(), Some(value.as_bytes().to_vec())));
    add(names::TOPIC, &position.topic);
    add(names::PARTITION, &position.partition.to_string());
    add(names::OFFSET, &position.offset.to_string());
    add(names::CONNECTOR_NAME, group);
    add(names::STAGE, reason.stage.as_str());
    add(names::CLASS_NAME, names::CLASS_NAME_VALUE);
    add(names::EXCEPTION_CLASS_NAME, &reason.class);
    add(names::EXCEPTION_MESSAGE, cut(&reason.message));
    if let Some(timestamp) = record.timestamp_ms {
        add(names::TIMESTAMP_MS, &timestamp.to_string());
    }
    headers
}

/// The first [`MAX_MESSAGE_BYTES`] of `text`, without splitting a character.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Arc;

    use livedex_core::{
        lease::Lease,
        record::{SourcePosition, Stage},
    };

    use super::*;

    fn record(headers: Vec<Header>) -> RawRecord {
        RawRecord {
            position: SourcePosition { topic: Arc::from("docs"), partition: 3, offset: 42 },
            key: Some(b"k".to_vec()),
            value: Some(b"{".to_vec()),
            headers,
            timestamp_ms: Some(1_700_000_000_000),
            lease: Lease::new(),
        }
    }

    fn reason(message: &str) -> DeadLetterReason {
        DeadLetterReason {
            stage: Stage::Decode,
            class: "DecodeError.Json".to_owned(),
            message: message.to_owned(),
        }
    }

    fn value<'a>(headers: &'a [Header], name: &str) -> Vec<&'a str> {
        headers
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| std::str::from_utf8(value.as_ref().unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn the_reason_is_added_to_the_records_own_headers() {
        let own: Header = ("trace".to_owned(), Some(vec![0xff]));
        let headers = headers("livedex", &record(vec![own.clone()]), &reason("not JSON"));
        assert_eq!(headers[0], own);
        for (name, expected) in [
            ("__connect.errors.topic", "docs"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "42"),
            ("__connect.errors.connector.name", "livedex"),
            ("__connect.errors.stage", "DECODE"),
            ("__connect.errors.exception.class.name", "DecodeError.Json"),
            ("__connect.errors.exception.message", "not JSON"),
            ("livedex.errors.timestamp_ms", "1700000000000"),
        ] {
            assert_eq!(value(&headers, name), [expected], "{name}");
        }
    }

    #[test]
    fn a_replay_carries_the_newest_reason_only() {
        let old: Vec<Header> =
            names::ALL.iter().map(|name| ((*name).to_owned(), Some(b"old".to_vec()))).collect();
        let headers = headers("livedex", &record(old), &reason("new"));
        assert_eq!(value(&headers, names::EXCEPTION_MESSAGE), ["new"]);
        assert_eq!(value(&headers, names::OFFSET), ["42"]);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let text = "ä".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(cut(&text).len(), MAX_MESSAGE_BYTES);
        let text = format!("x{text}");
        assert_eq!(cut(&text).len(), MAX_MESSAGE_BYTES - 1);
    }
}
