//! Topics, lag, and whether Kafka is there.
//!
//! Every call makes its own client and drops it: these are commands and health checks, rare, and
//! nothing idle is left connected. Each is bounded by [`KafkaConfig::start_timeout`] per request.

use std::collections::HashSet;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};

use crate::{
    KafkaConfig, KafkaError, PartitionLag, client,
    diagnostics::QuietContext,
    error::{other, request_failed},
    keys, lag,
    peek::{self, PeekFrom, Peeked},
    reach,
};

mod remove;

/// A topic that should exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Partitions, if it has to be created; an existing topic keeps its own.
    pub partitions: i32,
    /// Topic settings, if it has to be created (`cleanup.policy`, ...).
    pub config: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic with the broker's default settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, config: Vec::new() }
    }
}

/// Questions to Kafka and the creation of topics.
#[derive(Debug, Clone)]
pub struct Admin {
    config: KafkaConfig,
}

impl Admin {
    /// Connects to nothing yet.
    pub fn new(config: &KafkaConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Whether a broker answers and lets us in, within [`KafkaConfig::start_timeout`].
    pub async fn ping(&self) -> Result<(), KafkaError> {
        // Of one topic rather than of all: a large cluster's metadata is megabytes.
        self.blocking(|config| {
            let consumer = connect(config)?;
            let diagnostics = &consumer.context().diagnostics;
            reach::metadata(config, &consumer, diagnostics, Some(&config.topic)).map(drop)
        })
        .await
    }

    /// The partitions of `topic`, ascending; `None` if it does not exist.
    pub async fn partitions(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |config| {
            let consumer = connect(config)?;
            match reach::partitions(config, &consumer, &consumer.context().diagnostics, &topic) {
                Ok(partitions) => Ok(Some(partitions)),
                Err(KafkaError::UnknownTopic { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Creates the topics that do not exist, and returns the names of those it created once they
    /// can be used. Replication is the broker's default.
    pub async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<String>, KafkaError> {
        let mut created = Vec::new();
        for topic in topics {
            if self.partitions(&topic.name).await?.is_none() {
                self.create(topic.clone()).await?;
                created.push(topic.name.clone());
            }
        }
        Ok(created)
    }

    /// Deletes topics with everything in them, and returns once they are gone. A missing one is
    /// fine.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<(), KafkaError> {
        for topic in topics {
            let topic = (*topic).to_owned();
            self.blocking(move |config| remove::topic(config, &topic)).await?;
        }
        Ok(())
    }

    /// Deletes what a group has committed. It must have no member; a missing one is fine.
    pub async fn delete_group(&self, group: &str) -> Result<(), KafkaError> {
        let group = group.to_owned();
        self.blocking(move |config| remove::group(config, &group)).await
    }

    async fn create(&self, topic: TopicSpec) -> Result<(), KafkaError> {
        self.blocking(move |config| {
            let what = format!("creating topic \"{}\"", topic.name);
            // -1: the broker's default.replication.factor.
            for replicas in [-1, 1] {
                match create_once(config, &topic, replicas, &what)? {
                    Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => break,
                    // Brokers before 2.4 and some others want a number.
                    Err(RDKafkaErrorCode::InvalidReplicationFactor) if replicas == -1 => {}
                    Err(code) => {
                        return Err(KafkaError::from_code(
                            &config.brokers,
                            &topic.name,
                            &what,
                            code,
                        ));
                    }
                }
            }
            // Another broker may not know it yet.
            let start = std::time::Instant::now();
            loop {
                let consumer = connect(config)?;
                match reach::partitions(
                    config,
                    &consumer,
                    &consumer.context().diagnostics,
                    &topic.name,
                ) {
                    Err(KafkaError::UnknownTopic { .. })
                        if start.elapsed() < config.start_timeout => {}
                    other => return other.map(drop),
                }
            }
        })
        .await
    }

    /// How far `group` has come in each partition of `topic`, ascending.
    pub async fn lag(&self, group: &str, topic: &str) -> Result<Vec<PartitionLag>, KafkaError> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.blocking(move |config| lag::read(config, &group, &topic, None)).await
    }

    /// The keys that are alive on `topic`: those whose last record in their partition has a
    /// value. Reads the topic whole, up to its ends at the start of the call; takes no part in a
    /// group. Records without a key are skipped.
    pub async fn read_keys(&self, topic: &str) -> Result<HashSet<Vec<u8>>, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |config| keys::read(config, &topic)).await
    }

    /// Up to `n` records of `topic`, the newest or the oldest, alike from all its partitions.
    /// Takes no part in a group, commits nothing and writes nothing. Ends within 30 s.
    pub async fn peek(&self, topic: &str, n: usize, from: PeekFrom) -> Result<Peeked, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |config| peek::read(config, &topic, n, from)).await
    }

    /// The topic's `max.message.bytes`: the largest compressed batch it takes. `None` if the
    /// broker does not say.
    pub async fn max_message_bytes(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |config| {
            let admin: AdminClient<QuietContext> = admin_client(config)?;
            let options = AdminOptions::new().request_timeout(Some(config.start_timeout));
            let resources = [ResourceSpecifier::Topic(&topic)];
            let answer = tokio::runtime::Handle::current()
                .block_on(admin.describe_configs(&resources, &options))
                .map_err(|error| {
                    request_failed(config, &topic, "reading the topic's settings", &error)
                })?;
            let entry = answer.into_iter().flatten().next();
            let value =
                entry.as_ref().and_then(|entry| entry.get("max.message.bytes")?.value.as_deref());
            Ok(value.and_then(|value| value.parse().ok()))
        })
        .await
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KafkaConfig) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let config = self.config.clone();
        match tokio::task::spawn_blocking(move || work(&config)).await {
            Ok(result) => result,
            Err(error) => Err(other(&self.config, "asking Kafka", &error)),
        }
    }
}

/// A client for metadata, in no group.
fn connect(config: &KafkaConfig) -> Result<BaseConsumer<QuietContext>, KafkaError> {
    client::admin(config)?
        .create_with_context(QuietContext::default())
        .map_err(|error| other(config, "setting up a client", &error))
}

fn admin_client(config: &KafkaConfig) -> Result<AdminClient<QuietContext>, KafkaError> {
    client::admin(config)?
        .create_with_context(QuietContext::default())
        .map_err(|error| other(config, "setting up an admin client", &error))
}

fn create_once(
    config: &KafkaConfig,
    topic: &TopicSpec,
    replicas: i32,
    what: &str,
) -> Result<Result<(), RDKafkaErrorCode>, KafkaError> {
    let admin = admin_client(config)?;
    let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replicas));
    for (key, value) in &topic.config {
        new = new.set(key, value);
    }
    let options = AdminOptions::new()
        .request_timeout(Some(config.start_timeout))
        .operation_timeout(Some(config.start_timeout));
    let answer = tokio::runtime::Handle::current()
        .block_on(admin.create_topics([&new], &options))
        .map_err(|error| request_failed(config, &topic.name, what, &error))?;
    match answer.into_iter().next() {
        Some(Err((_, code))) => Ok(Err(code)),
        Some(Ok(_)) => Ok(Ok(())),
        None => Ok(Err(RDKafkaErrorCode::Fail)),
    }
}
