//! How far the dead-letter topic was replayed.
//!
//! The mark is the committed offset of a consumer group of its own that nobody ever joins: Kafka
//! keeps it, every Kafka tool shows and resets it, and dead letters need not be changed or
//! deleted for it. Kafka forgets it `offsets.retention.minutes` (7 days) after the last commit;
//! the next replay then starts at the first letter, which changes nothing in the collection
//! ([`livedex_core::replay`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use crate::{
    Admin, KafkaConfig, KafkaError, client,
    diagnostics::QuietContext,
    error::{other, request_failed},
    lag::until_coordinated,
};

/// How long one commit may take. librdkafka waits for a coordinator that is away, without a
/// bound of ours.
const COMMIT_DEADLINE: Duration = Duration::from_secs(30);

/// The first dead letter that is not replayed yet, by partition.
pub type Marks = BTreeMap<i32, i64>;

/// The group whose committed offsets are the marks.
pub fn replay_group(config: &KafkaConfig) -> String {
    format!("{}.dlq-replay", config.group)
}

/// Reads the marks; a partition without one is absent.
pub(crate) async fn load(config: &KafkaConfig) -> Result<Marks, KafkaError> {
    let lags = Admin::new(config).lag(&replay_group(config), &config.dead_letter_topic).await?;
    Ok(lags.into_iter().filter_map(|lag| Some((lag.partition, lag.committed?))).collect())
}

/// Where marks are kept.
pub(crate) struct MarkStore {
    consumer: Arc<BaseConsumer<QuietContext>>,
    config: KafkaConfig,
}

impl MarkStore {
    /// Connects in the background.
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let consumer = client::reader_config(config, &replay_group(config))?
            .create_with_context(QuietContext::default())
            .map_err(|error| other(config, "setting up the replay's group", &error))?;
        Ok(Self { consumer: Arc::new(consumer), config: config.clone() })
    }

    /// Returns once the broker has the marks.
    pub(crate) async fn save(&self, marks: &Marks) -> Result<(), KafkaError> {
        let topic = &self.config.dead_letter_topic;
        let what =
            format!("saving how far the replay is (group \"{}\")", replay_group(&self.config));
        let mut list = TopicPartitionList::with_capacity(marks.len());
        for (&partition, &offset) in marks {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(|error| other(&self.config, &what, &error))?;
        }
        let consumer = Arc::clone(&self.consumer);
        let commit = tokio::task::spawn_blocking(move || {
            until_coordinated(COMMIT_DEADLINE, || consumer.commit(&list, CommitMode::Sync))
        });
        match tokio::time::timeout(COMMIT_DEADLINE, commit).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(request_failed(&self.config, topic, &what, &error)),
            Ok(Err(error)) => Err(other(&self.config, &what, &error)),
            Err(_) => Err(KafkaError::Timeout {
                brokers: self.config.brokers.clone(),
                waited: COMMIT_DEADLINE,
                what,
            }),
        }
    }
}
