//! The process `livedex-query-worker`, and a handle on one.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use livedex_query::{NatsConfig, QueryConfig, Searched, Service};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ports::{SerialReranker, Shelf};
use crate::{embedder::HashEmbedder, specified::Specified};

const BINARY: &str = "livedex-query-worker";

/// How a worker is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// Where NATS is.
    pub nats: String,
    /// How long a reranking takes, microseconds.
    pub rerank_us: u64,
    /// Bytes of a chunk's text.
    pub text_bytes: usize,
    /// See [`QueryConfig::max_in_flight`].
    pub max_in_flight: usize,
    /// See [`QueryConfig::max_slowdown`].
    pub max_slowdown: f64,
}

impl WorkerSpec {
    /// A worker on `nats` whose rerankings take `rerank_us`.
    pub fn new(nats: &str, rerank_us: u64) -> Self {
        let QueryConfig { max_in_flight, max_slowdown, .. } = QueryConfig::default();
        Self { nats: nats.to_owned(), rerank_us, text_bytes: 500, max_in_flight, max_slowdown }
    }

    /// The service that it is. Nothing is remembered: each request costs what it costs.
    pub fn service(&self) -> Result<Service> {
        let config = QueryConfig {
            max_in_flight: self.max_in_flight,
            max_slowdown: self.max_slowdown,
            rerank_cache_bytes: 0,
            embedding_cache_bytes: 0,
            ..QueryConfig::default()
        };
        let reranker = SerialReranker::new(Duration::from_micros(self.rerank_us));
        let searched =
            Searched { name: "shelf".to_owned(), retriever: Shelf::new(50, self.text_bytes)? };
        let embedder = Arc::new(HashEmbedder::new(8));
        Ok(Service::new(embedder, Some(Arc::new(reranker)), searched, Vec::new(), config))
    }
}

/// What the process does: serves until SIGTERM.
pub async fn run(spec: &WorkerSpec) -> Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let nats = NatsConfig { url: spec.nats.clone(), ..NatsConfig::default() };
    let connection = livedex_query::connect(&nats).await?;
    let serving =
        livedex_query::serve(connection, &nats, spec.service()?, shutdown.clone()).await?;
    tokio::spawn(async move {
        terminate.recv().await;
        shutdown.cancel();
    });
    Ok(serving.await?)
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct QueryWorker(Specified);

impl QueryWorker {
    /// Starts one. It takes requests a moment later.
    pub fn start(spec: &WorkerSpec) -> Result<Self> {
        Ok(Self(Specified::start(BINARY, |_| spec)?))
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.0.child.kill();
    }

    /// Asks it to stop (SIGTERM), and fails unless it ends well within `timeout`.
    pub fn terminate(self, timeout: Duration) -> Result<()> {
        self.0.terminate(timeout)
    }
}
