//! Kafka, NATS and Milvus Lite for one test, a worker's configuration for them, and what a test
//! does with them: publish, wait, read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    document::{Change, Document},
    ids::DocumentKey,
    ports::{ModelInfo, TokenCounter},
    record::{RawRecord, SourcePosition},
};
use livedex_kafka::{Admin, KafkaConfig, Publisher, TopicSpec};
use livedex_milvus::{FlushPolicy, Milvus, MilvusConfig};
use livedex_model::{ModelSpec, load_embedder};

use crate::broker::Broker;
use crate::check::{Report, check};
use crate::servers::{MilvusLite, Nats};
use crate::topic;
use crate::wait::until;

/// Tokens of a chunk in the suites: the small fixture model reads 64, and adds two of its own.
pub const CHUNK_TOKENS: usize = 60;

/// Partitions of the topic.
pub const PARTITIONS: i32 = 4;

/// A small checkpoint with random weights, by its name in `livedex-model/fixtures`: its vectors
/// mean nothing, and it is right and fast.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../livedex-model/fixtures").join(name)
}

/// A runtime for the asynchronous part of a test. Servers are started and dropped outside of it:
/// that blocks.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The servers of one test, with the topics created.
pub struct Stack {
    kafka: KafkaConfig,
    milvus: MilvusConfig,
    nats_url: String,
    model: ModelInfo,
    chunker: Chunker,
    _servers: (Broker, Nats, MilvusLite),
}

impl Stack {
    /// Starts NATS and Milvus Lite beside a broker. Blocks: call it outside of a runtime.
    pub fn start(broker: Broker) -> Result<Self> {
        let (nats, milvus) = (Nats::start()?, MilvusLite::start()?);
        let embedder = load_embedder(&ModelSpec::dir(fixture("bert-embed")))?;
        let tokens: Arc<dyn TokenCounter> = embedder.tokenizer();
        let config = ChunkConfig { max_tokens: CHUNK_TOKENS, overlap_tokens: 0 };
        let kafka = KafkaConfig { brokers: broker.brokers(), ..KafkaConfig::default() };
        let topics =
            [TopicSpec::new(&kafka.topic, PARTITIONS), TopicSpec::new(&kafka.dead_letter_topic, 1)];
        runtime()?.block_on(Admin::new(&kafka).ensure_topics(&topics))?;
        Ok(Self {
            kafka,
            milvus: MilvusConfig {
                uri: milvus.uri(),
                flush: FlushPolicy::WhenIdle,
                // A busy machine of two cores.
                timeout: Duration::from_secs(30),
                ..MilvusConfig::default()
            },
            nats_url: nats.url(),
            model: embedder.info().clone(),
            chunker: Chunker::new(config, tokens)?,
            _servers: (broker, nats, milvus),
        })
    }

    /// The text of a worker's `livedex.toml`.
    pub fn config(&self) -> String {
        format!(
            "[kafka]\nbrokers = \"{}\"\n\
             [milvus]\nuri = \"{}\"\nflush = \"when-idle\"\ntimeout_ms = 30000\n\
             [nats]\nurl = \"{}\"\n\
             [embedder]\nmodel = \"{}\"\n\
             [reranker]\nmodel = \"{}\"\n\
             [chunk]\nmax_tokens = {CHUNK_TOKENS}\n\
             [http]\nlisten = \"\"\n",
            self.kafka.brokers,
            self.milvus.uri,
            self.nats_url,
            fixture("bert-embed").display(),
            fixture("bert-rerank").display(),
        )
    }

    /// Its Kafka, with the default topics and group.
    pub fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// Its Milvus, with the default collection.
    pub fn milvus(&self) -> &MilvusConfig {
        &self.milvus
    }

    /// The URL of its NATS.
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// The embedder that its configuration names.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// Publishes changes ([`topic::publish`]).
    pub async fn publish(&self, changes: &[Change]) -> Result<()> {
        self.publish_to(&self.kafka.topic, changes).await
    }

    /// The same for another topic.
    pub async fn publish_to(&self, name: &str, changes: &[Change]) -> Result<()> {
        let config = KafkaConfig { topic: name.to_owned(), ..self.kafka.clone() };
        topic::publish(&config, changes).await
    }

    /// Publishes raw bytes, to see what becomes of what is no document.
    pub async fn publish_raw(&self, key: Option<&[u8]>, value: &[u8]) -> Result<SourcePosition> {
        let publisher = Publisher::new(&self.kafka)?;
        let headers = [("origin".to_owned(), Some(b"test".to_vec()))];
        Ok(publisher.publish_record(key, Some(value), &headers, None).await?)
    }

    /// Records between what the group has committed and the end of the topic.
    pub async fn lag(&self) -> Result<i64> {
        self.lag_of(&self.kafka.group, &self.kafka.topic).await
    }

    /// The same for another group and topic.
    pub async fn lag_of(&self, group: &str, topic: &str) -> Result<i64> {
        let lag = Admin::new(&self.kafka).lag(group, topic).await?;
        Ok(lag.iter().map(|partition| partition.lag).sum())
    }

    /// Waits until the group has committed the whole topic.
    pub async fn until_committed(&self, timeout: Duration) -> Result<()> {
        until("group lag 0", timeout, || async {
            Ok(match self.lag().await? {
                0 => Ok(()),
                lag => Err(format!("{lag} records behind")),
            })
        })
        .await
    }

    /// Reads the whole collection (Strong) and compares it with what it should say.
    pub async fn report(&self, expected: &BTreeMap<DocumentKey, Document>) -> Result<Report> {
        compare(&self.milvus, &self.chunker, &self.model, expected).await
    }

    /// The same for another collection, whose chunks have up to `chunk_tokens` tokens.
    pub async fn report_of(
        &self,
        collection: &str,
        chunk_tokens: usize,
        expected: &BTreeMap<DocumentKey, Document>,
    ) -> Result<Report> {
        let config = MilvusConfig { collection: collection.to_owned(), ..self.milvus.clone() };
        let embedder = load_embedder(&ModelSpec::dir(fixture("bert-embed")))?;
        let chunk = ChunkConfig { max_tokens: chunk_tokens, overlap_tokens: 0 };
        let chunker = Chunker::new(chunk, embedder.tokenizer())?;
        compare(&config, &chunker, &self.model, expected).await
    }

    /// All dead letters, in order.
    pub async fn dead_letters(&self) -> Result<Vec<RawRecord>> {
        let config = KafkaConfig {
            topic: self.kafka.dead_letter_topic.clone(),
            dead_letter_topic: "unused".to_owned(),
            group: "dead-letter-reader".to_owned(),
            ..self.kafka.clone()
        };
        topic::read_all(&config).await
    }
}

async fn compare(
    milvus: &MilvusConfig,
    chunker: &Chunker,
    model: &ModelInfo,
    expected: &BTreeMap<DocumentKey, Document>,
) -> Result<Report> {
    let collection = Milvus::connect(milvus).await?.inspect_collection().await?;
    let rows = collection.all_rows(false).await?;
    check(&rows, expected, chunker, &model.fingerprint, None)
}

/// The text of a header, which must be there once.
pub fn header<'a>(record: &'a RawRecord, name: &str) -> Result<&'a str> {
    let mut values = record.headers.iter().filter(|(key, _)| key == name);
    let (_, value) = values.next().with_context(|| format!("no header {name}"))?;
    anyhow::ensure!(values.next().is_none(), "the header {name} is there twice");
    Ok(std::str::from_utf8(value.as_deref().unwrap_or_default())?)
}
