//! What was typed to what is true: every limit, every secret's file, every combination.
//!
//! # Layout
//! - `servers`: where Kafka, Milvus and NATS are
//! - `streams`: what is read from which topic into which collection
//! - `mapping`: how records become documents
//! - `registry`: the schema registry, and who needs one

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use livedex_core::{chunk::ChunkConfig, limits, query::Mode, ranking::Fusion};
use livedex_ingest::PipelineConfig;
use livedex_milvus::MilvusConfig;
use livedex_model::{DeviceChoice, runtime::RuntimeConfig};
use livedex_query::QueryConfig;

use super::{
    Config, ConfigProblem, StreamConfig,
    load::{Given, Loaded},
    models::{self, Hub},
    raw::{RawChunk, RawConfig, RawFusion, RawIngest, RawMode},
    secret::Secret,
};

mod mapping;
mod registry;
mod servers;
mod streams;

/// Time that a stop may take beyond the drains of both roles: closing consumer and connections.
const CLOSE_ALLOWANCE: Duration = Duration::from_secs(10);

/// Checks everything and reports every problem, those of form first.
pub(super) fn validate(loaded: &Loaded) -> Result<Config, Vec<ConfigProblem>> {
    let (problems, base) = (loaded.problems.clone(), loaded.base.as_path());
    let mut check = Check { problems, base, given: loaded.given };
    let config = check.config(&loaded.raw);
    if check.problems.is_empty() { Ok(config) } else { Err(check.problems) }
}

struct Check<'a> {
    problems: Vec<ConfigProblem>,
    base: &'a Path,
    given: Given,
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
        let top = self.top(raw);
        let streams = self.streams(raw, &top);
        let mut milvus = top.milvus.clone();
        if let Some(first) = streams.first().filter(|_| !self.given.collection)
            && streams.iter().all(|stream| stream.milvus.collection != milvus.collection)
        {
            milvus.collection = first.milvus.collection.clone();
        }
        let served = self.served(&milvus, &streams, &raw.query.collections);
        let drain = streams.iter().map(|stream| stream.pipeline.drain).max().unwrap_or_default();
        let stop_deadline = query.drain + drain + CLOSE_ALLOWANCE;
        Config {
            kafka: top.kafka.clone(),
            schema_registry: top.schema_registry.clone(),
            milvus,
            served,
            nats: self.nats(raw),
            announce_watermarks: raw.nats.watermarks,
            embedder,
            reranker,
            hub,
            device: self.device(raw),
            attention: raw.runtime.attention,
            runtime: self.runtime(raw, stop_deadline),
            stop_deadline,
            top,
            streams,
            has_list: !raw.streams.is_empty(),
            is_topic_given: self.given.topic,
            query,
            http: self.http(&raw.http.listen),
        }
    }

    /// The collections that queries search: the one of `milvus.collection`, those of the streams, and
    /// others that are named, each once.
    fn served(
        &mut self,
        milvus: &MilvusConfig,
        streams: &[StreamConfig],
        named: &[String],
    ) -> Vec<MilvusConfig> {
        for name in named {
            self.collection("query.collections", name);
        }
        let mut served = vec![milvus.clone()];
        let streams = streams.iter().map(|stream| &stream.milvus.collection);
        for name in streams.chain(named) {
            if served.iter().all(|one| one.collection != *name) {
                served.push(MilvusConfig { collection: name.clone(), ..milvus.clone() });
            }
        }
        served
    }

    /// Whether the device is there is seen when it is opened.
    fn device(&mut self, raw: &RawConfig) -> DeviceChoice {
        let choice = raw.runtime.device.parse();
        if let Err(why) = &choice {
            self.wrong("runtime.device", why);
        }
        choice.unwrap_or_default()
    }

    fn runtime(&mut self, raw: &RawConfig, stop_deadline: Duration) -> RuntimeConfig {
        let raw = &raw.runtime;
        let config = RuntimeConfig {
            token_budget: raw.token_budget.chosen(),
            ingest_token_budget: raw.ingest_token_budget.chosen(),
            threads: raw.threads,
            linger: Duration::from_millis(raw.linger_ms),
            largest_shape: raw.largest_shape,
            watchdog: Duration::from_millis(raw.watchdog_ms),
            // Not before everything else has had its time to end well.
            abort_after: stop_deadline + RuntimeConfig::default().abort_after,
            ..RuntimeConfig::default()
        };
        for problem in config.problems() {
            let message = format!("is {}, allowed are {}", problem.value, problem.limit);
            self.wrong(&format!("runtime.{}", problem.key), message);
        }
        config
    }

    /// The table at `prefix` (`chunk`).
    fn chunk(&mut self, prefix: &str, raw: &RawChunk) -> ChunkConfig {
        let config = ChunkConfig { max_tokens: raw.max_tokens, overlap_tokens: raw.overlap_tokens };
        if let Err(error) = config.validate() {
            let text = error.to_string();
            let (key, message) = text.split_once(' ').unwrap_or(("chunk", &text));
            self.wrong(&format!("{prefix}{}", key.trim_start_matches("chunk")), message);
        }
        config
    }

    /// The table at `prefix` (`ingest`).
    fn pipeline(&mut self, prefix: &str, raw: &RawIngest) -> PipelineConfig {
        let key = |name: &str| format!("{prefix}.{name}");
        self.in_range(&key("wave_records"), raw.wave_records, 1, 100_000);
        self.in_range(&key("wave_bytes"), raw.wave_bytes, 1, 1 << 30);
        self.in_range(&key("waves_in_flight"), raw.waves_in_flight, 1, 16);
        PipelineConfig {
            wave_records: raw.wave_records,
            wave_bytes: raw.wave_bytes,
            waves_in_flight: raw.waves_in_flight,
            drain: self.millis(&key("drain_ms"), raw.drain_ms),
            ..PipelineConfig::default()
        }
    }

    fn query(&mut self, raw: &RawConfig) -> QueryConfig {
        let raw = &raw.query;
        self.in_range("query.candidates", raw.candidates, 1, limits::MAX_CANDIDATES);
        self.in_range("query.top_k", raw.top_k, 1, limits::MAX_TOP_K.min(raw.candidates.max(1)));
        self.in_range("query.max_in_flight", raw.max_in_flight, 1, 65_536);
        if !(1.0..=10_000.0).contains(&raw.max_slowdown) {
            let problem = format!("is {}, it must be 1 to 10000", raw.max_slowdown);
            self.wrong("query.max_slowdown", problem);
        }
        QueryConfig {
            max_slowdown: raw.max_slowdown,
            mode: match raw.mode {
                RawMode::Dense => Mode::Dense,
                RawMode::Bm25 => Mode::Bm25,
                RawMode::Hybrid => Mode::Hybrid,
            },
            require_tenant: raw.require_tenant,
            rerank_cache_bytes: raw.rerank_cache_bytes,
            embedding_cache_bytes: raw.embedding_cache_bytes,
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
