//! `livedex eval`: how good the answers are, and how many candidates they need.
//!
//! A test set goes the way that every document goes: onto a topic of its own, through the worker's
//! own streams, into a collection of its own; and every query is asked over NATS, of the service
//! that the worker runs, on subjects of its own. Nothing of the configured topics and collections is
//! touched, and what this makes is removed at the end, also after Ctrl-C.
//!
//! # Layout
//! - `place`: the topic, group, collection and subjects of its own
//! - `corpus`: the documents onto the topic
//! - `asking`: every query, and what came back
//! - `latency`: the time of requests
//! - `progress`: a bar on a terminal, log lines elsewhere

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use livedex_eval::{
    DEPTH,
    beir::{self, Query, TestSet},
    figures::{Settings, evaluate},
    report::{How, Model, Report, SetInfo, page, table},
};
use livedex_query::QueryClient;
use livedex_wire::{
    status::StatusV1,
    time::{format_millis, now_millis},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{note, print};
use crate::{
    catch_up,
    cli::EvalArgs,
    config::Config,
    stream::Until,
    worker::{Roles, Started, Worker},
};

mod asking;
mod corpus;
mod latency;
mod place;
mod progress;

use asking::Asking;
use place::Place;

/// The exit code if the figures are not those of the models alone: queries failed or were not
/// reranked, or documents became dead letters.
const TROUBLE: u8 = 3;

/// How long the service may take to say what it is.
const STATUS: Duration = Duration::from_secs(10);

/// Evaluates, and prints the report.
pub(super) async fn run(mut config: Config, args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let set = beir::read(&args.folder)?;
    if let Some(path) = &args.html {
        is_writable(path)?;
    }
    let mut place = Place::take(&mut config, args)?;
    let run = Run::new(&config, args, &place)?;
    let mut worker = Worker::new(config)?;
    let outcome = run.evaluate(&mut worker, &mut place, &set).await;
    let is_kept = args.keep && matches!(outcome, Ok(Some(_)));
    if place.is_made() && !is_kept {
        match place.remove().await {
            Ok(()) => {
                info!("removed topic {} and collection {}", place.topic(), place.collection())
            }
            // The first error is the one to tell.
            Err(error) if outcome.is_err() => warn!("{error:#}"),
            Err(error) => return Err(error),
        }
    }
    let Some(report) = outcome? else {
        return Ok(worker.signals.exit_code().map_or(ExitCode::FAILURE, ExitCode::from));
    };
    present(&report, args)
}

/// Prints the report, writes the page, and says loudly what went wrong.
fn present(report: &Report, args: &EvalArgs) -> anyhow::Result<ExitCode> {
    match args.json {
        true => print(&serde_json::to_string_pretty(report).context("cannot print the report")?),
        false => print(&table::render(report)),
    }
    if let Some(path) = &args.html {
        let page = page::render(report)?;
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        note(&format!("wrote {}", path.display()));
    }
    let trouble = report.trouble.lines();
    for line in trouble.iter().filter(|_| args.json) {
        note(&format!("WARNING: {line}"));
    }
    Ok(if trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(TROUBLE) })
}

/// Found out before the work is done; what is there stays.
fn is_writable(path: &Path) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).with_context(|| format!("--html: cannot write {}", path.display()))
}

/// What was asked for.
struct Run<'a> {
    args: &'a EvalArgs,
    settings: Settings,
    fusion: &'static str,
    chunk_tokens: usize,
}

impl<'a> Run<'a> {
    fn new(config: &Config, args: &'a EvalArgs, place: &Place) -> anyhow::Result<Self> {
        let candidates = args.candidates.map_or(config.query.candidates, |k| k as usize);
        if candidates > DEPTH {
            bail!(
                "query.candidates is {candidates}, and an answer holds {DEPTH} hits at most; \
                 choose the figures' own by --candidates"
            );
        }
        let fusion = config.query.fusion;
        let settings = Settings {
            candidates,
            mode: config.query.mode,
            fusion,
            has_reranker: config.reranker.is_some(),
            seed: args.seed,
        };
        let chunk_tokens = place.chunk_tokens();
        Ok(Self { args, settings, fusion: fusion.as_str(), chunk_tokens })
    }

    /// The whole of it; `None` if it was told to stop before the end.
    async fn evaluate(
        &self,
        worker: &mut Worker,
        place: &mut Place,
        set: &TestSet,
    ) -> anyhow::Result<Option<Report>> {
        let client = QueryClient::connect(place.nats()).await?;
        if let Ok(running) = client.status(STATUS).await {
            let name = running.first().map(|status| status.collection.clone()).unwrap_or_default();
            bail!("another evaluation asks {name} just now; wait for it, or choose another --name");
        }
        let is_there = self.args.reuse && place.has_collection().await?;
        let shutdown = worker.shutdown().clone();
        if !is_there {
            place.make().await?;
            let sending = corpus::publish(place, &set.documents);
            if shutdown.run_until_cancelled(sending).await.transpose()?.is_none() {
                return Ok(None);
            }
        }
        let roles = Roles { ingest: !is_there, serve: true };
        let Some(started) = worker.start(roles, Until::CaughtUp).await? else { return Ok(None) };
        let found = self.ask(worker, &started, client, place, set).await;
        // Queries are answered until here; now the service leaves, and the collection is nobody's.
        shutdown.cancel();
        let is_well = worker.supervise(&started).await;
        let found = found?;
        if found.is_some() && !is_well {
            bail!("the worker did not stop as it should; its log says why");
        }
        Ok(found)
    }

    /// Waits for the collection, asks everything, and makes a report of it.
    async fn ask(
        &self,
        worker: &mut Worker,
        started: &Started,
        client: QueryClient,
        place: &Place,
        set: &TestSet,
    ) -> anyhow::Result<Option<Report>> {
        let began = Instant::now();
        let over = CancellationToken::new();
        let shown = tokio::spawn(catch_up::show(started.streams.clone(), over.clone()));
        let is_caught_up = worker.caught_up(started).await;
        over.cancel();
        let _ = shown.await;
        if !is_caught_up? {
            return Ok(None);
        }
        let ingestion = (!started.streams.is_empty()).then(|| began.elapsed().as_secs_f64());
        let status = client.status(STATUS).await?.into_iter().next();
        let status = status.context("the query service does not say what it is")?;

        let sample = self.sample(set);
        let asking = Asking::new(client, self.args, self.settings, set);
        let work = async {
            let asked = asking.ask_all(&sample).await?;
            let latency = latency::measure(&asking, &sample, &asked).await?;
            anyhow::Ok((asked, latency))
        };
        let (asked, latency) = tokio::select! {
            done = work => done?,
            ended = worker.next_end(started) => match ended? {
                None => return Ok(None),
                Some(_) => bail!("the query service ended"),
            },
        };

        let mut trouble = asked.trouble;
        trouble.dead_letters =
            started.streams.iter().map(|one| one.progress.summary().dead_letters).sum();
        let figures = evaluate(&asked.answers, &set.qrels, self.settings);
        let how = self.how(place, status, ingestion)?;
        let set = set_info(place.name(), set, &sample);
        Ok(Some(Report { set, how, trouble, figures, latency }))
    }

    /// The queries to ask, in the order of the file.
    fn sample<'s>(&self, set: &'s TestSet) -> Vec<&'s Query> {
        let all: Vec<&Query> = set.measurable().collect();
        let n = self.args.queries.map_or(all.len(), |n| n as usize);
        asking::draw(&all, n, self.args.seed)
    }

    fn how(&self, place: &Place, status: StatusV1, ingestion: Option<f64>) -> anyhow::Result<How> {
        let model = |model: livedex_wire::reply::Model| Model {
            name: model.name,
            fingerprint: model.fingerprint,
        };
        Ok(How {
            date: now()?,
            version: status.version,
            embedder: model(status.embedder),
            reranker: status.reranker.map(model),
            fusion: self.fusion.to_owned(),
            candidates: self.settings.candidates,
            depth: DEPTH,
            chunk_tokens: self.chunk_tokens,
            collection: place.collection().to_owned(),
            chunks: status.rows,
            ingestion_seconds: ingestion,
            seed: self.args.seed,
            resamples: How::RESAMPLES,
        })
    }
}

fn set_info(name: &str, set: &TestSet, sample: &[&Query]) -> SetInfo {
    let ids: HashSet<&str> = set.documents.iter().map(|document| document.id.as_str()).collect();
    let relevant = || {
        let judged = sample.iter().filter_map(|query| set.qrels.get(&query.id));
        judged.flat_map(|judged| judged.iter().filter(|(_, score)| **score > 0))
    };
    SetInfo {
        name: name.to_owned(),
        documents: set.documents.len(),
        empty_documents: set.documents.iter().filter(|one| one.text.trim().is_empty()).count(),
        queries: set.queries.len(),
        queries_without_relevant: set.queries.len() - set.measurable().count(),
        asked: sample.len(),
        relevant: relevant().count(),
        relevant_missing: relevant().filter(|(id, _)| !ids.contains(id.as_str())).count(),
    }
}

/// The time to the second.
fn now() -> anyhow::Result<String> {
    let millis = now_millis() / 1000 * 1000;
    format_millis(millis).context("the clock is beyond the year 9999")
}
