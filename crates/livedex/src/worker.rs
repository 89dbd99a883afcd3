//! The long-running roles: `run`, `ingest`, `serve`.
//!
//! Start: connect everything (what is unreachable shows within seconds), load the models, open
//! the collection, start the roles, be ready. Stop (SIGTERM, Ctrl-C, or a role that failed): not
//! ready, finish what is in flight within the drains, leave. A device that dies ends the
//! process: an orchestrator starts a fresh one, and nothing was acknowledged too early.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use livedex_core::ports::Retriever;
use livedex_kafka::{Admin, TopicSpec};
use livedex_milvus::{Milvus, MilvusConfig};
use livedex_model::runtime::Runtime;
use livedex_query::{Searched, Service};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::{
    config::Config,
    http::{self, Readiness},
    models,
    signals::Signals,
    stream::{self, End, Stream, Until},
    telemetry,
};

mod state;
#[cfg(test)]
mod tests;
mod watermarks;

pub(crate) use state::State;

/// Which roles a process plays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles {
    /// Kafka to Milvus.
    pub(crate) ingest: bool,
    /// Queries over NATS.
    pub(crate) serve: bool,
}

/// Partitions of a topic that has to be created: the broker's `num.partitions`.
pub(crate) const BROKER_DEFAULT: i32 = -1;

/// Runs the roles until a signal, and returns the process's exit code.
pub(crate) async fn run(config: Config, roles: Roles) -> anyhow::Result<ExitCode> {
    let mut worker = Worker::new(config)?;
    worker.listen().await?;
    let Some(started) = worker.start(roles, Until::Stopped).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let is_well = worker.supervise(&started).await;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a worker does side by side.
type Tasks = JoinSet<anyhow::Result<End>>;

/// A worker process.
pub(crate) struct Worker {
    config: Config,
    /// Whether it was told to stop, and by what.
    pub(crate) signals: Signals,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
    readiness: Readiness,
    state: State,
    tasks: Tasks,
}

impl Worker {
    /// Nothing runs yet; signals are heard from here on.
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        config.embedder()?;
        let metrics = telemetry::init_metrics()?;
        let shutdown = CancellationToken::new();
        let signals = Signals::listen(shutdown.clone())?;
        let (readiness, tasks) = (Readiness::default(), Tasks::new());
        let state = State::new(readiness.clone());
        Ok(Self { config, signals, metrics, shutdown, readiness, state, tasks })
    }

    /// Opens the HTTP endpoint, if the configuration has one.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<()> {
        if let Some(address) = self.config.http {
            let listener = http::bind(address).await?;
            let (readiness, state) = (self.readiness.clone(), self.state.clone());
            let (metrics, shutdown) = (self.metrics.clone(), self.shutdown.clone());
            let serving = http::serve(listener, readiness, metrics, state, shutdown);
            self.tasks.spawn(async { serving.await.map(|()| End::Stopped) });
            info!(http = %address, "listening");
        }
        Ok(())
    }

    /// Starts everything; `None` if it was told to stop before that was done.
    pub(crate) async fn start(
        &mut self,
        roles: Roles,
        until: Until,
    ) -> anyhow::Result<Option<Started>> {
        let start = start(&self.config, roles, until, &self.shutdown, &mut self.tasks);
        let started = tokio::select! {
            started = start => started?,
            () = self.shutdown.cancelled() => {
                info!("stopped before the start was complete");
                return Ok(None);
            }
        };
        self.state.runs(started.runtime.queues(), started.streams.clone());
        self.readiness.set(true);
        info!("ready");
        Ok(Some(started))
    }

    /// Cancelled once it is told to stop; cancelling it does so.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Waits until every stream has caught up, while everything else goes on. False: it was told to
    /// stop before that.
    pub(crate) async fn caught_up(&mut self, started: &Started) -> anyhow::Result<bool> {
        for _ in &started.streams {
            match self.next_end(started).await? {
                Some(End::CaughtUp) => {}
                Some(End::Stopped) | None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits for a task that ends well; `None`: it was told to stop meanwhile.
    pub(crate) async fn next_end(&mut self, started: &Started) -> anyhow::Result<Option<End>> {
        tokio::select! {
            () = self.shutdown.cancelled() => Ok(None),
            Some(ended) = self.tasks.join_next() => ended.context("a role panicked")?.map(Some),
            reason = started.runtime.dead() => anyhow::bail!("the model's device died: {reason}"),
        }
    }

    /// Waits for the end, and returns whether it was a good one.
    pub(crate) async fn supervise(&mut self, started: &Started) -> bool {
        let (runtime, n_streams) = (&started.runtime, started.streams.len());
        let (shutdown, readiness) = (&self.shutdown, &self.readiness);
        let deadline = self.config.stop_deadline;
        supervise(runtime, n_streams, &mut self.tasks, shutdown, readiness, deadline).await
    }
}

/// A worker whose tasks run.
pub(crate) struct Started {
    /// The models' device.
    runtime: Runtime,
    /// The streams that it ingests.
    pub(crate) streams: Vec<Stream>,
}

/// Connects, loads and starts everything; the tasks run from here on.
async fn start(
    config: &Config,
    roles: Roles,
    until: Until,
    shutdown: &CancellationToken,
    tasks: &mut Tasks,
) -> anyhow::Result<Started> {
    // All at once: the first that is unreachable is the error, within its own few seconds.
    let (milvus, nats, ()) = tokio::try_join!(
        connect(config, roles),
        async {
            match roles.serve {
                true => livedex_query::connect(&config.nats).await.map(Some).map_err(Into::into),
                false => Ok(None),
            }
        },
        async {
            match roles.ingest {
                true => ensure_topics(config).await,
                false => Ok(()),
            }
        },
    )?;
    let runtime = models::load(config, roles.serve).await?;
    let embedder = runtime.embedder().context("the embedder is not loaded")?;
    let mut collections = BTreeMap::new();
    for (name, milvus) in milvus {
        collections.insert(name, Arc::new(milvus.ensure_collection(embedder.info()).await?));
    }
    let collection = |config: &MilvusConfig| {
        let found = collections.get(&config.collection).cloned();
        found.with_context(|| format!("collection {} is not connected", config.collection))
    };
    if let Some(client) = nats {
        let searched = |config: &MilvusConfig| {
            let retriever: Arc<dyn Retriever> = collection(config)?;
            anyhow::Ok(Searched { name: config.collection.clone(), retriever })
        };
        let mut served = config.served.iter().map(searched).collect::<Result<Vec<_>, _>>()?;
        let first = served.remove(0);
        let (embedder, reranker) = (embedder.clone(), runtime.reranker());
        let mut service = Service::new(embedder, reranker, first, served, config.query);
        let queues = runtime.queues();
        service.lanes = Some(Arc::new(move || (queues.query(), queues.ingest())));
        let serving = livedex_query::serve(client, &config.nats, service, shutdown.clone()).await?;
        tasks.spawn(async move {
            serving.await.context("the query service ended")?;
            Ok(End::Stopped)
        });
    }
    let mut streams = Vec::new();
    // Each stream holds it as long as it lives.
    let (alive, mut all_ended) = mpsc::channel::<()>(1);
    if roles.ingest {
        for one in &config.streams {
            // What is logged meanwhile says of which stream it is, where there are several.
            let span = match config.streams.len() {
                1 => Span::none(),
                _ => info_span!("stream", name = one.name),
            };
            let (embedder, collection) = (embedder.clone(), collection(&one.milvus)?);
            let (stream, life) = span
                .in_scope(|| stream::start(one, until, embedder, collection, shutdown.clone()))
                .with_context(|| format!("stream {}", one.name))?;
            let alive = alive.clone();
            let life = async move {
                let ended = life.await;
                drop(alive);
                ended
            };
            tasks.spawn(life.instrument(span));
            streams.push(stream);
        }
    }
    if roles.ingest && config.announce_watermarks {
        // Not until the shutdown: streams go on for a while then, and their last words count.
        let ended = CancellationToken::new();
        let look = watermarks::look(&streams);
        let announcing = livedex_query::announce(config.nats.clone(), look, ended.clone());
        drop(alive);
        tasks.spawn(async move {
            let until_ended = async {
                // Nothing is ever sent: it ends when the last stream has dropped its end.
                let _: Option<()> = all_ended.recv().await;
                ended.cancel();
            };
            tokio::join!(announcing, until_ended);
            Ok(End::Stopped)
        });
    }
    Ok(Started { runtime, streams })
}

/// A connection for each collection that the roles need. Streams of one collection, and the
/// queries on it, share its connection: Milvus Lite wants that of one process.
async fn connect(config: &Config, roles: Roles) -> anyhow::Result<BTreeMap<String, Milvus>> {
    let ingested = config.streams.iter().map(|stream| &stream.milvus).filter(|_| roles.ingest);
    let served = config.served.iter().filter(|_| roles.serve);
    let needed: BTreeMap<&str, &MilvusConfig> =
        ingested.chain(served).map(|milvus| (milvus.collection.as_str(), milvus)).collect();
    let connected = needed.into_iter().map(|(name, milvus)| async move {
        anyhow::Ok((name.to_owned(), Milvus::connect(milvus).await?))
    });
    Ok(futures::future::try_join_all(connected).await?.into_iter().collect())
}

/// Creates the topics where they are missing: the dead-letter topic must be there before the
/// first dead letter, and an empty source topic is how every installation begins.
async fn ensure_topics(config: &Config) -> anyhow::Result<()> {
    let admin = Admin::new(&config.kafka);
    admin.ping().await?;
    let names = config
        .streams
        .iter()
        .flat_map(|stream| [&stream.kafka.topic, &stream.kafka.dead_letter_topic]);
    // Streams may share a topic.
    let names: BTreeSet<&String> = names.collect();
    let topics: Vec<TopicSpec> =
        names.into_iter().map(|name| TopicSpec::new(name, BROKER_DEFAULT)).collect();
    for topic in admin.ensure_topics(&topics).await? {
        info!(topic, "created the topic");
    }
    Ok(())
}

/// Waits until every stream has caught up, or for the first end of anything else, ends the rest,
/// and gives it a deadline. Returns whether all of it went well.
async fn supervise(
    runtime: &Runtime,
    n_streams: usize,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
    readiness: &Readiness,
    stop_deadline: Duration,
) -> bool {
    let mut is_well = true;
    let mut note = |ended: Result<anyhow::Result<End>, tokio::task::JoinError>| match ended {
        Ok(Ok(_)) => {}
        Ok(Err(failure)) => {
            error!("{failure:#}");
            is_well = false;
        }
        Err(panic) => {
            error!("a role panicked: {panic}");
            is_well = false;
        }
    };
    let mut n_behind = n_streams;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => info!("stopping: finishing what is in flight"),
            Some(ended) = tasks.join_next() => {
                if matches!(ended, Ok(Ok(End::CaughtUp))) && n_behind > 1 {
                    n_behind -= 1;
                    continue;
                }
                note(ended);
            }
            reason = runtime.dead() => {
                note(Ok(Err(anyhow::anyhow!("the model's device died: {reason}"))));
            }
        }
        break;
    }
    readiness.set(false);
    shutdown.cancel();
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            note(ended);
        }
    };
    if tokio::time::timeout(stop_deadline, rest).await.is_err() {
        warn!(?stop_deadline, "gave up waiting for what is in flight");
        is_well = false;
    }
    is_well
}
