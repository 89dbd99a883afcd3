//! What was typed to what is true: every limit, every secret's file, every combination.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use livedex_core::{chunk::ChunkConfig, limits, ranking::Fusion};
use livedex_ingest::PipelineConfig;
use livedex_kafka::KafkaConfig;
use livedex_milvus::{FlushPolicy, MAX_COLLECTION_NAME, MilvusConfig, MilvusTls};
use livedex_model::runtime::RuntimeConfig;
use livedex_query::{NatsConfig, QueryConfig};

use super::{
    Config, ConfigProblem,
    load::Loaded,
    models::{self, Hub},
    raw::{RawConfig, RawFlush, RawFusion},
    secret::Secret,
};

mod mapping;
mod registry;

/// Time that a stop may take beyond the drains of both roles: closing consumer and connections.
const CLOSE_ALLOWANCE: Duration = Duration::from_secs(10);

/// Checks everything and reports every problem, those of form first.
pub(super) fn validate(loaded: &Loaded) -> Result<Config, Vec<ConfigProblem>> {
    let mut check = Check { problems: loaded.problems.clone(), base: &loaded.base };
    let config = check.config(&loaded.raw);
    if check.problems.is_empty() { Ok(config) } else { Err(check.problems) }
}

struct Check<'a> {
    problems: Vec<ConfigProblem>,
    base: &'a Path,
}

impl Check<'_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(ConfigProblem { key: key.to_owned(), message: message.into() });
    }

    fn in_range(&mut self, key: &str, value: usize, least: usize, most: usize) {
        if !(least..=most).contains(&value) {
            self.wrong(key, format!("is {value}, allowed are {least} to {most}"));
        }
    }

    /// Milliseconds, 1 to a day.
    fn millis(&mut self, key: &str, value: u64) -> Duration {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        if !(1..=DAY_MS).contains(&value) {
            self.wrong(key, format!("is {value} ms, allowed are 1 to {DAY_MS}"));
        }
        Duration::from_millis(value)
    }

    fn file(&self, path: &Option<PathBuf>) -> Option<PathBuf> {
        path.as_ref().map(|path| self.base.join(path))
    }

    /// A secret from its key or from the file that `key_file` names, never from both.
    fn secret(
        &mut self,
        key: &str,
        value: Option<&Secret>,
        file: Option<&PathBuf>,
    ) -> Option<String> {
        match (value, file) {
            (Some(_), Some(_)) => {
                self.wrong(key, format!("and {key}_file are both set; keep one of them"));
                None
            }
            (Some(secret), None) => Some(secret.expose().to_owned()),
            (None, Some(path)) => self.secret_file(&format!("{key}_file"), path),
            (None, None) => None,
        }
    }

    fn secret_file(&mut self, key: &str, path: &Path) -> Option<String> {
        let path = self.base.join(path);
        match std::fs::read_to_string(&path) {
            // Editors and `echo` end a file with a newline, no secret does.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.wrong(key, format!("= \"{}\" cannot be read: {error}", path.display()));
                None
            }
        }
    }

    fn config(&mut self, raw: &RawConfig) -> Config {
        let query = self.query(raw);
        let pipeline = self.pipeline(raw);
        let mapping = self.mapping("mapping", &raw.mapping);
        let schema_registry = self.schema_registry(&raw.schema_registry);
        self.encodings("mapping", &raw.mapping, schema_registry.is_some());
        let hub_token =
            self.secret("hub.token", raw.hub.token.as_ref(), raw.hub.token_file.as_ref());
        let hub = Hub {
            endpoint: raw.hub.endpoint.clone(),
            token: hub_token.map(Secret::new),
            cache_dir: self.file(&raw.hub.cache_dir),
        };
        let matmul = raw.runtime.matmul;
        let embedder = models::embedder(&raw.embedder, matmul, &hub, self.base);
        let reranker = models::reranker(&raw.reranker, matmul, &hub, self.base);
        if embedder.is_some() && raw.reranker.enabled && reranker.is_none() {
            self.wrong(
                "reranker.model",
                "is not set; name a model folder or a hub id, or set reranker.enabled = false",
            );
        }
        if raw.embedder.instruction.is_some() && raw.embedder.query_prompt.is_some() {
            self.wrong(
                "embedder.query_prompt",
                "is set, and so is embedder.instruction, which it takes the place of; keep one",
            );
        }
        Config {
            kafka: self.kafka(raw),
            mapping,
            schema_registry,
            milvus: self.milvus(raw),
            nats: self.nats(raw),
            embedder,
            reranker,
            hub,
            runtime: self.runtime(raw),
            chunk: self.chunk(raw),
            stop_deadline: query.drain + pipeline.drain + CLOSE_ALLOWANCE,
            pipeline,
            max_document_bytes: raw.ingest.max_document_bytes,
            query,
            http: self.http(&raw.http.listen),
        }
    }

    fn kafka(&mut self, raw: &RawConfig) -> KafkaConfig {
        let mut properties = std::collections::BTreeMap::new();
        for (name, value) in &raw.kafka.properties {
            // An environment variable's name cannot hold a dot, and no property holds an
            // underscore.
            properties.insert(name.replace('_', "."), value.0.clone());
        }
        for (name, path) in &raw.kafka.properties_file {
            let key = format!("kafka.properties_file.\"{name}\"");
            if let Some(value) = self.secret_file(&key, path) {
                properties.insert(name.replace('_', "."), value);
            }
        }
        let config = KafkaConfig {
            brokers: raw.kafka.brokers.clone(),
            topic: raw.kafka.topic.clone(),
            dead_letter_topic: raw.kafka.dead_letter_topic.clone(),
            group: raw.kafka.group.clone(),
            instance_id: raw.kafka.instance_id.clone(),
            properties,
            max_in_flight_bytes: raw.kafka.max_in_flight_bytes,
            max_document_bytes: raw.ingest.max_document_bytes,
            write_timeout: Duration::from_millis(raw.milvus.timeout_ms),
            ..KafkaConfig::default()
        };
        for problem in config.problems() {
            let section = if problem.key == "max_document_bytes" { "ingest" } else { "kafka" };
            self.wrong(&format!("{section}.{}", problem.key), problem.message);
        }
        config
    }

    fn milvus(&mut self, raw: &RawConfig) -> MilvusConfig {
        let raw = &raw.milvus;
        let has_scheme = ["http://", "https://"].iter().any(|scheme| raw.uri.starts_with(scheme));
        if !has_scheme {
            self.wrong(
                "milvus.uri",
                format!("is \"{}\", expected http://host:port or https://host:port", raw.uri),
            );
        }
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.len() <= MAX_COLLECTION_NAME
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !is_name(&raw.collection) {
            self.wrong(
                "milvus.collection",
                format!(
                    "is \"{}\"; allowed are letters, digits and _, not starting with a digit, up to \
                     {MAX_COLLECTION_NAME} of them",
                    raw.collection
                ),
            );
        }
        MilvusConfig {
            uri: raw.uri.clone(),
            token: self.secret("milvus.token", raw.token.as_ref(), raw.token_file.as_ref()),
            database: raw.database.clone(),
            collection: raw.collection.clone(),
            tls: MilvusTls { ca_file: self.file(&raw.tls.ca_file), domain: raw.tls.domain.clone() },
            timeout: self.millis("milvus.timeout_ms", raw.timeout_ms),
            flush: match raw.flush {
                RawFlush::Never => FlushPolicy::Never,
                RawFlush::WhenIdle => FlushPolicy::WhenIdle,
            },
            deletions_ttl: raw.deletions_ttl_hours.map(|hours| self.deletions_ttl(hours)),
        }
    }

    /// Hours, 1 to a hundred years.
    fn deletions_ttl(&mut self, hours: u64) -> Duration {
        const MOST: u64 = 100 * 365 * 24;
        if !(1..=MOST).contains(&hours) {
            let message = format!("is {hours} h, allowed are 1 to {MOST}");
            self.wrong("milvus.deletions_ttl_hours", message);
        }
        Duration::from_secs(hours.min(MOST) * 60 * 60)
    }

    fn nats(&mut self, raw: &RawConfig) -> NatsConfig {
        let raw = &raw.nats;
        let token = self.secret("nats.token", raw.token.as_ref(), raw.token_file.as_ref());
        let password =
            self.secret("nats.password", raw.password.as_ref(), raw.password_file.as_ref());
        if raw.user.is_some() != password.is_some() {
            self.wrong("nats.user", "and nats.password belong together; set both or none");
        }
        if raw.tls.cert_file.is_some() != raw.tls.key_file.is_some() {
            self.wrong(
                "nats.tls.cert_file",
                "and nats.tls.key_file belong together; set both or none",
            );
        }
        for (key, value) in
            [("nats.subject_prefix", &raw.subject_prefix), ("nats.queue_group", &raw.queue_group)]
        {
            let is_token = |token: &str| {
                !token.is_empty()
                    && !token.contains(|c: char| c.is_whitespace() || "*>".contains(c))
            };
            if !value.split('.').all(is_token) {
                self.wrong(
                    key,
                    format!("is \"{value}\"; use words joined by dots, without spaces, * and >"),
                );
            }
        }
        NatsConfig {
            url: raw.url.clone(),
            credentials_file: self.file(&raw.credentials_file),
            token,
            user: raw.user.clone(),
            password,
            tls_required: raw.tls.required,
            tls_ca_file: self.file(&raw.tls.ca_file),
            tls_cert_file: self.file(&raw.tls.cert_file),
            tls_key_file: self.file(&raw.tls.key_file),
            subject_prefix: raw.subject_prefix.clone(),
            queue_group: raw.queue_group.clone(),
            ..NatsConfig::default()
        }
    }

    fn runtime(&mut self, raw: &RawConfig) -> RuntimeConfig {
        let raw = &raw.runtime;
        if raw.device != "cpu" {
            self.wrong(
                "runtime.device",
                format!("is \"{}\"; this build knows \"cpu\" only", raw.device),
            );
        }
        let config = RuntimeConfig {
            token_budget: raw.token_budget,
            ingest_token_budget: raw.ingest_token_budget,
            threads: raw.threads,
            linger: Duration::from_millis(raw.linger_ms),
            largest_shape: raw.largest_shape,
            ..RuntimeConfig::default()
        };
        for problem in config.problems() {
            let message = format!("is {}, allowed are {}", problem.value, problem.limit);
            self.wrong(&format!("runtime.{}", problem.key), message);
        }
        config
    }

    fn chunk(&mut self, raw: &RawConfig) -> ChunkConfig {
        let config = ChunkConfig {
            max_tokens: raw.chunk.max_tokens,
            overlap_tokens: raw.chunk.overlap_tokens,
        };
        if let Err(error) = config.validate() {
            let text = error.to_string();
            let (key, message) = text.split_once(' ').unwrap_or(("chunk", &text));
            self.wrong(key, message);
        }
        config
    }

    fn pipeline(&mut self, raw: &RawConfig) -> PipelineConfig {
        let raw = &raw.ingest;
        self.in_range("ingest.wave_records", raw.wave_records, 1, 100_000);
        self.in_range("ingest.wave_bytes", raw.wave_bytes, 1, 1 << 30);
        self.in_range("ingest.waves_in_flight", raw.waves_in_flight, 1, 16);
        PipelineConfig {
            wave_records: raw.wave_records,
            wave_bytes: raw.wave_bytes,
            waves_in_flight: raw.waves_in_flight,
            drain: self.millis("ingest.drain_ms", raw.drain_ms),
            ..PipelineConfig::default()
        }
    }

    fn query(&mut self, raw: &RawConfig) -> QueryConfig {
        let raw = &raw.query;
        self.in_range("query.candidates", raw.candidates, 1, limits::MAX_CANDIDATES);
        self.in_range("query.top_k", raw.top_k, 1, limits::MAX_TOP_K.min(raw.candidates.max(1)));
        self.in_range("query.max_in_flight", raw.max_in_flight, 1, 65_536);
        QueryConfig {
            candidates: raw.candidates,
            top_k: raw.top_k,
            fusion: match raw.fusion {
                RawFusion::Rerank => Fusion::Rerank,
                RawFusion::Mean => Fusion::Mean,
            },
            timeout: self.millis("query.timeout_ms", raw.timeout_ms),
            max_in_flight: raw.max_in_flight,
            drain: self.millis("query.drain_ms", raw.drain_ms),
        }
    }

    fn http(&mut self, listen: &str) -> Option<SocketAddr> {
        if listen.is_empty() {
            return None;
        }
        match listen.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.wrong(
                    "http.listen",
                    format!("is \"{listen}\", expected address:port or \"\""),
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
