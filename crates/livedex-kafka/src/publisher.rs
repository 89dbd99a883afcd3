//! Documents onto the topic.

use std::sync::Arc;

use livedex_core::record::{Header, SourcePosition};
use rdkafka::types::RDKafkaErrorCode;

use crate::{
    Admin, KafkaConfig, KafkaError, client,
    producer::{Outgoing, Producer},
};

/// Sends documents and tombstones to [`KafkaConfig::topic`]. Cheap to clone; many messages may
/// be awaited at once, bounded in bytes. Two messages of one document are awaited one after the
/// other: messages that are under way together may swap places.
#[derive(Clone)]
pub struct Publisher {
    producer: Arc<Producer>,
    config: Arc<KafkaConfig>,
    topic: Arc<str>,
}

impl Publisher {
    /// A publisher. Connects in the background: [`Admin::ping`] says whether a broker is there.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let client = client::producer(config, config.max_document_bytes)?;
        let producer = Producer::new(&client).map_err(|error| KafkaError::Other {
            brokers: config.brokers.clone(),
            what: "setting up the producer".to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            producer: Arc::new(producer),
            config: Arc::new(config.clone()),
            topic: Arc::from(config.topic.as_str()),
        })
    }

    /// Sends a document (`value`) or a tombstone (`None`) and returns its position once all
    /// in-sync replicas have it.
    ///
    /// The partition follows from the key as with Java's producer. A value above
    /// [`KafkaConfig::max_document_bytes`], or above what the broker takes, is
    /// [`KafkaError::TooLarge`].
    pub async fn publish(
        &self,
        key: impl AsRef<[u8]>,
        value: Option<Vec<u8>>,
        headers: Vec<Header>,
    ) -> Result<SourcePosition, KafkaError> {
        self.publish_record(Some(key.as_ref()), value.as_deref(), &headers, None).await
    }

    /// As [`Self::publish`], for a record that may have no key, to a partition of choice.
    pub async fn publish_record(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        partition: Option<i32>,
    ) -> Result<SourcePosition, KafkaError> {
        let message = Outgoing { topic: &self.topic, partition, key, value, headers };
        let limit = self.config.max_document_bytes;
        if let Some(bytes) = value.map(<[u8]>::len).filter(|&bytes| bytes > limit) {
            let limit = Some((limit, "ingest.max_document_bytes"));
            return Err(KafkaError::TooLarge { topic: self.topic.to_string(), bytes, limit });
        }
        match self.producer.send(&message).await {
            Ok((partition, offset)) => {
                Ok(SourcePosition { topic: Arc::clone(&self.topic), partition, offset })
            }
            Err(code) => Err(explain(&self.config, &message, code).await),
        }
    }
}

/// The typed error for a message that was not delivered.
pub(crate) async fn explain(
    config: &KafkaConfig,
    message: &Outgoing<'_>,
    code: RDKafkaErrorCode,
) -> KafkaError {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => {
            let limit = Admin::new(config).max_message_bytes(message.topic).await.ok().flatten();
            KafkaError::TooLarge {
                topic: message.topic.to_owned(),
                bytes: message.size(),
                limit: limit.map(|bytes| (bytes, "the topic's max.message.bytes")),
            }
        }
        RDKafkaErrorCode::MessageTimedOut => KafkaError::Timeout {
            brokers: config.brokers.clone(),
            waited: std::time::Duration::from_secs(30),
            what: format!("sending a message to topic \"{}\"", message.topic),
        },
        code => KafkaError::from_code(&config.brokers, message.topic, "sending a message", code),
    }
}
