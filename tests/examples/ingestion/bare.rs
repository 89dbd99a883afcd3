//! The work without a pipeline around it.

use std::time::Instant;

use anyhow::{Result, ensure};
use livedex_core::{
    ids::DocumentKey,
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

/// Seconds to do the same as whoever takes out the chunks that an update no longer has: before each
/// batch it asks for the rows of the batch's documents. The rows of a document stand together.
pub(crate) async fn look_and_upsert(collection: &Collection, rows: &[ChunkRow]) -> Result<f64> {
    let start = Instant::now();
    for batch in rows.chunks(MAX_UPSERT_ROWS) {
        let mut documents: Vec<DocumentKey> =
            batch.iter().map(|row| row.fields.document.clone()).collect();
        documents.dedup();
        let stored = collection.stored_rows(&documents).await?;
        // A batch may begin in the middle of a document.
        ensure!(stored.len() <= 1, "{} documents are there already", stored.len());
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
