//! From an acknowledged produce to the first search that finds the document.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use livedex_core::{
    document::{Change, Document},
    ports::Retriever as _,
    query::{Consistency, Route, SearchRequest},
};
use livedex_ingest::PipelineConfig;
use livedex_kafka::EndMode;
use livedex_testkit::workload::Workload;
use tokio_util::sync::CancellationToken;

use crate::{FRESH_DOCUMENTS, piped::Pipe};

/// Between two searches.
const PACE: Duration = Duration::from_millis(5);
/// No document takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds of each document, one after the other on an idle system.
pub(crate) async fn measure(pipe: Pipe) -> Result<Vec<f64>> {
    let shutdown = CancellationToken::new();
    let (pipeline, stopper) = pipe.pipeline(EndMode::Forever, PipelineConfig::default(), None)?;
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    let mut seconds = Vec::new();
    // The first one waits for the group to form.
    for change in Workload::new(3).create(FRESH_DOCUMENTS + 1)? {
        let Change::Upsert(document) = &change else { continue };
        let vector = pipe.embedder.embed_query(&document.text, None, None).await?;
        pipe.publish(std::slice::from_ref(&change)).await?;
        let start = Instant::now();
        until_found(&pipe, document, vector).await?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    shutdown.cancel();
    running.await.context("the pipeline panicked")??;
    stopper.close(PATIENCE).await?;
    pipe.remove().await?;
    Ok(seconds.split_off(1))
}

/// Searches as a query does, with its default consistency.
async fn until_found(pipe: &Pipe, document: &Document, vector: Vec<f32>) -> Result<()> {
    let start = Instant::now();
    let request = SearchRequest {
        route: Route::Dense(vector),
        limit: 50,
        tenant: None,
        filter: None,
        consistency: Consistency::default(),
        with_vectors: false,
    };
    loop {
        let found = pipe.collection.search(&request).await?;
        if found.iter().any(|candidate| candidate.fields.document == document.key) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("{} is not found after {PATIENCE:?}", document.key);
        }
        tokio::time::sleep(PACE).await;
    }
}
