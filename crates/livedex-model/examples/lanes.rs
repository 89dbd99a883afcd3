//! How long a query waits for ingestion: the query lane's p50 and p99 with the ingest lane idle
//! and with it full, on the real runtime.
//!
//! Queries arrive at a fixed rate whatever the answers do (open loop), and a latency counts from
//! the moment its query was due, so that a stall shows in every query that it delays.
//!
//! `LIVEDEX_BENCH_DEVICE` (`cuda`) says where it computes, by default on the CPU.

#![allow(clippy::print_stdout, reason = "its only output")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use livedex_core::ports::Embedder;
use livedex_model::{
    load_embedder,
    runtime::{Runtime, RuntimeConfig},
    scheduler::limits::DEFAULT_TOKEN_BUDGET,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::task::JoinSet;

mod spec;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Callers that keep the ingest lane full, each with a batch's worth of texts: always some
/// batches ahead of the device.
const PRODUCERS: usize = 4;

/// Tokens that a producer sends at once where the runtime chooses the budget: as many as a large GPU
/// wants, which others cut into several batches.
const UNCHOSEN_BATCH: usize = 8192;

/// What texts are made of.
const WORDS: [&str; 16] = [
    "stream",
    "of",
    "documents",
    "is",
    "cut",
    "into",
    "chunks",
    "and",
    "every",
    "chunk",
    "becomes",
    "a",
    "vector",
    "that",
    "answers",
    "questions",
];

#[derive(Parser)]
struct Arguments {
    /// The embedder's folder.
    #[arg(long)]
    model: PathBuf,
    /// The weights' precision.
    #[arg(long, default_value = "f32")]
    precision: String,
    /// CPU threads; 0: all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Tokens of one ingest batch; 0: as the runtime has it by default, which a GPU measures at start
    /// (the log says what it found).
    #[arg(long, default_value_t = 1024)]
    token_budget: usize,
    /// Tokens of one ingested text, about.
    #[arg(long, default_value_t = 200)]
    text_tokens: usize,
    /// Tokens of one query without the model's prompt, about.
    #[arg(long, default_value_t = 16)]
    query_tokens: usize,
    /// Queries per second; 0: a fifth of what the idle device answers one by one, at most 20.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Measurements of each kind, in turns: idle, full, idle, full.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Seconds of ingestion without queries, several batches ahead of the device; 0: not measured.
    #[arg(long, default_value_t = 0.0)]
    alone_seconds: f64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Milliseconds, all rounds together.
#[derive(Serialize)]
struct Latencies {
    queries: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
struct Report {
    rate: f64,
    /// One query at a time, nothing else running.
    query_ms: f64,
    /// A full ingest batch, or what is sent for one, nothing else running.
    batch_ms: f64,
    batch_texts: usize,
    idle: Latencies,
    full: Latencies,
    /// Ingested texts per second beside the queries, and without them.
    full_texts_per_second: f64,
    alone_texts_per_second: f64,
    p99_ratio: f64,
    /// Tokens per second of ingestion alone, from texts, by `--alone-seconds`.
    ingest_tokens_per_second: Option<f64>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let chosen = (args.token_budget > 0).then_some(args.token_budget);
    let config = RuntimeConfig {
        ingest_token_budget: chosen,
        // The bound of both lanes.
        token_budget: chosen.map(|tokens| tokens.max(DEFAULT_TOKEN_BUDGET)),
        threads: args.threads,
        ..RuntimeConfig::default()
    };
    let device = spec::device()?;
    let loaded = load_embedder(&spec::model_spec(&args.model, &args.precision, &device)?)?;
    let runtime = Runtime::start(config, Some(loaded), None)?;
    let embedder = runtime.embedder().ok_or("the runtime has no embedder")?;
    let mut random = StdRng::seed_from_u64(1);

    let batch_tokens = chosen.unwrap_or(UNCHOSEN_BATCH);
    let batch_texts = (batch_tokens / (args.text_tokens + 2)).max(1);
    let batch = texts(&*embedder, args.text_tokens, batch_texts, &mut random);
    let questions = texts(&*embedder, args.query_tokens, 64, &mut random);
    let batch_ms =
        median(3, async || embedder.embed_documents(batch.clone()).await.map(drop)).await?;
    let query_ms =
        median(21, async || embedder.embed_query(&questions[0], None, None).await.map(drop))
            .await?;
    let rate = if args.rate > 0.0 { args.rate } else { (200.0 / query_ms).min(20.0) };

    let (mut idle, mut full) = (Vec::new(), Vec::new());
    let mut ingested = 0;
    let pool = texts(&*embedder, args.text_tokens, PRODUCERS * batch_texts, &mut random);
    let alone = match args.alone_seconds > 0.0 {
        true => Some(ingest_alone(&embedder, &pool, batch_texts, args.alone_seconds).await?),
        false => None,
    };
    for _ in 0..args.rounds {
        idle.extend(ask(&embedder, &questions, rate, args.seconds).await?);
        let ingest = Ingest::start(&embedder, &pool, batch_texts);
        // Then the lane is full and its first batch has been through.
        ingest.wait_for(batch_texts).await;
        let before = ingest.done.load(Ordering::Relaxed);
        full.extend(ask(&embedder, &questions, rate, args.seconds).await?);
        ingested += ingest.done.load(Ordering::Relaxed) - before;
        ingest.stop().await?;
    }
    let (idle, full) = (latencies(idle)?, latencies(full)?);
    let report = Report {
        rate,
        query_ms,
        batch_ms,
        batch_texts,
        p99_ratio: full.p99_ms / idle.p99_ms,
        full_texts_per_second: ingested as f64 / (args.seconds * args.rounds as f64),
        alone_texts_per_second: batch_texts as f64 / batch_ms * 1000.0,
        ingest_tokens_per_second: alone,
        idle,
        full,
    };
    print(&report, args.json)
}

/// Texts of about `tokens` tokens, each another one.
fn texts(embedder: &dyn Embedder, tokens: usize, count: usize, random: &mut StdRng) -> Vec<String> {
    let counter = embedder.tokens();
    let mut text = || {
        let mut text = String::new();
        for _ in 0..tokens {
            text.push_str(WORDS[random.random_range(0..WORDS.len())]);
            text.push(' ');
        }
        // Where a word is several tokens, fewer words are enough.
        let words = (tokens * tokens).div_ceil(counter.count(&text).max(1));
        text.split_inclusive(' ').take(words).collect()
    };
    (0..count).map(|_| text()).collect()
}

/// The median milliseconds of `times` runs after one that does not count.
async fn median<E>(times: usize, run: impl AsyncFn() -> Result<(), E>) -> Result<f64, E> {
    run().await?;
    let mut all = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        run().await?;
        all.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

/// Tokens per second of texts that go through the lane for `seconds`, once it is full.
async fn ingest_alone(
    embedder: &Arc<dyn Embedder>,
    pool: &[String],
    batch_texts: usize,
    seconds: f64,
) -> Result<f64, Failure> {
    let counter = embedder.tokens();
    // Each producer sends its part of the pool again and again, so all parts equally often.
    let mean =
        pool.iter().map(|text| counter.count(text)).sum::<usize>() as f64 / pool.len() as f64;
    let ingest = Ingest::start(embedder, pool, batch_texts);
    ingest.wait_for(PRODUCERS * batch_texts).await;
    let (start, before) = (Instant::now(), ingest.done.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    // From one end of a batch to another: a part of a batch does not count.
    let seen = ingest.done.load(Ordering::Relaxed);
    ingest.wait_for(seen + 1).await;
    let (taken, done) = (start.elapsed(), ingest.done.load(Ordering::Relaxed) - before);
    ingest.stop().await?;
    Ok(done as f64 * mean / taken.as_secs_f64())
}

/// Asks at `rate` for `seconds`: the milliseconds of each answer from when its query was due.
async fn ask(
    embedder: &Arc<dyn Embedder>,
    questions: &[String],
    rate: f64,
    seconds: f64,
) -> Result<Vec<f64>, Failure> {
    let (embedder, questions) = (embedder.clone(), questions.to_vec());
    let handle = tokio::runtime::Handle::current();
    // A thread's sleep is finer than the async runtime's timer.
    let mut asked = tokio::task::spawn_blocking(move || {
        let mut asked = JoinSet::new();
        let start = Instant::now();
        for n in 0..(rate * seconds).ceil() as usize {
            let due = start + Duration::from_secs_f64(n as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (embedder, question) = (embedder.clone(), questions[n % questions.len()].clone());
            asked.spawn_on(
                async move {
                    embedder.embed_query(&question, None, None).await?;
                    Ok::<_, Failure>(due.elapsed().as_secs_f64() * 1000.0)
                },
                &handle,
            );
        }
        asked
    })
    .await?;
    let mut all = Vec::new();
    while let Some(answer) = asked.join_next().await {
        all.push(answer??);
    }
    Ok(all)
}

/// Producers that keep the ingest lane full.
struct Ingest {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    producers: JoinSet<Result<(), Failure>>,
}

impl Ingest {
    fn start(embedder: &Arc<dyn Embedder>, pool: &[String], batch_texts: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut producers = JoinSet::new();
        for texts in pool.chunks(batch_texts).map(<[String]>::to_vec) {
            let (embedder, stop, done) = (embedder.clone(), stop.clone(), done.clone());
            producers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    embedder.embed_documents(texts.clone()).await?;
                    done.fetch_add(texts.len(), Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { stop, done, producers }
    }

    async fn wait_for(&self, texts: usize) {
        while self.done.load(Ordering::Relaxed) < texts && !self.producers.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(mut self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.producers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

fn latencies(mut all: Vec<f64>) -> Result<Latencies, Failure> {
    all.sort_by(f64::total_cmp);
    let max_ms = *all.last().ok_or("no query was asked: more --seconds or a higher --rate")?;
    // The nearest rank: the smallest latency that so many of the queries do not exceed.
    let rank = |part: f64| all[((all.len() as f64 * part).ceil() as usize).clamp(1, all.len()) - 1];
    Ok(Latencies { queries: all.len(), p50_ms: rank(0.5), p99_ms: rank(0.99), max_ms })
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "a query alone {:.1} ms, a batch of {} texts {:.0} ms; {:.1} queries/s",
        report.query_ms, report.batch_texts, report.batch_ms, report.rate
    );
    for (name, lane) in [("idle", &report.idle), ("full", &report.full)] {
        println!(
            "ingest lane {name}: {} queries, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            lane.queries, lane.p50_ms, lane.p99_ms, lane.max_ms
        );
    }
    if let Some(rate) = report.ingest_tokens_per_second {
        println!("ingestion alone: {rate:.0} tokens/s");
    }
    println!(
        "p99 {:.1} times as long; ingested {:.1} texts/s, {:.1} without queries",
        report.p99_ratio, report.full_texts_per_second, report.alone_texts_per_second
    );
    Ok(())
}
