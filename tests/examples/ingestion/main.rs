//! `make bench-ingest`: what the pipeline costs beside what it drives, and how fresh an index is.
//!
//! Apache Kafka (else the embedded broker) and Milvus Lite as child processes, the production
//! source, pipeline and store in this process. Three tables:
//! - with an embedder that costs nothing, beside a bare client that upserts the same rows into
//!   the same server;
//! - with all-MiniLM-L6-v2 (`LIVEDEX_MINILM` names its folder), beside the bare model on the same
//!   chunks;
//! - from the acknowledged produce to the first search that finds the document, on an idle system.
//!
//! Contenders take turns, and a ratio is the median of the rounds' own ratios.

mod bare;
mod embedders;
mod fresh;
mod piped;
mod table;
mod times;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    document::Change,
    limits::DEFAULT_CHUNK_TOKENS,
    ports::Embedder,
    record::SourcePosition,
    row::{PreparedChunk, prepare},
};
use livedex_kafka::KafkaConfig;
use livedex_milvus::{Collection, Milvus, MilvusConfig};
use livedex_model::{
    ModelSpec, load_embedder,
    runtime::{Runtime, RuntimeConfig},
};
use livedex_testkit::{Broker, MilvusLite, figures::say, stack::runtime, workload::Workload};

use embedders::Known;

/// Documents of a round with the free embedder: some seconds.
const FREE_DOCUMENTS: usize = 1500;
/// Documents of a round with a real model: some ten seconds on two cores.
const MODEL_DOCUMENTS: usize = 120;
const ROUNDS: usize = 5;
/// Documents whose way is timed on an idle system.
const FRESH_DOCUMENTS: usize = 100;
/// Numbers of the free embedder's vectors: as many as all-MiniLM-L6-v2's.
const DIMENSION: usize = 384;

fn main() -> Result<()> {
    let (broker, lite) = (Broker::start_preferring_apache()?, MilvusLite::start()?);
    let bench = Bench {
        kafka: KafkaConfig { brokers: broker.brokers(), ..KafkaConfig::default() },
        milvus: MilvusConfig { uri: lite.uri(), ..MilvusConfig::default() },
    };
    runtime()?.block_on(bench.run())
}

/// The servers.
struct Bench {
    kafka: KafkaConfig,
    milvus: MilvusConfig,
}

impl Bench {
    async fn run(&self) -> Result<()> {
        self.free().await?;
        match std::env::var_os("LIVEDEX_MINILM") {
            Some(folder) => self.model(folder.into()).await,
            None => {
                say("skipped: the real model (LIVEDEX_MINILM names its folder)");
                Ok(())
            }
        }
    }

    /// The pipeline beside a bare client.
    async fn free(&self) -> Result<()> {
        let documents = Workload::new(1).create(FREE_DOCUMENTS)?;
        let chunker = chunker(Arc::new(livedex_testkit::embedder::Words))?;
        let chunks = chunks(&documents, &chunker, "known")?;
        let embedder = Arc::new(Known::new(&chunks, DIMENSION).await?);
        let rows = embedder.rows(&chunks);
        let (mut bare, mut looking, mut piped) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let name = format!("free-{round}");
            let client = self.collection(&format!("bare_{round}"), &*embedder).await?;
            let seconds = bare::upsert(&client, &rows).await?;
            client.milvus().drop_collection().await?;
            let client = self.collection(&format!("looking_{round}"), &*embedder).await?;
            let seconds_looking = bare::look_and_upsert(&client, &rows).await?;
            client.milvus().drop_collection().await?;
            let pipe = piped::Pipe::new(self, &name, embedder.clone(), &chunker).await?;
            let through = pipe.until_caught_up(&documents, rows.len()).await?;
            pipe.remove().await?;
            // The first round warms the servers up.
            if round > 0 {
                bare.push(seconds);
                looking.push(seconds_looking);
                piped.push(through);
            }
        }
        table::rates(
            "The pipeline with a free embedder, beside a bare client",
            rows.len(),
            "rows",
            &[
                ("bare client, batches of 1,000", &bare),
                ("bare client that looks before it writes", &looking),
                ("pipeline", &piped),
            ],
        );
        Ok(())
    }

    /// The pipeline beside the bare model, and the freshness with it.
    async fn model(&self, folder: PathBuf) -> Result<()> {
        let loaded = tokio::task::block_in_place(|| load_embedder(&ModelSpec::dir(folder)))?;
        let runtime = tokio::task::block_in_place(|| {
            Runtime::start(RuntimeConfig::default(), Some(loaded), None)
        })?;
        let embedder = runtime.embedder().context("the runtime has no embedder")?;
        let documents = Workload::new(2).create(MODEL_DOCUMENTS)?;
        let chunker = chunker(embedder.tokens())?;
        let chunks = chunks(&documents, &chunker, &embedder.info().fingerprint)?;
        let (mut bare, mut piped) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let seconds = bare::embed(&*embedder, &chunks).await?;
            let pipe =
                piped::Pipe::new(self, &format!("model-{round}"), embedder.clone(), &chunker)
                    .await?;
            let through = pipe.until_caught_up(&documents, chunks.len()).await?;
            pipe.remove().await?;
            if round > 0 {
                bare.push(seconds);
                piped.push(through);
            }
        }
        table::rates(
            "The pipeline with all-MiniLM-L6-v2, beside the bare model",
            chunks.len(),
            "chunks",
            &[("bare model", &bare), ("pipeline", &piped)],
        );
        let pipe = piped::Pipe::new(self, "fresh", embedder, &chunker).await?;
        table::delays("From produce to searchable, idle", &fresh::measure(pipe).await?);
        Ok(())
    }

    /// A collection of its own.
    async fn collection(&self, name: &str, embedder: &dyn Embedder) -> Result<Collection> {
        let config = MilvusConfig { collection: name.replace('-', "_"), ..self.milvus.clone() };
        Ok(Milvus::connect(&config).await?.ensure_collection(embedder.info()).await?)
    }
}

fn chunker(tokens: Arc<dyn livedex_core::ports::TokenCounter>) -> Result<Chunker> {
    let config = ChunkConfig { max_tokens: DEFAULT_CHUNK_TOKENS, overlap_tokens: 0 };
    Ok(Chunker::new(config, tokens)?)
}

/// What the documents are cut into.
fn chunks(
    documents: &[Change],
    chunker: &Chunker,
    fingerprint: &str,
) -> Result<Vec<PreparedChunk>> {
    let position = SourcePosition { topic: "bare".into(), partition: 0, offset: 0 };
    let mut chunks = Vec::new();
    for change in documents {
        if let Change::Upsert(document) = change {
            chunks.extend(prepare(document, chunker.chunk(document)?, fingerprint, &position));
        }
    }
    Ok(chunks)
}
