//! The long-running roles: `run`, `ingest`, `serve`.
//!
//! Start: connect everything (what is unreachable shows within seconds), load the models, open
//! the collection, start the roles, be ready. Stop (SIGTERM, Ctrl-C, or a role that failed): not
//! ready, finish what is in flight within the drains, leave. A device that dies ends the
//! process: an orchestrator starts a fresh one, and nothing was acknowledged too early.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use livedex_core::{chunk::Chunker, ports::Embedder};
use livedex_ingest::{Pipeline, Progress};
use livedex_kafka::{Admin, EndMode, KafkaDeadLetters, KafkaSource, TopicSpec};
use livedex_milvus::{Collection, Milvus};
use livedex_model::runtime::Runtime;
use livedex_query::Service;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::Config,
    http::{self, Readiness},
    models, telemetry,
};

#[cfg(test)]
mod tests;

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

/// How long the last commit and leaving the group may take.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the roles until a signal, and returns the process's exit code.
pub(crate) async fn run(config: Config, roles: Roles) -> anyhow::Result<ExitCode> {
    config.embedder()?;
    let metrics = telemetry::init_metrics()?;
    let shutdown = CancellationToken::new();
    on_signal(shutdown.clone())?;
    let readiness = Readiness::default();
    let mut tasks = JoinSet::new();
    if let Some(address) = config.http {
        let listener = http::bind(address).await?;
        tasks.spawn(http::serve(listener, readiness.clone(), metrics, shutdown.clone()));
    }
    let start = start(&config, roles, &shutdown, &mut tasks);
    let runtime = tokio::select! {
        runtime = start => runtime?,
        () = shutdown.cancelled() => {
            info!("stopped before the start was complete");
            return Ok(ExitCode::SUCCESS);
        }
    };
    readiness.set(true);
    match config.http {
        Some(address) => info!(http = %address, "ready"),
        None => info!("ready"),
    }
    Ok(supervise(&runtime, &mut tasks, &shutdown, &readiness, config.stop_deadline).await)
}

/// Connects, loads and starts everything; the tasks run from here on.
async fn start(
    config: &Config,
    roles: Roles,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Runtime> {
    // All at once: the first that is unreachable is the error, within its own few seconds.
    let (milvus, nats, ()) = tokio::try_join!(
        async { Milvus::connect(&config.milvus).await.map_err(anyhow::Error::from) },
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
    let collection = Arc::new(milvus.ensure_collection(embedder.info()).await?);
    if let Some(client) = nats {
        let service = Service {
            embedder: embedder.clone(),
            reranker: runtime.reranker(),
            retriever: collection.clone(),
            collection: config.milvus.collection.clone(),
            config: config.query,
        };
        let serving = livedex_query::serve(client, &config.nats, service, shutdown.clone()).await?;
        tasks.spawn(async move { serving.await.context("the query service ended") });
    }
    if roles.ingest {
        tasks.spawn(ingest(config, embedder, collection, shutdown.clone())?);
    }
    Ok(runtime)
}

/// Creates the topics where they are missing: the dead-letter topic must be there before the
/// first dead letter, and an empty source topic is how every installation begins.
async fn ensure_topics(config: &Config) -> anyhow::Result<()> {
    let admin = Admin::new(&config.kafka);
    admin.ping().await?;
    let topics = [&config.kafka.topic, &config.kafka.dead_letter_topic]
        .map(|name| TopicSpec::new(name, BROKER_DEFAULT));
    for topic in admin.ensure_topics(&topics).await? {
        info!(topic, "created the topic");
    }
    Ok(())
}

/// Joins the group, and returns the future that ingests until `shutdown`.
fn ingest(
    config: &Config,
    embedder: Arc<dyn Embedder>,
    collection: Arc<Collection>,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
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
    // It waits for a broker's answer, which other tasks need not wait for.
    let source =
        tokio::task::block_in_place(|| KafkaSource::start(&config.kafka, EndMode::Forever))?;
    let stopper = source.stopper();
    let pipeline = Pipeline {
        source: Box::new(source),
        decoder: Arc::new(config.mapping.decoder(config.max_document_bytes)),
        chunker: Chunker::new(config.chunk, embedder.tokens())?,
        embedder,
        store: collection,
        dead_letters: Arc::new(KafkaDeadLetters::new(&config.kafka)?),
        config: config.pipeline,
        progress: Arc::new(Progress::default()),
    };
    Ok(async move {
        let outcome = pipeline.run(shutdown).await;
        // Also after an error: what was finished before it is committed.
        let closed = stopper.close(LEAVE_DEADLINE).await;
        let summary = outcome.context("ingestion ended")?;
        closed?;
        info!(
            records = summary.records,
            embedded = summary.chunks_embedded,
            unchanged = summary.chunks_unchanged,
            dead_letters = summary.dead_letters,
            "ingestion stopped"
        );
        Ok(())
    })
}

/// Waits for the first end of anything, ends the rest, and gives it a deadline.
async fn supervise(
    runtime: &Runtime,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
    readiness: &Readiness,
    stop_deadline: Duration,
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut note = |ended: Result<anyhow::Result<()>, tokio::task::JoinError>| match ended {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => {
            error!("{failure:#}");
            code = ExitCode::FAILURE;
        }
        Err(panic) => {
            error!("a role panicked: {panic}");
            code = ExitCode::FAILURE;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => info!("stopping: finishing what is in flight"),
        Some(ended) = tasks.join_next() => note(ended),
        reason = runtime.dead() => {
            note(Ok(Err(anyhow::anyhow!("the model's device died: {reason}"))));
        }
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
        code = ExitCode::FAILURE;
    }
    code
}

/// The first signal asks for a clean stop, the second ends the process at once.
fn on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match is_first {
                true => shutdown.cancel(),
                false => std::process::exit(130),
            }
        }
    });
    Ok(())
}
