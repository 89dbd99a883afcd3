//! A stream's life: one topic on its way into one collection.
//!
//! It joins the group, runs the pipeline until it is told to stop or has caught up, commits what
//! is finished and leaves.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use livedex_core::{
    chunk::Chunker,
    ports::{Embedder, Retriever},
};
use livedex_ingest::{Pipeline, PipelineConfig, Progress};
use livedex_kafka::{EndMode, KafkaDeadLetters, KafkaSource, PartitionStatus, SourceMonitor};
use livedex_milvus::Collection;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{config::StreamConfig, decoding};

/// How long the last commit and leaving the group may take.
pub(crate) const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// When a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// When it is told to.
    Stopped,
    /// Once everything that its partitions held when they were assigned is committed.
    CaughtUp,
}

/// How a task of the worker ended, if it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// There was nothing left to do.
    CaughtUp,
}

/// A look at a stream that runs.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: String,
    /// Where its documents come from.
    pub(crate) topic: String,
    /// Its consumer group.
    pub(crate) group: String,
    /// Where its documents go.
    pub(crate) collection: String,
    /// Which collection of that name it is.
    pub(crate) identity: String,
    /// What it has done.
    pub(crate) progress: Arc<Progress>,
    /// Where its source is.
    pub(crate) source: SourceMonitor,
    /// Where its partitions were when it ended.
    pub(crate) last: Arc<OnceLock<Vec<PartitionStatus>>>,
}

/// Joins the group, and returns a look at the stream and the future that is its life.
pub(crate) fn start(
    config: &StreamConfig,
    until: Until,
    embedder: Arc<dyn Embedder>,
    collection: Arc<Collection>,
    shutdown: CancellationToken,
) -> anyhow::Result<(Stream, impl Future<Output = anyhow::Result<End>> + Send + 'static)> {
    // [CLS] and [SEP], or an end-of-text token: what the model adds to a text.
    const SPECIAL_TOKENS: usize = 2;
    let (chunk, model) = (config.chunk.max_tokens, embedder.info().max_tokens);
    if chunk + SPECIAL_TOKENS > model {
        anyhow::bail!(
            "chunk.max_tokens is {chunk}, but the embedder reads {model} tokens and adds \
             {SPECIAL_TOKENS} of its own; set it to {} or less",
            model.saturating_sub(SPECIAL_TOKENS)
        );
    }
    let end = match until {
        Until::Stopped => EndMode::Forever,
        Until::CaughtUp => EndMode::UntilCommitted,
    };
    // It waits for a broker's answer, which other tasks need not wait for.
    let source = tokio::task::block_in_place(|| KafkaSource::start(&config.kafka, end))?;
    let (stopper, monitor) = (source.stopper(), source.monitor());
    let progress = Arc::new(Progress::default());
    let last = Arc::new(OnceLock::new());
    let identity = collection.identity().to_owned();
    let pipeline = Pipeline {
        stream: config.name.as_str().into(),
        source: Box::new(source),
        decoder: decoding::decoder(config)?,
        chunker: Chunker::new(config.chunk, embedder.tokens())?,
        embedder,
        store: collection,
        dead_letters: Arc::new(KafkaDeadLetters::new(&config.kafka)?),
        config: PipelineConfig { until_caught_up: until == Until::CaughtUp, ..config.pipeline },
        progress: progress.clone(),
    };
    let stream = Stream {
        name: config.name.clone(),
        topic: config.kafka.topic.clone(),
        group: config.kafka.group.clone(),
        collection: config.milvus.collection.clone(),
        identity,
        progress: progress.clone(),
        source: monitor.clone(),
        last: last.clone(),
    };
    let name = config.name.clone();
    let life = async move {
        let outcome = pipeline.run(shutdown).await;
        // Closing gives the partitions back, and nobody could say any more how far they are.
        let _ = last.set(settled(&monitor).await);
        // Also after an error: what was finished before it is committed.
        let closed = stopper.close(LEAVE_DEADLINE).await;
        let summary = outcome.with_context(|| format!("stream {name}: ingestion ended"))?;
        let has_caught_up = until == Until::CaughtUp && progress.is_caught_up();
        // No failure: nothing is lost, and what is read again changes nothing. The broker may be away,
        // or in a rebalance that waits for a member that died.
        if let Err(error) = closed {
            warn!("{error}");
        }
        info!(
            records = summary.records,
            embedded = summary.chunks_embedded,
            unchanged = summary.chunks_unchanged,
            dead_letters = summary.dead_letters,
            "ingestion stopped"
        );
        Ok(if has_caught_up { End::CaughtUp } else { End::Stopped })
    };
    Ok((stream, life))
}

/// The partitions once the poll thread has taken in what the pipeline has finished, which it does
/// within milliseconds; with what is unfinished after a moment.
async fn settled(source: &SourceMonitor) -> Vec<PartitionStatus> {
    const MOMENT: Duration = Duration::from_millis(300);
    let end = Instant::now() + MOMENT;
    loop {
        let partitions = source.partitions();
        let is_done = partitions.iter().all(|partition| partition.in_flight == 0);
        if is_done || Instant::now() >= end {
            return partitions;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
