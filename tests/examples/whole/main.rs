//! What the pipeline leaves of a model's speed: Kafka to a store that costs nothing, beside the bare
//! model on the same chunks.
//!
//! `whole MODEL DOCUMENTS ROUNDS BUDGET`: the folder of an embedder, documents of a round, rounds after
//! one that warms up, and the tokens of an ingest batch (0: as the runtime has it by default).
//! `LIVEDEX_BENCH_DEVICE` (`cuda`) says where the model computes, by default on the CPU. Nothing else is
//! wanted on the machine: the broker is the embedded one. Source, pipeline and model runtime are the
//! production ones. The answer is one line of JSON; both take turns, and `share` is the median of the
//! rounds' own ratios.

mod sink;
#[path = "../ingestion/times.rs"]
mod times;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    document::Change,
    limits::{DEFAULT_CHUNK_TOKENS, DEFAULT_MAX_DOCUMENT_BYTES},
    ports::Embedder,
    record::SourcePosition,
    row::prepare,
};
use livedex_ingest::{Pipeline, PipelineConfig, Progress};
use livedex_kafka::{Admin, EndMode, KafkaConfig, KafkaDeadLetters, KafkaSource, TopicSpec};
use livedex_model::{
    Attention, Device, DeviceChoice, ModelSpec, load_embedder,
    runtime::{Runtime, RuntimeConfig},
};
use livedex_testkit::{Broker, figures::say, topic, workload::Workload};
use livedex_wire::document::NativeDecoder;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use sink::Sink;
use times::{Timed, Times};

const PARTITIONS: i32 = 4;
const LEAVE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, documents, rounds, budget] = &arguments[..] else {
        return Err(anyhow!("usage: whole MODEL DOCUMENTS ROUNDS BUDGET"));
    };
    let (documents, rounds, budget): (usize, usize, usize) =
        (documents.parse()?, rounds.parse()?, budget.parse()?);
    let choice = match std::env::var("LIVEDEX_BENCH_DEVICE") {
        Ok(name) => {
            name.parse::<DeviceChoice>().map_err(|why| anyhow!("LIVEDEX_BENCH_DEVICE {why}"))?
        }
        Err(_) => DeviceChoice::Cpu,
    };
    let device = Device::open(choice, Attention::default())?;
    let loaded = load_embedder(&ModelSpec { device, ..ModelSpec::dir(PathBuf::from(model)) })?;
    let config = RuntimeConfig {
        ingest_token_budget: (budget > 0).then_some(budget),
        token_budget: (budget > 0).then_some(budget),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::start(config, Some(loaded), None)?;
    let embedder = runtime.embedder().context("the runtime has no embedder")?;
    let broker = Broker::start_embedded()?;
    let changes = Workload::new(2).create(documents)?;
    // As the binary's: a thread for each core.
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    threads.block_on(measure(&broker, embedder, &changes, rounds))
}

async fn measure(
    broker: &Broker,
    embedder: Arc<dyn Embedder>,
    changes: &[Change],
    rounds: usize,
) -> Result<()> {
    let config = ChunkConfig { max_tokens: DEFAULT_CHUNK_TOKENS, overlap_tokens: 0 };
    let counter = embedder.tokens();
    let chunker = Chunker::new(config, counter.clone())?;
    let texts = texts(changes, &chunker, &*embedder)?;
    let tokens: usize = texts.iter().map(|text| counter.count(text)).sum();
    let (mut bare, mut piped) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let start = Instant::now();
        for vector in embedder.embed_documents(texts.clone()).await? {
            vector?;
        }
        let alone = start.elapsed().as_secs_f64();
        let name = format!("whole-{round}");
        let through = pipe(broker, &name, &embedder, &chunker, changes, texts.len()).await?;
        if round > 0 {
            bare.push(alone);
            piped.push(through);
        }
    }
    let mut shares: Vec<f64> = bare.iter().zip(&piped).map(|(bare, piped)| bare / piped).collect();
    shares.sort_by(f64::total_cmp);
    let share = shares.get(shares.len() / 2).context("no round: one at least")?;
    let report = json!({
        "chunks": texts.len(), "tokens": tokens, "share": share,
        "bare_seconds": bare, "pipeline_seconds": piped,
    });
    say(&report.to_string());
    Ok(())
}

/// What is embedded of the documents.
fn texts(changes: &[Change], chunker: &Chunker, embedder: &dyn Embedder) -> Result<Vec<String>> {
    let position = SourcePosition { topic: "bare".into(), partition: 0, offset: 0 };
    let fingerprint = &embedder.info().fingerprint;
    let mut texts = Vec::new();
    for change in changes {
        if let Change::Upsert(document) = change {
            let chunks = prepare(document, chunker.chunk(document)?, fingerprint, &position);
            texts.extend(chunks.into_iter().map(|chunk| chunk.embed_text));
        }
    }
    Ok(texts)
}

/// Publishes the changes, then the seconds from the first record to the last one's acknowledgement.
/// Fails unless `rows` rows were embedded and written.
async fn pipe(
    broker: &Broker,
    name: &str,
    embedder: &Arc<dyn Embedder>,
    chunker: &Chunker,
    changes: &[Change],
    rows: usize,
) -> Result<f64> {
    let kafka = KafkaConfig {
        brokers: broker.brokers(),
        topic: name.to_owned(),
        dead_letter_topic: format!("{name}.dlq"),
        group: name.to_owned(),
        ..KafkaConfig::default()
    };
    let topics =
        [TopicSpec::new(&kafka.topic, PARTITIONS), TopicSpec::new(&kafka.dead_letter_topic, 1)];
    Admin::new(&kafka).ensure_topics(&topics).await?;
    topic::publish(&kafka, changes).await?;

    let times = Arc::new(Times::default());
    let sink = Arc::new(Sink::default());
    let source =
        tokio::task::block_in_place(|| KafkaSource::start(&kafka, EndMode::UntilCaughtUp))?;
    let stopper = source.stopper();
    let pipeline = Pipeline {
        stream: "bench".into(),
        source: Box::new(Timed { source, times: times.clone() }),
        decoder: Arc::new(NativeDecoder::new(DEFAULT_MAX_DOCUMENT_BYTES)),
        chunker: chunker.clone(),
        embedder: embedder.clone(),
        store: sink.clone(),
        dead_letters: Arc::new(KafkaDeadLetters::new(&kafka)?),
        config: PipelineConfig { until_caught_up: true, ..PipelineConfig::default() },
        progress: Arc::new(Progress::default()),
    };
    let summary = pipeline.run(CancellationToken::new()).await?;
    stopper.close(LEAVE).await?;
    let written = sink.rows.load(Ordering::Relaxed);
    ensure!(
        summary.chunks_embedded == rows as u64 && written == rows as u64,
        "{summary:?}, {written} rows written, expected {rows}"
    );
    times.seconds()
}
