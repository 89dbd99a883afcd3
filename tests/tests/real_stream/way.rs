//! The whole way: the stream onto a topic, the production pipeline behind it, the collection read
//! back whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use livedex_core::{
    document::Change, ids::DocumentKey, limits::DEFAULT_MAX_DOCUMENT_BYTES, ports::Embedder as _,
    row::ChunkRow,
};
use livedex_ingest::{Pipeline, PipelineConfig, Progress, Summary};
use livedex_kafka::{
    Admin, EndMode, KafkaConfig, KafkaDeadLetters, KafkaSource, Publisher, TopicSpec,
};
use livedex_milvus::{Collection, FlushPolicy, Milvus, MilvusConfig};
use livedex_testkit::{
    Broker, MilvusLite,
    check::check,
    embedder::HashEmbedder,
    stack::{PARTITIONS, runtime},
    topic,
};
use livedex_wire::document::NativeDecoder;
use tokio_util::sync::CancellationToken;

use crate::{chunks::chunker, events, events::Event, measured, share::MOST};

/// Documents at the end, as the stream's own notes count them.
const ALIVE: usize = 269;

/// Numbers of a vector: what they mean does not matter here.
const DIMENSION: usize = 16;

/// Documents whose events are on their way at once.
const IN_FLIGHT: usize = 256;

pub(crate) fn the_stream_ends_as_its_last_tree(events: &[Event]) -> Result<()> {
    let (broker, milvus) = (Broker::start_apache()?, MilvusLite::start()?);
    let kafka = KafkaConfig { brokers: broker.brokers(), ..KafkaConfig::default() };
    let milvus = MilvusConfig {
        uri: milvus.uri(),
        flush: FlushPolicy::WhenIdle,
        timeout: Duration::from_secs(30),
        ..MilvusConfig::default()
    };
    // Before the clock starts: two passes over the stream of a debug build.
    let expected = events::last(events)?;
    ensure!(expected.len() == ALIVE, "{} documents are alive", expected.len());
    let n_whole = whole(events)?;

    runtime()?.block_on(async {
        publish(&kafka, events).await?;
        let embedder = HashEmbedder::new(DIMENSION);
        let collection = Milvus::connect(&milvus).await?.ensure_collection(embedder.info()).await?;
        let collection = Arc::new(collection);

        let started = Instant::now();
        let first = run(&kafka, &collection, &embedder).await?;
        let n_embedded = embedder.embedded();
        let share = n_embedded as f64 / n_whole as f64;
        measured(format_args!(
            "the pipeline: {n_embedded} embeddings; whole documents: {n_whole}; share {:.2} %; {:.0} s",
            share * 100.0,
            started.elapsed().as_secs_f64()
        ));
        ensure!(first.records as usize == events.len() && first.dead_letters == 0, "{first:?}");
        // Less than the diff alone, since events collapse.
        ensure!(first.chunks_embedded == n_embedded && share <= MOST, "{first:?}");
        let rows = collection.all_rows(true).await?;
        // None was kept for a text that has changed.
        let vectors = |text: &str| embedder.vector(text);
        let fingerprint = &embedder.info().fingerprint;
        let report = check(&rows, &expected, &chunker()?, fingerprint, Some(&vectors))?;
        ensure!(report.is_clean(), "{report}");

        // Another group reads it all from the start.
        let again = KafkaConfig { group: "again".to_owned(), ..kafka.clone() };
        let started = Instant::now();
        let second = run(&again, &collection, &embedder).await?;
        measured(format_args!("again: {} replays; {:.0} s", second.replays, started.elapsed().as_secs_f64()));
        ensure!(second.records as usize == events.len() && second.dead_letters == 0, "{second:?}");
        ensure!(embedder.embedded() == n_embedded, "it embedded {second:?}");
        ensure!((second.rows_rewritten, second.rows_deleted) == (0, 0), "{second:?}");
        same(&rows, &collection.all_rows(true).await?)
    })
}

/// Embeddings that the stream costs if each event embeds its whole document.
fn whole(events: &[Event]) -> Result<usize> {
    let chunker = chunker()?;
    let mut n = 0;
    for event in events {
        if let Change::Upsert(document) = event.change()? {
            n += chunker.chunk(&document)?.chunks.len();
        }
    }
    Ok(n)
}

/// The events of one document one after the other, those of different ones side by side: their
/// order means nothing.
async fn publish(kafka: &KafkaConfig, events: &[Event]) -> Result<()> {
    let topics =
        [TopicSpec::new(&kafka.topic, PARTITIONS), TopicSpec::new(&kafka.dead_letter_topic, 1)];
    Admin::new(kafka).ensure_topics(&topics).await?;
    let mut documents: BTreeMap<DocumentKey, Vec<Change>> = BTreeMap::new();
    for event in events {
        documents.entry(event.key()?).or_default().push(event.change()?);
    }
    let publisher = &Publisher::new(kafka)?;
    stream::iter(documents.into_values())
        .map(|changes| async move {
            for change in &changes {
                let record = topic::outgoing(change);
                publisher.publish(record.key, record.value, record.headers).await?;
            }
            anyhow::Ok(())
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

/// Reads the topic to its end as a member of `kafka`'s group.
async fn run(
    kafka: &KafkaConfig,
    collection: &Arc<Collection>,
    embedder: &HashEmbedder,
) -> Result<Summary> {
    let source = tokio::task::block_in_place(|| KafkaSource::start(kafka, EndMode::UntilCaughtUp))?;
    let stopper = source.stopper();
    let pipeline = Pipeline {
        stream: kafka.topic.as_str().into(),
        source: Box::new(source),
        decoder: Arc::new(NativeDecoder::new(DEFAULT_MAX_DOCUMENT_BYTES)),
        chunker: chunker()?,
        embedder: Arc::new(embedder.clone()),
        store: collection.clone(),
        dead_letters: Arc::new(KafkaDeadLetters::new(kafka)?),
        config: PipelineConfig { until_caught_up: true, ..PipelineConfig::default() },
        progress: Arc::new(Progress::default()),
    };
    let summary = pipeline.run(CancellationToken::new()).await?;
    stopper.close(Duration::from_secs(10)).await?;
    Ok(summary)
}

/// Not a number of any row has changed, their positions included.
fn same(before: &[ChunkRow], after: &[ChunkRow]) -> Result<()> {
    let by_id: HashMap<_, _> = after.iter().map(|row| (&row.fields.id, row)).collect();
    ensure!(before.len() == after.len() && by_id.len() == after.len());
    for row in before {
        ensure!(by_id.get(&row.fields.id) == Some(&row), "{} has changed", row.fields.document);
    }
    Ok(())
}
