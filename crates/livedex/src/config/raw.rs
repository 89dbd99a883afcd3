//! What a person typed: the configuration file, the environment and the flags, merged.
//!
//! Nothing here is checked beyond its type; [`super::validate`] turns it into what is true.
//! Every default stands in a `Default` here, so that `livedex check --print-config` shows it.

use std::{collections::BTreeMap, path::PathBuf};

use livedex_core::limits;
use livedex_model::{Attention, DeviceChoice, LongDocuments, Matmul, Precision, PromptForm};
use livedex_wire::mapping::MappingSpec;
use serde::{Deserialize, Serialize};

use super::secret::{PropertyValue, Secret};

mod budget;
mod query;

pub(crate) use budget::TokenBudget;
pub(crate) use query::{RawFusion, RawMode, RawQuery};

/// The whole file. Unknown keys are refused everywhere: a mistyped `tls` must not mean plain text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) kafka: RawKafka,
    /// How the topic's records become documents; the contracts' crate knows what may stand there.
    pub(crate) mapping: MappingSpec,
    pub(crate) schema_registry: RawSchemaRegistry,
    pub(crate) milvus: RawMilvus,
    pub(crate) nats: RawNats,
    pub(crate) embedder: RawEmbedder,
    pub(crate) reranker: RawReranker,
    pub(crate) hub: RawHub,
    pub(crate) runtime: RawRuntime,
    pub(crate) chunk: RawChunk,
    pub(crate) ingest: RawIngest,
    pub(crate) query: RawQuery,
    pub(crate) http: RawHttp,
    /// Not read with the rest: what a stream leaves out it has from the rest.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub(crate) streams: Vec<RawStream>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawKafka {
    pub(crate) brokers: String,
    pub(crate) topic: String,
    pub(crate) dead_letter_topic: String,
    pub(crate) group: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) properties: BTreeMap<String, PropertyValue>,
    /// Properties whose value is the content of a file: `"sasl.password" = "/run/secrets/kafka"`.
    pub(crate) properties_file: BTreeMap<String, PathBuf>,
}

impl Default for RawKafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic: "livedex.documents".into(),
            dead_letter_topic: "livedex.documents.dlq".into(),
            group: "livedex".into(),
            instance_id: None,
            max_in_flight_bytes: 32 * 1024 * 1024,
            properties: BTreeMap::new(),
            properties_file: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSchemaRegistry {
    pub(crate) url: Option<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) timeout_ms: u64,
}

impl Default for RawSchemaRegistry {
    fn default() -> Self {
        Self {
            url: None,
            token: None,
            token_file: None,
            user: None,
            password: None,
            password_file: None,
            timeout_ms: 5000,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawMilvus {
    pub(crate) uri: String,
    pub(crate) database: String,
    pub(crate) collection: String,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) timeout_ms: u64,
    pub(crate) flush: RawFlush,
    pub(crate) deletions_ttl_hours: Option<u64>,
    pub(crate) analyzer: String,
    pub(crate) tls: RawMilvusTls,
}

impl Default for RawMilvus {
    fn default() -> Self {
        Self {
            uri: "http://127.0.0.1:19530".into(),
            database: "default".into(),
            collection: "livedex".into(),
            token: None,
            token_file: None,
            timeout_ms: 10_000,
            flush: RawFlush::Never,
            deletions_ttl_hours: None,
            analyzer: livedex_milvus::Analyzer::default().name().into(),
            tls: RawMilvusTls::default(),
        }
    }
}

/// When to ask Milvus to seal what was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawFlush {
    /// Milvus decides: right for every real Milvus.
    #[default]
    Never,
    /// When caught up: Milvus Lite searches unflushed rows slowly.
    WhenIdle,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawMilvusTls {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) domain: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawNats {
    pub(crate) url: String,
    pub(crate) subject_prefix: String,
    pub(crate) queue_group: String,
    pub(crate) watermarks: bool,
    pub(crate) credentials_file: Option<PathBuf>,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: RawNatsTls,
}

impl Default for RawNats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            subject_prefix: "livedex".into(),
            queue_group: "livedex".into(),
            watermarks: true,
            credentials_file: None,
            token: None,
            token_file: None,
            user: None,
            password: None,
            password_file: None,
            tls: RawNatsTls::default(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawNatsTls {
    pub(crate) required: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawEmbedder {
    pub(crate) model: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) adapter: Option<PathBuf>,
    pub(crate) sha256: Option<String>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) dimension: Option<usize>,
    pub(crate) instruction: Option<String>,
    pub(crate) query_prompt: Option<String>,
    pub(crate) document_prompt: Option<String>,
    pub(crate) precision: Precision,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawReranker {
    pub(crate) enabled: bool,
    pub(crate) model: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) adapter: Option<PathBuf>,
    pub(crate) sha256: Option<String>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) instruction: Option<String>,
    pub(crate) precision: Precision,
    pub(crate) prompt_form: Option<PromptForm>,
    pub(crate) long_documents: LongDocuments,
}

impl Default for RawReranker {
    fn default() -> Self {
        Self {
            enabled: true,
            model: None,
            revision: None,
            adapter: None,
            sha256: None,
            max_tokens: None,
            instruction: None,
            precision: Precision::default(),
            prompt_form: None,
            long_documents: LongDocuments::default(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawHub {
    pub(crate) endpoint: Option<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRuntime {
    pub(crate) device: String,
    pub(crate) attention: Attention,
    pub(crate) threads: usize,
    pub(crate) matmul: Matmul,
    pub(crate) token_budget: TokenBudget,
    pub(crate) ingest_token_budget: TokenBudget,
    pub(crate) linger_ms: u64,
    pub(crate) largest_shape: bool,
    pub(crate) watchdog_ms: u64,
}

impl Default for RawRuntime {
    fn default() -> Self {
        Self {
            device: DeviceChoice::default().to_string(),
            attention: Attention::default(),
            threads: 0,
            matmul: Matmul::default(),
            token_budget: TokenBudget::Auto,
            ingest_token_budget: TokenBudget::Auto,
            linger_ms: 5,
            largest_shape: false,
            watchdog_ms: 60_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawChunk {
    pub(crate) max_tokens: usize,
    pub(crate) overlap_tokens: usize,
}

impl Default for RawChunk {
    fn default() -> Self {
        Self {
            max_tokens: limits::DEFAULT_CHUNK_TOKENS,
            overlap_tokens: limits::DEFAULT_CHUNK_OVERLAP_TOKENS,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawIngest {
    pub(crate) max_document_bytes: usize,
    pub(crate) wave_records: usize,
    pub(crate) wave_bytes: usize,
    pub(crate) waves_in_flight: usize,
    pub(crate) drain_ms: u64,
}

impl Default for RawIngest {
    fn default() -> Self {
        Self {
            max_document_bytes: limits::DEFAULT_MAX_DOCUMENT_BYTES,
            wave_records: 256,
            wave_bytes: 8 * 1024 * 1024,
            waves_in_flight: 2,
            drain_ms: 20_000,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawHttp {
    pub(crate) listen: String,
}

impl Default for RawHttp {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into() }
    }
}

/// One of several streams. Names and topics are its own; the rest is that of the top level where
/// it says nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawStream {
    pub(crate) name: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) dead_letter_topic: Option<String>,
    pub(crate) group: String,
    pub(crate) collection: String,
    pub(crate) mapping: MappingSpec,
    pub(crate) chunk: RawChunk,
    pub(crate) ingest: RawIngest,
}

impl RawStream {
    /// What a stream has that says nothing.
    pub(super) fn of(top: &RawConfig) -> Self {
        Self {
            group: top.kafka.group.clone(),
            collection: top.milvus.collection.clone(),
            mapping: top.mapping.clone(),
            chunk: top.chunk.clone(),
            ingest: top.ingest.clone(),
            ..Self::default()
        }
    }
}
