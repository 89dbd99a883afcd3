//! One record back onto a topic.
//!
//! Key, value and headers are those that the record came with, to the byte, and one header more
//! that says where it stood first ([`livedex_core::replay`]).
//!
//! The partition is the one that the key hashes to, as for [`crate::Publisher`]: newer records of
//! the same key are there, and the order of a key is that of its partition. A record without a key
//! goes back to its own partition.
//!
//! The time is that of the replay, not the record's first: retention goes by it, and a topic that
//! keeps a week would drop a record of last month before it is read. How long a document takes
//! from Kafka to the collection is counted from the replay, too.

use std::{collections::HashMap, sync::Arc};

use livedex_core::{dead_letter::DeadLetter, record::SourcePosition};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::Mutex;

use crate::{
    Admin, KafkaConfig, KafkaError, client,
    config::check_topic,
    error::other,
    producer::{Outgoing, Producer},
    properties,
    publisher::explain,
};

/// Why a dead letter is not replayed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It has no value any more. A tombstone in its place would delete the document.
    #[error("its value was too large for the dead-letter topic and is not in it")]
    ValueDropped,
    /// The topic that it would go to does not exist.
    #[error("there is no topic \"{0}\"; create it, or name another with --to")]
    NoTopic(Arc<str>),
    /// It would go to the dead-letter topic.
    #[error("it came from the dead-letter topic itself; name another topic with --to")]
    ToDeadLetters,
    /// The topic does not take a record of this size.
    #[error("it is larger than topic \"{0}\" takes (max.message.bytes)")]
    TooLarge(Arc<str>),
}

impl Refusal {
    /// Whether it will be refused for ever: the mark then passes the letter.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::ValueDropped)
    }
}

/// Sends records back.
pub(crate) struct Replayer {
    producer: Producer,
    config: KafkaConfig,
    /// Where all of them go; `None`: each to its own topic.
    to: Option<Arc<str>>,
    /// Topics that were asked for, with how many partitions they have; 0 if they do not exist.
    topics: Mutex<HashMap<Arc<str>, i32>>,
}

impl Replayer {
    /// Connects in the background.
    pub(crate) fn new(config: &KafkaConfig, to: Option<&str>) -> Result<Self, KafkaError> {
        // The record came through a broker, so its size is the broker's to judge.
        let mut client = client::producer(config, properties::MAX_MESSAGE_BYTES)?;
        if !config.properties.contains_key("linger.ms") {
            // Each record is waited for before the next of its partition is sent: there is little
            // that a batch could wait for.
            client.set("linger.ms", "0");
        }
        let producer = Producer::new(&client)
            .map_err(|error| other(config, "setting up the replay's producer", &error))?;
        let config = config.clone();
        Ok(Self { producer, config, to: to.map(Arc::from), topics: Mutex::default() })
    }

    /// Where `letter` would go, and whether it can.
    pub(crate) async fn target(
        &self,
        letter: &DeadLetter,
    ) -> Result<Result<Arc<str>, Refusal>, KafkaError> {
        if letter.value_dropped_bytes.is_some() {
            return Ok(Err(Refusal::ValueDropped));
        }
        let topic = self.to.as_ref().unwrap_or(&letter.record.position.topic);
        if **topic == *self.config.dead_letter_topic {
            return Ok(Err(Refusal::ToDeadLetters));
        }
        match self.partitions(topic).await? {
            0 => Ok(Err(Refusal::NoTopic(Arc::clone(topic)))),
            _ => Ok(Ok(Arc::clone(topic))),
        }
    }

    /// Sends the record of `letter` to where it belongs, and returns where it is once all in-sync
    /// replicas have it. Records whose order matters are awaited one after the other.
    pub(crate) async fn send(
        &self,
        letter: &DeadLetter,
    ) -> Result<Result<SourcePosition, Refusal>, KafkaError> {
        let topic = match self.target(letter).await? {
            Ok(topic) => topic,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let record = &letter.record;
        let own_partition = record.position.partition;
        let is_kept = record.key.is_none()
            && topic == record.position.topic
            && own_partition < self.partitions(&topic).await?;
        let message = Outgoing {
            topic: &topic,
            partition: is_kept.then_some(own_partition),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &letter.replay_headers(),
        };
        match self.producer.send(&message).await {
            Ok((partition, offset)) => Ok(Ok(SourcePosition { topic, partition, offset })),
            Err(Code::MessageSizeTooLarge) => Ok(Err(Refusal::TooLarge(topic))),
            Err(code) => Err(explain(&self.config, &message, code).await),
        }
    }

    async fn partitions(&self, topic: &Arc<str>) -> Result<i32, KafkaError> {
        // Held over the question: it is asked once a topic.
        let mut topics = self.topics.lock().await;
        if let Some(&n) = topics.get(topic) {
            return Ok(n);
        }
        let found = match check_topic(topic) {
            Ok(()) => Admin::new(&self.config).partitions(topic).await?,
            // A header may hold anything, and a broker answers a name that is none in its own way.
            Err(_) => None,
        };
        let n = found.map_or(0, |partitions| partitions.last().map_or(0, |last| last + 1));
        topics.insert(Arc::clone(topic), n);
        Ok(n)
    }
}
