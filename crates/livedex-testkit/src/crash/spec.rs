//! What a worker is told: a TOML file whose path is its only argument.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use livedex_core::chunk::ChunkConfig;
use livedex_ingest::{Backoff, PipelineConfig};
use livedex_kafka::KafkaConfig;
use livedex_milvus::{FlushPolicy, MilvusConfig};
use serde::{Deserialize, Serialize};

use super::faults::Fault;

/// Everything that a worker needs. Where its servers are stands here, so that a proxy can stand
/// between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSpec {
    /// A folder that exists and is this run's alone: markers and passes go there.
    pub dir: PathBuf,
    /// `host:port` of Kafka.
    pub brokers: String,
    /// The topic of documents.
    pub topic: String,
    /// The dead-letter topic. The worker creates neither.
    pub dead_letter_topic: String,
    /// The consumer group.
    pub group: String,
    /// Its static member id, if it has one.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// Records of one batch of the source.
    pub max_poll_records: usize,
    /// Bytes of records read and not finished, at which reading pauses.
    pub max_in_flight_bytes: usize,
    /// How often finished offsets are committed.
    pub commit_interval_ms: u64,
    /// The URI of Milvus.
    pub milvus: String,
    /// The collection; the worker creates it.
    pub collection: String,
    /// The deadline of every RPC to Milvus.
    pub milvus_timeout_ms: u64,
    /// Numbers of a vector.
    pub dimension: usize,
    /// Words of a chunk.
    pub chunk_words: usize,
    /// Bytes of the largest document.
    pub max_document_bytes: usize,
    /// Records of a wave.
    pub wave_records: usize,
    /// How long a call of the embedder takes at least.
    pub embed_delay_ms: u64,
    /// librdkafka's properties.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What happens to it.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

impl WorkerSpec {
    /// Kafka as the worker's crates want it.
    pub fn kafka(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
            group: self.group.clone(),
            instance_id: self.instance_id.clone(),
            properties: self.properties.clone(),
            max_document_bytes: self.max_document_bytes,
            max_poll_records: self.max_poll_records,
            max_in_flight_bytes: self.max_in_flight_bytes,
            commit_interval: Duration::from_millis(self.commit_interval_ms),
            write_timeout: Duration::from_millis(self.milvus_timeout_ms),
            // A busy machine of two cores.
            start_timeout: Duration::from_secs(30),
            ..KafkaConfig::default()
        }
    }

    /// Milvus, likewise.
    pub fn milvus(&self) -> MilvusConfig {
        MilvusConfig {
            uri: self.milvus.clone(),
            collection: self.collection.clone(),
            timeout: Duration::from_millis(self.milvus_timeout_ms),
            flush: FlushPolicy::WhenIdle,
            ..MilvusConfig::default()
        }
    }

    /// How documents are cut.
    pub fn chunks(&self) -> ChunkConfig {
        ChunkConfig { max_tokens: self.chunk_words, overlap_tokens: 0 }
    }

    /// The pipeline's bounds. A server that is back is noticed within a second, so that an outage
    /// costs a test little more than its own time.
    pub fn pipeline(&self) -> PipelineConfig {
        let max = Duration::from_secs(1);
        PipelineConfig {
            wave_records: self.wave_records,
            backoff: Backoff { max, ..Backoff::default() },
            ..PipelineConfig::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::crash::{Action, Point};

    #[test]
    fn a_specification_survives_its_file() {
        let spec = WorkerSpec {
            dir: PathBuf::from("/tmp/x y"),
            brokers: "127.0.0.1:1".to_owned(),
            topic: "t".to_owned(),
            dead_letter_topic: "t.dlq".to_owned(),
            group: "g".to_owned(),
            instance_id: None,
            max_poll_records: 10,
            max_in_flight_bytes: 1000,
            commit_interval_ms: 100,
            milvus: "http://127.0.0.1:2".to_owned(),
            collection: "c".to_owned(),
            milvus_timeout_ms: 5000,
            dimension: 8,
            chunk_words: 60,
            max_document_bytes: 1000,
            wave_records: 8,
            embed_delay_ms: 5,
            properties: [("session.timeout.ms".to_owned(), "10000".to_owned())].into(),
            faults: vec![
                Fault::once(Point::AfterFetch, 3, Action::Kill),
                Fault { point: Point::BeforeUpsert, nth: 1, times: 9, action: Action::Fail },
            ],
        };
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<WorkerSpec>(&text).unwrap(), spec);
        assert_eq!(spec.kafka().problems(), []);
    }
}
