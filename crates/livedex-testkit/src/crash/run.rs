//! The worker: production's parts, put together as `livedex ingest` does (`livedex/src/stream.rs`),
//! with a layer around the ports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use livedex_core::{chunk::Chunker, ports::Embedder};
use livedex_ingest::{Pipeline, Progress};
use livedex_kafka::{EndMode, KafkaDeadLetters, KafkaSource};
use livedex_milvus::Milvus;
use livedex_wire::mapping::Mapping;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    faults::Faults,
    ports::{FaultyEmbedder, FaultyLetters, FaultySource, FaultyStore},
    spec::WorkerSpec,
};
use crate::embedder::HashEmbedder;

/// How long the last commit and leaving the group may take.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// Ingests until SIGTERM.
pub async fn run(spec: &WorkerSpec) -> Result<()> {
    let shutdown = CancellationToken::new();
    on_sigterm(shutdown.clone())?;
    let faults = Arc::new(Faults::new(spec.faults.clone(), &spec.dir)?);
    let embedder: Arc<dyn Embedder> = Arc::new(FaultyEmbedder {
        inner: HashEmbedder::new(spec.dimension),
        delay: Duration::from_millis(spec.embed_delay_ms),
        faults: Arc::clone(&faults),
    });
    let milvus = Milvus::connect(&spec.milvus()).await?;
    let collection = Arc::new(milvus.ensure_collection(embedder.info()).await?);
    let kafka = spec.kafka();
    let source = tokio::task::block_in_place(|| KafkaSource::start(&kafka, EndMode::Forever))?;
    let stopper = source.stopper();
    let letters = Arc::new(KafkaDeadLetters::new(&kafka)?);
    let pipeline = Pipeline {
        stream: kafka.stream.as_str().into(),
        source: Box::new(FaultySource { inner: Box::new(source), faults: Arc::clone(&faults) }),
        decoder: Arc::new(Mapping::default().decoder(spec.max_document_bytes)),
        chunker: Chunker::new(spec.chunks(), embedder.tokens())?,
        embedder,
        store: Arc::new(FaultyStore::new(collection, Arc::clone(&faults))),
        dead_letters: Arc::new(FaultyLetters { inner: letters, faults }),
        config: spec.pipeline(),
        progress: Arc::new(Progress::default()),
    };
    info!("ready");
    let outcome = pipeline.run(shutdown).await;
    // Also after an error: what was finished before it is committed.
    let closed = stopper.close(LEAVE_DEADLINE).await;
    let summary = outcome.context("ingestion ended")?;
    if let Err(error) = closed {
        warn!("{error}");
    }
    info!(?summary, "ingestion stopped");
    Ok(())
}

fn on_sigterm(shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        terminate.recv().await;
        shutdown.cancel();
    });
    Ok(())
}
