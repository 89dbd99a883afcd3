//! The run loop: takes records from the source, forms waves, and runs several at once.

use std::sync::Arc;

use futures::StreamExt;
use livedex_core::{
    chunk::Chunker,
    ids::DocumentKey,
    ports::{ChunkStore, DeadLetters, Decoder, Embedder, RecordSource, ServiceError, SourceEvent},
    record::Depth,
};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    config::PipelineConfig,
    context::Context,
    decode::decode,
    error::IngestError,
    metrics,
    progress::{Depths, Progress, Summary},
    queue::{Queue, Wave},
    wave,
};

/// Everything that ingestion needs.
pub struct Pipeline {
    /// Names what is read from one topic into one collection: the label of its metrics.
    pub stream: Arc<str>,
    /// Where records come from.
    pub source: Box<dyn RecordSource>,
    /// What they say.
    pub decoder: Arc<dyn Decoder>,
    /// How documents are cut. Its tokens are the embedder's.
    pub chunker: Chunker,
    /// What makes vectors of chunks.
    pub embedder: Arc<dyn Embedder>,
    /// Where rows go.
    pub store: Arc<dyn ChunkStore>,
    /// Where records go that can never be processed.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The bounds.
    pub config: PipelineConfig,
    /// Where the pipeline counts; keep a clone to watch it.
    pub progress: Arc<Progress>,
}

/// A wave's documents, its records, and how it ended.
type WaveEnd = (Vec<DocumentKey>, Depth, Result<(), IngestError>);

impl Pipeline {
    /// Runs until `shutdown` is cancelled, the source ends, or, where the configuration says so,
    /// everything is caught up. Returns what was done.
    ///
    /// After `shutdown` no new wave starts; waves in flight have [`PipelineConfig::drain`] to
    /// finish. What is unfinished then is not acknowledged.
    ///
    /// The source is dropped at the end, after the last acknowledgement.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, IngestError> {
        metrics::for_stream(self.stream.clone(), self.work(shutdown)).await
    }

    async fn work(self, shutdown: CancellationToken) -> Result<Summary, IngestError> {
        let Self { stream, source, decoder, config, progress, .. } = self;
        let context = Arc::new(Context {
            chunker: self.chunker,
            embedder: self.embedder,
            store: self.store,
            dead_letters: self.dead_letters,
            acknowledger: source.acknowledger(),
            progress: progress.clone(),
            backoff: config.backoff,
        });
        // A stream keeps the future of `next` between polls, so that no source needs to be safe to
        // cancel. It never ends by itself: that would drop the source, and with it the leases of
        // what is still in flight.
        let events = futures::stream::unfold(source, |mut source| async {
            let event = source.next().await;
            Some((event, source))
        });
        let mut events = std::pin::pin!(events);
        let mut state = State {
            stream,
            context,
            decoder,
            config,
            queue: Queue::new(&config),
            waves: JoinSet::new(),
            in_waves: Depth::default(),
            is_source_open: true,
            is_caught_up: false,
            is_settled: true,
        };
        while !shutdown.is_cancelled() {
            state.start_waves();
            if state.is_idle() && !state.is_source_open {
                break;
            }
            if state.is_idle() && state.is_caught_up {
                // A shutdown gives it as long as it gives the waves.
                let out_of_time = async {
                    shutdown.cancelled().await;
                    tokio::time::sleep(config.drain).await;
                };
                tokio::select! {
                    () = state.settle() => {}
                    () = out_of_time => {}
                }
                if config.until_caught_up {
                    break;
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(end) = state.waves.join_next() => state.land(end)?,
                event = events.next(), if state.is_source_open && state.queue.has_room() => {
                    state.take(event.flatten(), &shutdown).await?;
                }
            }
        }
        state.drain().await?;
        metrics::depths(&Depths::default());
        progress.set_depths(Depths::default());
        Ok(progress.summary())
    }
}

struct State {
    stream: Arc<str>,
    context: Arc<Context>,
    decoder: Arc<dyn Decoder>,
    config: PipelineConfig,
    queue: Queue,
    /// Dropped, it aborts its waves: an error that ends the loop ends them too.
    waves: JoinSet<WaveEnd>,
    /// The records that they have.
    in_waves: Depth,
    is_source_open: bool,
    /// The source had nothing more when it was last asked.
    is_caught_up: bool,
    /// Nothing has been written since the store was last told to settle.
    is_settled: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.waves.is_empty()
    }

    fn start_waves(&mut self) {
        while self.waves.len() < self.config.waves_in_flight.max(1) {
            let Some(wave) = self.queue.next_wave() else { break };
            self.start(wave);
        }
        self.report_depths();
    }

    fn report_depths(&self) {
        let depths = Depths {
            queue: self.queue.depth(),
            waves: self.in_waves,
            waves_in_flight: self.waves.len(),
        };
        metrics::depths(&depths);
        self.context.progress.set_depths(depths);
    }

    fn start(&mut self, wave: Wave) {
        self.is_settled = false;
        self.in_waves += wave.depth;
        let (keys, depth, context) = (wave.keys(), wave.depth, self.context.clone());
        let work = async move {
            let result = wave::run(context, wave).await;
            (keys, depth, result)
        };
        self.waves.spawn(metrics::for_stream(self.stream.clone(), work.in_current_span()));
    }

    /// A wave has ended.
    fn land(&mut self, end: Result<WaveEnd, JoinError>) -> Result<(), IngestError> {
        let (keys, depth, result) = end.map_err(|error| IngestError::Panic(error.to_string()))?;
        self.queue.landed(&keys);
        self.in_waves -= depth;
        result
    }

    /// The source has said something.
    async fn take(
        &mut self,
        event: Option<Result<SourceEvent, ServiceError>>,
        shutdown: &CancellationToken,
    ) -> Result<(), IngestError> {
        match event {
            None => self.is_source_open = false,
            Some(Err(error)) => return Err(IngestError::Source(error)),
            Some(Ok(SourceEvent::CaughtUp)) => self.is_caught_up = true,
            Some(Ok(SourceEvent::Records(records))) => {
                self.is_caught_up = false;
                self.context.progress.set_caught_up(false);
                self.context.progress.receive(records.len());
                let backoff = self.config.backoff;
                for decoded in decode(self.decoder.clone(), records, backoff, shutdown).await? {
                    self.queue.push(decoded);
                }
            }
        }
        Ok(())
    }

    /// Everything is finished and nothing is waiting.
    async fn settle(&mut self) {
        self.context.progress.set_caught_up(true);
        self.is_caught_up = false;
        if self.is_settled {
            return;
        }
        let _timer = metrics::StepTimer::start("settle");
        match self.context.store.settle().await {
            Ok(()) => self.is_settled = true,
            // It only makes searches faster, and the next time comes soon.
            Err(error) => tracing::debug!(%error, "the store did not settle"),
        }
    }

    /// Lets the waves in flight finish, as long as the configuration allows.
    async fn drain(mut self) -> Result<(), IngestError> {
        let drain = self.config.drain;
        let finish = async {
            while let Some(end) = self.waves.join_next().await {
                self.land(end)?;
            }
            Ok(())
        };
        match tokio::time::timeout(drain, finish).await {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!(
                    waves = self.waves.len(),
                    drain_ms = drain.as_millis() as u64,
                    "stopping with waves in flight: their records come again at the next start"
                );
                self.waves.shutdown().await;
                Ok(())
            }
        }
    }
}
