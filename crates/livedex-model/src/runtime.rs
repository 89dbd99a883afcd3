//! The model runtime: loaded models in, [`Embedder`] and [`Reranker`] out.
//!
//! One thread owns all models of the device and runs one batch at a time. What that means for
//! callers:
//!
//! - Queries go before ingestion, and ingestion always advances.
//! - The query lane refuses at once when it is full ([`ModelError::Overloaded`]); the ingest
//!   lane makes its caller wait for room.
//! - Requests whose future was dropped or whose deadline has passed never reach the device.
//! - A bad input fails alone, running out of memory makes batches smaller, and a dead device
//!   answers everything with [`ModelError::Dead`], now and later.
//!
//! [`ModelError::Overloaded`]: livedex_core::ports::ModelError::Overloaded
//! [`ModelError::Dead`]: livedex_core::ports::ModelError::Dead

use std::{
    fmt::Display,
    future::Future,
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::Duration,
};

use livedex_core::ports::{Embedder, Reranker};

use crate::{
    backend::{LoadedEmbedder, LoadedReranker},
    scheduler::{
        admission::{Admission, Health},
        device::{Device, Models, panic_message},
        limits,
        policy::{Lane, Policy},
        ports::{EmbedPort, RerankPort},
        self_test::self_test,
        telemetry,
    },
};

/// How the runtime uses its device. The bounds and their reasons are in
/// [`crate::scheduler::limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Tokens of one query batch at most; a longer single sequence goes alone.
    pub token_budget: usize,
    /// Tokens of one ingest batch at most, and never more than `token_budget`: a query that comes
    /// while it runs waits for its end.
    pub ingest_token_budget: usize,
    /// How long the first text of an incomplete ingest batch waits for company. Queries never
    /// wait.
    pub linger: Duration,
    /// Requests in the query lane, running ones included.
    pub query_queue: usize,
    /// Texts in the ingest lane, running ones included.
    pub ingest_queue: usize,
    /// CPU threads of the forward passes at most; 0 leaves it to the library (all cores, or
    /// `RAYON_NUM_THREADS`).
    pub threads: usize,
    /// Runs the largest batch once at start, so that running out of memory shows then and not
    /// under load. Off by default, which is right for a CPU: it costs seconds there and
    /// memory is not the bound. Switch it on for every other device.
    pub largest_shape: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            token_budget: limits::DEFAULT_TOKEN_BUDGET,
            ingest_token_budget: limits::DEFAULT_INGEST_TOKEN_BUDGET,
            linger: limits::DEFAULT_LINGER,
            query_queue: limits::DEFAULT_QUERY_QUEUE,
            ingest_queue: limits::DEFAULT_INGEST_QUEUE,
            threads: 0,
            largest_shape: false,
        }
    }
}

impl RuntimeConfig {
    /// Everything that is out of bounds.
    pub fn problems(&self) -> Vec<OutOfBounds> {
        [
            bound("token_budget", self.token_budget, limits::TOKEN_BUDGET_RANGE),
            bound("ingest_token_budget", self.ingest_token_budget, limits::TOKEN_BUDGET_RANGE),
            bound("linger_ms", self.linger.as_millis(), 0..=limits::MAX_LINGER.as_millis()),
            bound("query_queue", self.query_queue, limits::QUEUE_RANGE),
            bound("ingest_queue", self.ingest_queue, limits::QUEUE_RANGE),
            bound("threads", self.threads, 0..=limits::MAX_THREADS),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A setting that is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}, not within {limit}")]
pub struct OutOfBounds {
    /// The setting.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be, both ends included.
    pub limit: String,
}

fn bound<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Option<OutOfBounds> {
    (!range.contains(&value)).then(|| OutOfBounds {
        key,
        value: value.to_string(),
        limit: format!("{} to {}", range.start(), range.end()),
    })
}

/// Why the runtime did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings are out of bounds.
    #[error("{}", .0.iter().map(OutOfBounds::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<OutOfBounds>),
    /// A small forward pass did not work.
    #[error("the self-test of {model} failed: {reason}")]
    SelfTest {
        /// The model's name.
        model: String,
        /// What went wrong.
        reason: String,
    },
    /// The largest batch does not fit the device.
    #[error(
        "a batch of {token_budget} tokens of {model} does not fit the device, lower token_budget: {reason}"
    )]
    LargestShape {
        /// The model's name.
        model: String,
        /// The configured budget, in tokens.
        token_budget: usize,
        /// What the device said.
        reason: String,
    },
    /// The device thread could not be started, or panicked in the self-test.
    #[error("the device thread did not start: {0}")]
    Thread(String),
}

/// Owns the device thread. Dropping it ends the thread after the current batch; requests that
/// are pending then, and later ones through handles that live on, get
/// [`ModelError::Dead`](livedex_core::ports::ModelError::Dead).
pub struct Runtime {
    admission: Arc<Admission>,
    embedder: Option<Arc<dyn Embedder>>,
    reranker: Option<Arc<dyn Reranker>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("embedder", &self.embedder.as_ref().map(|embedder| embedder.info()))
            .field("reranker", &self.reranker.as_ref().map(|reranker| reranker.info()))
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts the device thread, which takes the models, and returns when its self-test has
    /// succeeded. Blocks for that long (milliseconds to seconds).
    pub fn start(
        config: RuntimeConfig,
        embedder: Option<LoadedEmbedder>,
        reranker: Option<LoadedReranker>,
    ) -> Result<Self, StartError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        telemetry::describe();
        let health = Arc::new(Health::new(config.query_queue, config.ingest_queue));
        let (to_device, inbox) = mpsc::sync_channel(config.query_queue + config.ingest_queue + 1);
        let admission = Arc::new(Admission::new(health.clone(), to_device));
        let embed_port = embedder.as_ref().map(|model| -> Arc<dyn Embedder> {
            let (info, tokenizer) = (model.info().clone(), model.tokenizer());
            Arc::new(EmbedPort::new(admission.clone(), info, tokenizer, config.ingest_queue))
        });
        let rerank_port = reranker.as_ref().map(|model| -> Arc<dyn Reranker> {
            let (info, tokenizer) = (model.info().clone(), model.tokenizer());
            Arc::new(RerankPort::new(admission.clone(), info, tokenizer))
        });

        let mut models = Models { embedder, reranker };
        let (ready, started) = mpsc::sync_channel(1);
        let threads = config.threads;
        let serve = move || {
            let tested = catch_unwind(AssertUnwindSafe(|| self_test(&mut models, &config)))
                .unwrap_or_else(|panic| Err(StartError::Thread(panic_message(&*panic))));
            let passed = tested.is_ok();
            // The receiver waits below.
            let _ = ready.send(tested);
            if passed {
                let policy = Policy::new(
                    config.token_budget,
                    config.ingest_token_budget,
                    config.linger,
                    config.ingest_queue,
                );
                Device::new(inbox, policy, config.token_budget, health, models).serve();
            }
        };
        spawn(threads, serve)?;
        started
            .recv()
            .unwrap_or_else(|_| Err(StartError::Thread("it ended without a word".to_owned())))?;
        Ok(Self { admission, embedder: embed_port, reranker: rerank_port })
    }

    /// Stage 1, if the runtime was started with an embedder.
    pub fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        self.embedder.clone()
    }

    /// Stage 2, if the runtime was started with a reranker.
    pub fn reranker(&self) -> Option<Arc<dyn Reranker>> {
        self.reranker.clone()
    }

    /// A look at its queues.
    pub fn queues(&self) -> QueueMonitor {
        QueueMonitor(self.admission.clone())
    }

    /// Resolves with the reason when the device has failed or its thread has panicked: the
    /// process should then end. Never resolves when the runtime is dropped.
    pub fn dead(&self) -> impl Future<Output = String> + Send + use<> {
        self.admission.health().dead()
    }
}

/// A look at a runtime's queues, from anywhere.
#[derive(Debug, Clone)]
pub struct QueueMonitor(Arc<Admission>);

impl QueueMonitor {
    /// Requests in the query lane, running ones included.
    pub fn query(&self) -> usize {
        self.0.health().depth(Lane::Query)
    }

    /// Texts in the ingest lane, running ones included.
    pub fn ingest(&self) -> usize {
        self.0.health().depth(Lane::Ingest)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.admission.stop();
    }
}

/// Runs `serve` on a thread of its own; with `threads` it is one of a pool of so many, which
/// is then the pool of everything that the forward passes do in parallel.
fn spawn(threads: usize, serve: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let pool = match threads {
        0 => None,
        threads => Some(
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("livedex-cpu-{index}"))
                .build()
                .map_err(|error| StartError::Thread(error.to_string()))?,
        ),
    };
    std::thread::Builder::new()
        .name("livedex-device".to_owned())
        .spawn(move || match pool {
            None => serve(),
            Some(pool) => pool.install(serve),
        })
        .map(drop)
        .map_err(|error| StartError::Thread(error.to_string()))
}
