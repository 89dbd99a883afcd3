//! A query for the first time, and again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result};
use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    document::Change,
    limits::DEFAULT_CHUNK_TOKENS,
    ports::{ChunkStore as _, Embedder},
    query::QueryRequest,
    record::SourcePosition,
    row::{ChunkRow, prepare},
};
use livedex_milvus::{Milvus, MilvusConfig};
use livedex_model::{
    ModelSpec, load_embedder, load_reranker,
    runtime::{Runtime, RuntimeConfig},
};
use livedex_query::{NatsConfig, QueryConfig, Searched, Service};
use livedex_testkit::{
    MilvusLite, Nats,
    figures::{quantile, say},
    workload::Workload,
};
use tokio_util::sync::CancellationToken;

use crate::{TIMEOUT, client};

/// Documents in the collection.
const DOCUMENTS: usize = 150;

/// Queries, each asked twice.
const QUERIES: usize = 30;

pub(crate) async fn measure(nats: &Nats, minilm: PathBuf) -> Result<()> {
    let lite = MilvusLite::start()?;
    let reranker = ModelSpec {
        adapter: Some(Path::new("models/livedex-rerank-minilm").to_owned()),
        ..ModelSpec::dir(minilm.clone())
    };
    let runtime = Runtime::start(
        RuntimeConfig::default(),
        Some(load_embedder(&ModelSpec::dir(minilm))?),
        Some(load_reranker(&reranker)?),
    )?;
    let embedder = runtime.embedder().context("no embedder")?;
    let milvus = MilvusConfig { uri: lite.uri(), ..MilvusConfig::default() };
    let collection = Milvus::connect(&milvus).await?.ensure_collection(embedder.info()).await?;
    let (rows, questions) = rows(&*embedder).await?;
    collection.upsert(&rows, &[]).await?;

    let searched = Searched { name: "livedex".to_owned(), retriever: Arc::new(collection) };
    let (config, shutdown) = (QueryConfig::default(), CancellationToken::new());
    let service = Service::new(embedder, runtime.reranker(), searched, Vec::new(), config);
    let at = NatsConfig { url: nats.url(), ..NatsConfig::default() };
    let connection = livedex_query::connect(&at).await?;
    let serving = livedex_query::serve(connection, &at, service, shutdown.clone()).await?;
    let serving = tokio::spawn(serving);
    let client = client(nats).await?;
    let (mut first, mut again, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for question in &questions {
        let mut took = Vec::new();
        for _ in 0..2 {
            let start = Instant::now();
            client.query(&QueryRequest::new(question.as_str()), TIMEOUT).await?;
            took.push(start.elapsed().as_secs_f64());
        }
        first.push(took[0]);
        again.push(took[1]);
        ratios.push(took[0] / took[1]);
    }
    shutdown.cancel();
    serving.await.context("the service panicked")??;
    for sorted in [&mut first, &mut again, &mut ratios] {
        sorted.sort_by(f64::total_cmp);
    }
    say("\n### A query for the first time, and again\n");
    say("|  | p50 | p95 |");
    say("| --- | ---: | ---: |");
    for (name, sorted) in [("first", &first), ("again", &again)] {
        let [p50, p95] = [0.5, 0.95].map(|part| 1000.0 * quantile(sorted, part));
        say(&format!("| {name} | {p50:.1} ms | {p95:.1} ms |"));
    }
    say(&format!(
        "\n{QUERIES} queries with 50 candidates of {} chunks; the median of their ratios: {:.1}",
        rows.len(),
        quantile(&ratios, 0.5)
    ));
    Ok(())
}

/// A collection's rows, and questions to it: beginnings of its documents.
async fn rows(embedder: &dyn Embedder) -> Result<(Vec<ChunkRow>, Vec<String>)> {
    let config = ChunkConfig { max_tokens: DEFAULT_CHUNK_TOKENS, overlap_tokens: 0 };
    let chunker = Chunker::new(config, embedder.tokens())?;
    let (mut chunks, mut questions) = (Vec::new(), Vec::new());
    for (offset, change) in Workload::new(7).create(DOCUMENTS)?.iter().enumerate() {
        let Change::Upsert(document) = change else { continue };
        if questions.len() < QUERIES {
            questions.push(document.text.chars().take(60).collect());
        }
        let position =
            SourcePosition { topic: "t".into(), partition: 0, offset: i64::try_from(offset)? };
        let fingerprint = &embedder.info().fingerprint;
        chunks.extend(prepare(document, chunker.chunk(document)?, fingerprint, &position));
    }
    let texts = chunks.iter().map(|chunk| chunk.embed_text.clone()).collect();
    let vectors = embedder.embed_documents(texts).await?;
    let rows = chunks
        .into_iter()
        .zip(vectors)
        .map(|(chunk, vector)| Ok(ChunkRow { fields: chunk.fields, vector: vector? }));
    Ok((rows.collect::<Result<_>>()?, questions))
}
