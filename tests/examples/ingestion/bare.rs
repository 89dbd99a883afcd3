//! The work without a pipeline around it.

use std::time::Instant;

use anyhow::Result;
use livedex_core::{
    limits::MAX_UPSERT_ROWS,
    ports::{ChunkStore as _, Embedder},
    row::{ChunkRow, PreparedChunk},
};
use livedex_milvus::Collection;

/// Seconds to upsert the rows, one batch after the other.
pub(crate) async fn upsert(collection: &Collection, rows: &[ChunkRow]) -> Result<f64> {
    let start = Instant::now();
    for batch in rows.chunks(MAX_UPSERT_ROWS) {
        collection.upsert(batch, &[]).await?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds to embed the chunks, handed over in one call.
pub(crate) async fn embed(embedder: &dyn Embedder, chunks: &[PreparedChunk]) -> Result<f64> {
    let texts = chunks.iter().map(|chunk| chunk.embed_text.clone()).collect();
    let start = Instant::now();
    for vector in embedder.embed_documents(texts).await? {
        vector?;
    }
    Ok(start.elapsed().as_secs_f64())
}
