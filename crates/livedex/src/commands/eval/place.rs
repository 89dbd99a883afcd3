//! The topic, group, collection and subjects of its own.
//!
//! Everything is called after the test set, so that what a run leaves (`--keep`) the next one finds.
//! Only the group is new each time: one that had committed before would read nothing again.

use std::path::Path;

use anyhow::{Context, bail};
use livedex_kafka::{Admin, KafkaConfig, TopicSpec};
use livedex_milvus::{Milvus, MilvusConfig};
use livedex_query::NatsConfig;
use livedex_wire::time::now_millis;
use tracing::warn;

use crate::{cli::EvalArgs, config::Config, worker::BROKER_DEFAULT};

/// Characters of a test set's name: what a collection's may have, less what stands before it.
const MAX_NAME: usize = 200;

/// Where a test set is evaluated.
pub(super) struct Place {
    name: String,
    kafka: KafkaConfig,
    milvus: MilvusConfig,
    nats: NatsConfig,
    chunk_tokens: usize,
    is_made: bool,
}

impl Place {
    /// Makes the configuration one of a single stream with names of its own.
    pub(super) fn take(config: &mut Config, args: &EvalArgs) -> anyhow::Result<Self> {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => folder_name(&args.folder)?,
        };
        let id = identifier(&name)?;
        let mut stream = config.stream(args.stream.as_deref())?.clone();
        stream.name = format!("eval.{id}");
        stream.kafka.stream.clone_from(&stream.name);
        stream.kafka.topic = format!("livedex.eval.{id}");
        stream.kafka.dead_letter_topic = format!("livedex.eval.{id}.dlq");
        stream.kafka.group = format!("livedex-eval-{id}-{}-{}", std::process::id(), now_millis());
        stream.kafka.instance_id = None;
        stream.milvus.collection = format!("livedex_eval_{id}");
        stream.mapping = Default::default();
        stream.schema_registry = None;

        config.nats.subject_prefix = format!("{}.eval.{id}", config.nats.subject_prefix);
        config.nats.queue_group = format!("{}-eval-{id}", config.nats.queue_group);
        config.milvus = stream.milvus.clone();
        config.served = vec![stream.milvus.clone()];
        // Latencies are those of computing, and no request is refused.
        config.query.rerank_cache_bytes = 0;
        config.query.embedding_cache_bytes = 0;
        config.query.max_slowdown = f64::MAX;
        config.query.require_tenant = false;
        config.announce_watermarks = false;
        // A worker beside it may have the port.
        config.http = None;
        let place = Self {
            name,
            kafka: stream.kafka.clone(),
            milvus: stream.milvus.clone(),
            nats: config.nats.clone(),
            chunk_tokens: stream.chunk.max_tokens,
            is_made: false,
        };
        config.streams = vec![stream];
        Ok(place)
    }

    /// What the test set is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The topic of its documents.
    pub(super) fn topic(&self) -> &str {
        &self.kafka.topic
    }

    /// The collection of its chunks.
    pub(super) fn collection(&self) -> &str {
        &self.milvus.collection
    }

    /// Kafka, with its topic.
    pub(super) fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// NATS, with its subjects.
    pub(super) fn nats(&self) -> &NatsConfig {
        &self.nats
    }

    /// Tokens of a chunk at most.
    pub(super) fn chunk_tokens(&self) -> usize {
        self.chunk_tokens
    }

    /// Whether this run has made anything.
    pub(super) fn is_made(&self) -> bool {
        self.is_made
    }

    /// Whether an earlier run has left its collection.
    pub(super) async fn has_collection(&self) -> anyhow::Result<bool> {
        Ok(Milvus::connect(&self.milvus).await?.describe_collection().await?.is_some())
    }

    /// Makes empty topics; a collection that is there goes.
    pub(super) async fn make(&mut self) -> anyhow::Result<()> {
        let admin = Admin::new(&self.kafka);
        admin.ping().await?;
        let milvus = Milvus::connect(&self.milvus).await?;
        self.is_made = true;
        milvus.drop_collection().await?;
        let topics = [self.kafka.topic.as_str(), &self.kafka.dead_letter_topic];
        admin.delete_topics(&topics).await?;
        admin.ensure_topics(&topics.map(|topic| TopicSpec::new(topic, BROKER_DEFAULT))).await?;
        Ok(())
    }

    /// Removes the topics, the group and the collection. Each is tried, whatever becomes of the
    /// others.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        let admin = Admin::new(&self.kafka);
        if let Err(error) = admin.delete_group(&self.kafka.group).await {
            // It holds a few offsets, which the broker forgets by itself.
            warn!("{error}");
        }
        let topics = [self.kafka.topic.as_str(), &self.kafka.dead_letter_topic];
        let topics = admin.delete_topics(&topics).await;
        let dropped = async { Milvus::connect(&self.milvus).await?.drop_collection().await }.await;
        dropped.with_context(|| format!("cannot remove collection {}", self.collection()))?;
        topics.with_context(|| format!("cannot remove topic {}", self.topic()))
    }
}

/// The name of the folder, also if it was typed as `.`.
fn folder_name(folder: &Path) -> anyhow::Result<String> {
    let absolute = folder.canonicalize();
    let absolute = absolute.with_context(|| format!("no folder {}", folder.display()))?;
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
    name.with_context(|| format!("{} has no name; give one by --name", folder.display()))
}

/// The name as part of a topic, a collection and a subject: letters, digits and `_`.
fn identifier(name: &str) -> anyhow::Result<String> {
    let id: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !id.contains(|c: char| c.is_ascii_alphanumeric()) {
        bail!(
            "\"{name}\" has no ASCII letter or digit to name a topic by; choose a name by --name"
        );
    }
    if id.len() > MAX_NAME {
        bail!(
            "the name of the test set has {} characters, {MAX_NAME} are the most; choose a shorter one by --name",
            id.len()
        );
    }
    Ok(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_part_of_a_topic_and_a_collection() {
        assert_eq!(identifier("trec-covid 2.0").unwrap(), "trec_covid_2_0");
        assert!(identifier("日本").unwrap_err().to_string().contains("--name"));
        assert!(identifier(&"x".repeat(201)).unwrap_err().to_string().contains("201"));
    }

    #[test]
    fn a_folder_has_a_name_however_it_is_typed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("scifact");
        std::fs::create_dir_all(folder.join("qrels")).unwrap();
        assert_eq!(folder_name(&folder).unwrap(), "scifact");
        assert_eq!(folder_name(&folder.join("qrels/..")).unwrap(), "scifact");
        assert!(folder_name(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
