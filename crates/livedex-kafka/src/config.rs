//! What this crate needs to know, and the check that reports every mistake at once.

use std::{collections::BTreeMap, fmt, time::Duration};

use livedex_core::limits::DEFAULT_MAX_DOCUMENT_BYTES;

use crate::{
    properties,
    session::{MARGIN, MIN_ROOM, Times},
};

/// Bytes of records that may be read and not yet finished, by default: four 8 MiB waves, or
/// three documents of the largest size.
pub const DEFAULT_MAX_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// Records of one [`livedex_core::ports::SourceEvent::Records`], by default.
pub const DEFAULT_MAX_POLL_RECORDS: usize = 500;

/// How to reach Kafka, and what to read from it. Fields as in the `[kafka]` section of the
/// configuration file.
///
/// `Debug` does not show secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Names what is read from this topic into one collection, for metrics.
    pub stream: String,
    /// `host:port`, several with commas.
    pub brokers: String,
    /// The topic of documents.
    pub topic: String,
    /// Where records go that can never be processed.
    pub dead_letter_topic: String,
    /// The consumer group.
    pub group: String,
    /// A fixed member id (static membership): a restart within the session timeout then causes
    /// no rebalance. Unique within the group.
    pub instance_id: Option<String>,
    /// librdkafka properties for every client, as librdkafka names them.
    pub properties: BTreeMap<String, String>,
    /// Bytes of records that may be read and not yet finished. Reading pauses at this mark and
    /// goes on at half of it. One record larger than this is still read, alone.
    pub max_in_flight_bytes: usize,
    /// Bytes of the largest value that [`crate::Publisher`] sends.
    pub max_document_bytes: usize,
    /// Records of one batch.
    pub max_poll_records: usize,
    /// How often finished offsets are committed.
    pub commit_interval: Duration,
    /// How long to wait for a broker's first answer.
    pub start_timeout: Duration,
    /// How long a rebalance may wait for the commit of revoked partitions. What is not
    /// committed by then is read again by the next owner.
    pub revoke_timeout: Duration,
    /// The longest that a write may still run that was started under a live lease: the deadline of
    /// one RPC to Milvus. Leases end this much before the group's session would.
    pub write_timeout: Duration,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            stream: "livedex.documents".to_owned(),
            brokers: "127.0.0.1:9092".to_owned(),
            topic: "livedex.documents".to_owned(),
            dead_letter_topic: "livedex.documents.dlq".to_owned(),
            group: "livedex".to_owned(),
            instance_id: None,
            properties: BTreeMap::new(),
            max_in_flight_bytes: DEFAULT_MAX_IN_FLIGHT_BYTES,
            max_document_bytes: DEFAULT_MAX_DOCUMENT_BYTES,
            max_poll_records: DEFAULT_MAX_POLL_RECORDS,
            commit_interval: Duration::from_secs(1),
            start_timeout: Duration::from_secs(5),
            revoke_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("stream", &self.stream)
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("dead_letter_topic", &self.dead_letter_topic)
            .field("group", &self.group)
            .field("instance_id", &self.instance_id)
            .field("properties", &properties::redacted(&self.properties))
            .field("max_in_flight_bytes", &self.max_in_flight_bytes)
            .field("max_document_bytes", &self.max_document_bytes)
            .field("max_poll_records", &self.max_poll_records)
            .field("commit_interval", &self.commit_interval)
            .field("start_timeout", &self.start_timeout)
            .field("revoke_timeout", &self.revoke_timeout)
            .field("write_timeout", &self.write_timeout)
            .finish()
    }
}

/// One thing wrong with a [`KafkaConfig`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key within `[kafka]` (`topic`, `properties."acks"`).
    pub key: String,
    /// What is wrong with it, with value and limit; never a secret.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka.{}: {}", self.key, self.message)
    }
}

impl KafkaConfig {
    /// Everything that is wrong with it; empty if it can be used. Connects to nothing.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: String| {
            problems.push(ConfigProblem { key: key.to_owned(), message });
        };
        if self.brokers.split(',').any(|broker| broker.trim().is_empty()) {
            wrong("brokers", format!("\"{}\" is not a list of host:port", self.brokers));
        }
        for (key, name) in [("topic", &self.topic), ("dead_letter_topic", &self.dead_letter_topic)]
        {
            if let Err(message) = check_topic(name) {
                wrong(key, message);
            }
        }
        if self.topic == self.dead_letter_topic {
            wrong(
                "dead_letter_topic",
                format!(
                    "\"{}\" is also the topic that is read: dead letters would come back",
                    self.topic
                ),
            );
        }
        if self.group.is_empty() {
            wrong("group", "is empty".to_owned());
        }
        if self.instance_id.as_ref().is_some_and(String::is_empty) {
            wrong("instance_id", "is empty".to_owned());
        }
        for (key, value) in [
            ("max_in_flight_bytes", self.max_in_flight_bytes),
            ("max_document_bytes", self.max_document_bytes),
            ("max_poll_records", self.max_poll_records),
        ] {
            if value == 0 {
                wrong(key, "is 0, at least 1 is needed".to_owned());
            }
        }
        if self.max_document_bytes > properties::MAX_MESSAGE_BYTES {
            wrong(
                "max_document_bytes",
                format!(
                    "is {}, librdkafka's limit for a message is {}",
                    self.max_document_bytes,
                    properties::MAX_MESSAGE_BYTES
                ),
            );
        }
        problems.extend(properties::problems(&self.properties));
        problems.extend(self.no_room());
        problems
    }

    /// Leases must have some time to live within the group's session.
    fn no_room(&self) -> Option<ConfigProblem> {
        let times = Times::of(self);
        if times.room(self.write_timeout) >= MIN_ROOM {
            return None;
        }
        let least = times.heartbeat + self.write_timeout + MARGIN + MIN_ROOM;
        Some(ConfigProblem {
            key: "properties.\"session.timeout.ms\"".to_owned(),
            message: format!(
                "is {} ms, but with writes of up to {} ms (milvus.timeout_ms) and heartbeats every \
                 {} ms at least {} is needed: a worker that was stopped must have nothing under way \
                 when its partitions become another's",
                times.session.as_millis(),
                self.write_timeout.as_millis(),
                times.heartbeat.as_millis(),
                least.as_millis()
            ),
        })
    }
}

/// Kafka's own rule for topic names (`org.apache.kafka.common.internals.Topic`).
pub(crate) fn check_topic(name: &str) -> Result<(), String> {
    const MAX_TOPIC_BYTES: usize = 249;
    if name.is_empty() || name == "." || name == ".." {
        return Err(format!("\"{name}\" is not a topic name"));
    }
    if name.len() > MAX_TOPIC_BYTES {
        return Err(format!("has {} bytes, Kafka's limit is {MAX_TOPIC_BYTES}", name.len()));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => {
            Err(format!("\"{name}\" holds {c:?}; Kafka allows a-z, A-Z, 0-9, '.', '_' and '-'"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_property(key: &str, value: &str) -> KafkaConfig {
        let properties = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        KafkaConfig { properties, ..KafkaConfig::default() }
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(KafkaConfig::default().problems(), vec![]);
    }

    #[test]
    fn every_problem_is_reported() {
        let config = KafkaConfig {
            brokers: "a:1,,b:2".to_owned(),
            topic: "docs and more".to_owned(),
            dead_letter_topic: "..".to_owned(),
            group: String::new(),
            instance_id: Some(String::new()),
            max_in_flight_bytes: 0,
            max_poll_records: 0,
            max_document_bytes: 2_000_000_000,
            properties: BTreeMap::from([
                ("enable.auto.commit".to_owned(), "true".to_owned()),
                ("no.such.thing".to_owned(), "1".to_owned()),
            ]),
            ..KafkaConfig::default()
        };
        let keys: Vec<String> = config.problems().into_iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "brokers",
                "topic",
                "dead_letter_topic",
                "group",
                "instance_id",
                "max_in_flight_bytes",
                "max_poll_records",
                "max_document_bytes",
                "properties.\"enable.auto.commit\"",
                "properties.\"no.such.thing\"",
            ]
        );
    }

    #[test]
    fn a_session_without_room_for_a_write_is_refused() {
        let short = with_property("session.timeout.ms", "14000");
        let problem = &short.problems()[0];
        assert_eq!(problem.key, "properties.\"session.timeout.ms\"");
        let numbers = ["14000 ms", "10000 ms", "3000 ms", "15000 is needed"];
        assert!(numbers.iter().all(|number| problem.message.contains(number)), "{problem}");
        assert_eq!(with_property("session.timeout.ms", "15000").problems(), vec![]);
        // The default is as short for a very patient writer.
        let patient =
            KafkaConfig { write_timeout: Duration::from_secs(60), ..KafkaConfig::default() };
        assert!(patient.problems()[0].message.starts_with("is 45000 ms"));
    }

    #[test]
    fn dead_letters_do_not_go_to_the_topic_that_is_read() {
        let config = KafkaConfig {
            dead_letter_topic: "t".to_owned(),
            topic: "t".to_owned(),
            ..KafkaConfig::default()
        };
        assert_eq!(config.problems()[0].key, "dead_letter_topic");
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = with_property("sasl.password", "hunter2");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("sasl.password"), "{shown}");
    }
}
