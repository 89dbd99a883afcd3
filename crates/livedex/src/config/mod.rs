//! File, environment and flags to a validated configuration.
//!
//! Two stages: [`raw`] is what was typed, [`Config`] is what is true. [`load`] merges and finds
//! every mistake of form, [`validate`] every mistake of content; both report all at once.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use livedex_core::chunk::ChunkConfig;
use livedex_ingest::PipelineConfig;
use livedex_kafka::KafkaConfig;
use livedex_milvus::MilvusConfig;
use livedex_model::{Attention, DeviceChoice, ModelSpec, runtime::RuntimeConfig};
use livedex_query::{NatsConfig, QueryConfig};
use livedex_registry::RegistryConfig;
use livedex_wire::mapping::Mapping;

use crate::cli::GlobalArgs;

mod load;
mod models;
mod print;
mod raw;
mod secret;
mod validate;

pub(crate) use load::FlagOverride;
pub(crate) use models::Hub;
pub(crate) use print::effective;

/// One thing that is wrong, with the key as it is written in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigProblem {
    /// `section.key`, or the file itself.
    pub(crate) key: String,
    /// What is wrong with it: the value, the limit, what to do.
    pub(crate) message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}

/// A configuration that has been checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The Kafka side, as the top-level keys say.
    pub(crate) kafka: KafkaConfig,
    /// Where the schemas of records are, if they have some.
    pub(crate) schema_registry: Option<RegistryConfig>,
    /// The Milvus side, with the collection that queries are answered from.
    pub(crate) milvus: MilvusConfig,
    /// The stream of the top-level keys.
    top: StreamConfig,
    /// What is ingested: at least one stream.
    pub(crate) streams: Vec<StreamConfig>,
    /// Whether the streams are those of the list, and not the one of the top-level keys.
    pub(crate) has_list: bool,
    /// Whether file, environment or a flag set `kafka.topic`.
    is_topic_given: bool,
    /// The collections that queries search, the default one first. Never empty.
    pub(crate) served: Vec<MilvusConfig>,
    /// The NATS side.
    pub(crate) nats: NatsConfig,
    /// Whether ingestion tells query workers how far it is.
    pub(crate) announce_watermarks: bool,
    /// Stage 1; `None` if no model is named, which only workers mind.
    pub(crate) embedder: Option<ModelSpec>,
    /// Stage 2; `None` if switched off.
    pub(crate) reranker: Option<ModelSpec>,
    /// Where models come from that are no folder.
    pub(crate) hub: Hub,
    /// Where the models compute.
    pub(crate) device: DeviceChoice,
    /// How, on a GPU.
    pub(crate) attention: Attention,
    /// How they share that device.
    pub(crate) runtime: RuntimeConfig,
    /// The service's defaults and bounds.
    pub(crate) query: QueryConfig,
    /// Where `/metrics` is; `None`: nowhere.
    pub(crate) http: Option<SocketAddr>,
    /// How long a stop may take before the process ends anyway.
    pub(crate) stop_deadline: Duration,
}

/// What is read from one topic into one collection.
#[derive(Debug, Clone)]
pub(crate) struct StreamConfig {
    /// Its name: the label of its metrics.
    pub(crate) name: String,
    /// Topic, dead-letter topic and group, and how Kafka is reached.
    pub(crate) kafka: KafkaConfig,
    /// The collection, and how Milvus is reached.
    pub(crate) milvus: MilvusConfig,
    /// How records become documents.
    pub(crate) mapping: Mapping,
    /// Where the schemas of its records are, if they have some.
    pub(crate) schema_registry: Option<RegistryConfig>,
    /// How documents are split.
    pub(crate) chunk: ChunkConfig,
    /// The pipeline's bounds.
    pub(crate) pipeline: PipelineConfig,
    /// Bytes of one record's value, inclusive.
    pub(crate) max_document_bytes: usize,
}

impl Config {
    /// The stream that a command is about: the one of this name, else the one of `kafka.topic`
    /// where that is set, else the only one.
    pub(crate) fn stream(&self, name: Option<&str>) -> anyhow::Result<&StreamConfig> {
        let names = || {
            let names: Vec<&str> = self.streams.iter().map(|one| one.name.as_str()).collect();
            names.join(", ")
        };
        if let Some(name) = name {
            let found = self.streams.iter().find(|stream| stream.name == name);
            return found.ok_or_else(|| {
                anyhow::anyhow!("no stream is called \"{name}\"; there are: {}", names())
            });
        }
        if self.is_topic_given {
            let topic = &self.top.kafka.topic;
            let found = self.streams.iter().find(|stream| stream.kafka.topic == *topic);
            return Ok(found.unwrap_or(&self.top));
        }
        match &self.streams[..] {
            [only] => Ok(only),
            _ => anyhow::bail!("there are several streams; choose one with --stream: {}", names()),
        }
    }

    /// The embedder, which every worker needs.
    pub(crate) fn embedder(&self) -> anyhow::Result<&ModelSpec> {
        self.embedder.as_ref().ok_or_else(|| {
            anyhow::anyhow!(
                "embedder.model is not set; name a model folder or a hub id in the configuration \
                 file, by --embedder or by LIVEDEX__EMBEDDER__MODEL"
            )
        })
    }
}

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "livedex.toml";

/// Loads and validates; the error holds every problem, one a line.
pub(crate) fn read(args: &GlobalArgs) -> anyhow::Result<Config> {
    load::load(file(args).as_deref(), &args.overrides.given())
        .and_then(|loaded| validate::validate(&loaded))
        .map_err(|problems| one_error(&problems))
}

/// The configuration file in force.
pub(crate) fn file(args: &GlobalArgs) -> Option<PathBuf> {
    let default = PathBuf::from(DEFAULT_FILE);
    args.config.clone().or_else(|| default.is_file().then_some(default))
}

fn one_error(problems: &[ConfigProblem]) -> anyhow::Error {
    match problems {
        [problem] => anyhow::anyhow!("configuration: {problem}"),
        _ => {
            let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            anyhow::anyhow!("configuration: {} problems{lines}", problems.len())
        }
    }
}
