//! The model runtime: loaded models in, [`Embedder`] and [`Reranker`] out.
//!
//! One thread owns all models of the device. On a CPU it runs one batch at a time; a device that computes
//! on its own (a GPU) has the next batch behind the one that runs. What that means for callers:
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
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    time::Duration,
};

use livedex_core::ports::{Embedder, Reranker};

use crate::{
    backend::{LoadedEmbedder, LoadedReranker},
    scheduler::{
        activity::{Activity, Open},
        admission::{Admission, Health},
        device::{Device, panic_message},
        job::Message,
        limits,
        models::Models,
        policy::{Lane, Policy},
        ports::{EmbedPort, RerankPort},
        self_test::self_test,
        telemetry,
        waiter::Waiter,
        watchdog,
    },
};

/// How the runtime uses its device. The bounds and their reasons are in
/// [`crate::scheduler::limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Tokens of one query batch at most; a longer single sequence goes alone. `None`: on a CPU
    /// [`limits::DEFAULT_TOKEN_BUDGET`]; on a device that computes on its own it is measured at
    /// start, which takes seconds: the smallest one that is as fast as any.
    pub token_budget: Option<usize>,
    /// Tokens of one ingest batch at most, and never more than `token_budget`: a query that comes
    /// while it runs waits for its end. `None`: on a CPU
    /// [`limits::DEFAULT_INGEST_TOKEN_BUDGET`], else as measured, the largest one that takes
    /// [`limits::MEASURED_INGEST_TIME`] at most.
    pub ingest_token_budget: Option<usize>,
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
    /// under load: a budget that was chosen fails the start, one that was not is halved. Off by
    /// default, which is right for a CPU: it costs seconds there and memory is not the bound. Where
    /// budgets are measured it is run in any case.
    pub largest_shape: bool,
    /// How long a batch may be on a device that computes on its own, its submission included, before
    /// the device counts as dead ([`Runtime::dead`]): a kernel or the driver hangs. Zero: for ever.
    /// A CPU has no watchdog.
    pub watchdog: Duration,
    /// How long the process then has to end, while the batch still hangs, before it is aborted
    /// ([`std::process::abort`]): a driver that hangs may hang in its exit handlers, too.
    pub abort_after: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            token_budget: None,
            ingest_token_budget: None,
            linger: limits::DEFAULT_LINGER,
            query_queue: limits::DEFAULT_QUERY_QUEUE,
            ingest_queue: limits::DEFAULT_INGEST_QUEUE,
            threads: 0,
            largest_shape: false,
            watchdog: limits::DEFAULT_WATCHDOG,
            abort_after: limits::DEFAULT_ABORT_AFTER,
        }
    }
}

impl RuntimeConfig {
    /// Everything that is out of bounds.
    pub fn problems(&self) -> Vec<OutOfBounds> {
        [
            self.token_budget
                .and_then(|tokens| bound("token_budget", tokens, limits::TOKEN_BUDGET_RANGE)),
            self.ingest_token_budget.and_then(|tokens| {
                bound("ingest_token_budget", tokens, limits::TOKEN_BUDGET_RANGE)
            }),
            bound("linger_ms", self.linger.as_millis(), 0..=limits::MAX_LINGER.as_millis()),
            bound("query_queue", self.query_queue, limits::QUEUE_RANGE),
            bound("ingest_queue", self.ingest_queue, limits::QUEUE_RANGE),
            bound("threads", self.threads, 0..=limits::MAX_THREADS),
            bound("watchdog_ms", self.watchdog.as_millis(), 0..=limits::MAX_WATCHDOG.as_millis()),
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
    /// The device hangs in its self-test.
    #[error("the device does not work: {0}")]
    Hangs(String),
    /// One of the device's threads could not be started, or panicked in the self-test.
    #[error("the device thread did not start: {0}")]
    Thread(String),
}

/// Owns the device thread. Dropping it ends the thread after what is on the device; requests that
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
        let room = config.query_queue + config.ingest_queue + limits::BATCHES_IN_FLIGHT + 1;
        let (to_device, inbox) = mpsc::sync_channel(room);
        let admission = Arc::new(Admission::new(health.clone(), to_device.clone()));
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
        let activity = Open::new(Arc::new(Activity::default()));
        let waiter = if models.is_asynchronous() {
            watch(&config, &activity, &health, &ready, &to_device)?;
            Some(Waiter::spawn(to_device).map_err(thread_error)?)
        } else {
            None
        };
        let threads = config.threads;
        let serve = move || {
            let tested =
                catch_unwind(AssertUnwindSafe(|| self_test(&mut models, &config, &activity)))
                    .unwrap_or_else(|panic| Err(StartError::Thread(panic_message(&*panic))));
            let budgets = match tested {
                Ok(budgets) => budgets,
                Err(error) => {
                    // The receiver waits below, unless the watchdog has spoken.
                    let _ = ready.try_send(Err(error));
                    return;
                }
            };
            let policy =
                Policy::new(budgets.query, budgets.ingest, config.linger, config.ingest_queue);
            let _ = ready.try_send(Ok(()));
            let mut device = Device::new(inbox, policy, budgets.query, health, models, activity);
            if let Some(waiter) = waiter {
                device = device.with_waiter(waiter);
            }
            device.serve();
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

/// Declares an asynchronous device dead when it hangs: to those who wait for the start or for
/// answers, and to the device thread, if that can still hear it.
fn watch(
    config: &RuntimeConfig,
    activity: &Open,
    health: &Arc<Health>,
    ready: &SyncSender<Result<(), StartError>>,
    to_device: &SyncSender<Message>,
) -> Result<(), StartError> {
    if config.watchdog.is_zero() {
        return Ok(());
    }
    let limits = watchdog::Limits { turn: config.watchdog, end: config.abort_after };
    let (health, ready, to_device) = (health.clone(), ready.clone(), to_device.clone());
    let declare = move |reason: String| {
        tracing::error!(reason, "the device is dead");
        // Full or without a receiver: it was ready long ago.
        let _ = ready.try_send(Err(StartError::Hangs(reason.clone())));
        health.ended(Some(reason));
        // Full: it is awake. Disconnected: it has ended.
        let _ = to_device.try_send(Message::Wake);
    };
    let activity = Arc::clone(activity);
    watchdog::spawn(activity, limits, declare, || std::process::abort())
        .map(drop)
        .map_err(thread_error)
}

fn thread_error(error: std::io::Error) -> StartError {
    StartError::Thread(error.to_string())
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
