//! A pipeline over the fakes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    lease::Lease,
    limits::MIN_CHUNK_TOKENS,
    ports::SourceEvent,
    record::{RawRecord, SourcePosition},
};
use livedex_ingest::{Backoff, IngestError, Pipeline, PipelineConfig, Progress, Summary};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::fakes::*;

/// What outlives a pipeline.
pub(crate) struct World {
    pub(crate) decoder: Arc<TestDecoder>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) embedder: Arc<FakeEmbedder>,
    pub(crate) letters: Arc<FakeLetters>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) lease: Lease,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Arc::default(),
            store: Arc::default(),
            embedder: Arc::new(FakeEmbedder::new()),
            letters: Arc::default(),
            acks: Arc::default(),
            lease: Lease::new(),
        }
    }

    /// A record of partition 0.
    pub(crate) fn record(&self, offset: i64, id: &str, value: Option<&str>) -> RawRecord {
        RawRecord {
            position: SourcePosition { topic: "t".into(), partition: 0, offset },
            key: Some(id.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
            timestamp_ms: Some(0),
            lease: self.lease.clone(),
        }
    }

    pub(crate) fn chunker() -> Chunker {
        let config = ChunkConfig { max_tokens: MIN_CHUNK_TOKENS, overlap_tokens: 0 };
        Chunker::new(config, Arc::new(Words)).unwrap()
    }

    pub(crate) fn start(&self, config: PipelineConfig) -> Running {
        let (events, receiver) = mpsc::unbounded_channel();
        self.acks.1.store(false, Ordering::SeqCst);
        let progress = Arc::new(Progress::default());
        let shutdown = CancellationToken::new();
        let pipeline = Pipeline {
            stream: "test".into(),
            source: Box::new(FakeSource { events: receiver, acks: self.acks.clone() }),
            decoder: self.decoder.clone(),
            chunker: Self::chunker(),
            embedder: self.embedder.clone(),
            store: self.store.clone(),
            dead_letters: self.letters.clone(),
            config,
            progress: progress.clone(),
        };
        let task = tokio::spawn(pipeline.run(shutdown.clone()));
        Running { events, progress, shutdown, task }
    }

    /// Runs a pipeline over `records`, handed out in batches of `batch`, to its end.
    pub(crate) async fn run(&self, records: Vec<RawRecord>, batch: usize) -> Summary {
        let running = self.start(config());
        for records in records.chunks(batch.max(1)) {
            running.send(records.to_vec());
        }
        running.finish().await.unwrap()
    }
}

/// A configuration for tests: waits are short.
pub(crate) fn config() -> PipelineConfig {
    PipelineConfig {
        backoff: Backoff { initial: Duration::from_micros(100), max: Duration::from_millis(2) },
        ..PipelineConfig::default()
    }
}

/// A pipeline that runs.
pub(crate) struct Running {
    events: mpsc::UnboundedSender<Result<SourceEvent, livedex_core::ports::ServiceError>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) shutdown: CancellationToken,
    task: JoinHandle<Result<Summary, IngestError>>,
}

impl Running {
    pub(crate) fn send(&self, records: Vec<RawRecord>) {
        self.events.send(Ok(SourceEvent::Records(records))).unwrap();
    }

    pub(crate) fn say(&self, event: Result<SourceEvent, livedex_core::ports::ServiceError>) {
        self.events.send(event).unwrap();
    }

    /// Ends the source and waits for the pipeline.
    pub(crate) async fn finish(self) -> Result<Summary, IngestError> {
        let Self { events, task, shutdown: _shutdown, .. } = self;
        drop(events);
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap()
    }

    /// Waits for the pipeline to end by itself, with its source open.
    pub(crate) async fn ended(self) -> Result<Summary, IngestError> {
        let Self { events: _events, task, shutdown: _shutdown, .. } = self;
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap()
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A markdown text with one section of forty words a name, each a chunk of its own.
pub(crate) fn sections(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| {
            format!("# {name}\n\n{} end of {name}.\n\n", format!("{name} ").repeat(37).trim())
        })
        .collect()
}

/// A value with this label and these sections.
pub(crate) fn value(label: &str, names: &[&str]) -> String {
    format!("{label}|{}", sections(names))
}

/// Runs a case of a property: proptest's are no asynchronous functions.
pub(crate) fn block_on(case: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_time().build().unwrap().block_on(case);
}
