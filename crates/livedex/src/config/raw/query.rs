//! `[query]`.

use livedex_core::limits;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawQuery {
    pub(crate) collections: Vec<String>,
    pub(crate) candidates: usize,
    pub(crate) top_k: usize,
    pub(crate) mode: RawMode,
    pub(crate) fusion: RawFusion,
    pub(crate) require_tenant: bool,
    pub(crate) timeout_ms: u64,
    pub(crate) max_in_flight: usize,
    pub(crate) max_slowdown: f64,
    pub(crate) rerank_cache_bytes: u64,
    pub(crate) embedding_cache_bytes: u64,
    pub(crate) drain_ms: u64,
}

impl Default for RawQuery {
    fn default() -> Self {
        Self {
            collections: Vec::new(),
            candidates: limits::DEFAULT_CANDIDATES,
            top_k: limits::DEFAULT_TOP_K,
            mode: RawMode::Dense,
            fusion: RawFusion::Rerank,
            require_tenant: false,
            timeout_ms: 10_000,
            max_in_flight: 64,
            max_slowdown: 8.0,
            rerank_cache_bytes: 64 * 1024 * 1024,
            embedding_cache_bytes: 16 * 1024 * 1024,
            drain_ms: 10_000,
        }
    }
}

/// How stage 1 searches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawMode {
    /// By embeddings.
    #[default]
    Dense,
    /// By words.
    Bm25,
    /// By both.
    Hybrid,
}

/// What the final score is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawFusion {
    /// The reranker's probability.
    #[default]
    Rerank,
    /// The mean of the reranker's probability and stage 1's score as a number 0..=1.
    Mean,
}
