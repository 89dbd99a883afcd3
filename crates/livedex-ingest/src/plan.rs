//! What a document's event changes in the collection. CPU work: chunking and hashing.

use std::collections::HashSet;

use livedex_core::{
    chunk::{ChunkError, Chunker},
    diff::diff,
    document::Change,
    ids::ChunkId,
    record::{DeadLetterReason, SourcePosition, Stage},
    row::{ChunkFields, StoredRow, prepare},
};

/// A row to write, but for its vector.
#[derive(Debug)]
pub(crate) struct PlannedRow {
    pub(crate) fields: ChunkFields,
    pub(crate) embed_text: String,
    /// Tokens of its text.
    pub(crate) tokens: usize,
    /// Whether the row is stored, with the same embedded text: its vector is used again.
    pub(crate) is_stored: bool,
}

/// The work for one event.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<PlannedRow>,
    pub(crate) delete: Vec<ChunkId>,
    /// Chunks that are stored just so.
    pub(crate) n_unchanged: usize,
}

/// Plans an event against the rows that its document has.
pub(crate) fn plan(
    change: &Change,
    position: &SourcePosition,
    stored: &[StoredRow],
    chunker: &Chunker,
    fingerprint: &str,
) -> Result<Plan, DeadLetterReason> {
    let Change::Upsert(document) = change else {
        return Ok(Plan { delete: diff(stored, &[]).delete, ..Plan::default() });
    };
    let chunked = chunker.chunk(document).map_err(|error| chunk_letter(&error))?;
    let tokens: Vec<usize> = chunked.chunks.iter().map(|chunk| chunk.tokens).collect();
    let wanted = prepare(document, chunked, fingerprint, position);
    let mut diff = diff(stored, &wanted);
    if diff.rewrite.is_empty() && diff.embed.is_empty() && !diff.delete.is_empty() {
        // Only deletions: no row would say that this record has been here, and a replay of an
        // older one would bring the deleted chunks back. One row is rewritten to say so.
        if !wanted.is_empty() {
            diff.rewrite.push(0);
            diff.unchanged -= 1;
        }
    }
    let rewrite: HashSet<usize> = diff.rewrite.iter().copied().collect();
    let embed: HashSet<usize> = diff.embed.iter().copied().collect();
    let rows = wanted
        .into_iter()
        .enumerate()
        .filter(|(index, _)| rewrite.contains(index) || embed.contains(index))
        .map(|(index, chunk)| PlannedRow {
            fields: chunk.fields,
            embed_text: chunk.embed_text,
            tokens: tokens.get(index).copied().unwrap_or(0),
            is_stored: rewrite.contains(&index),
        })
        .collect();
    Ok(Plan { rows, delete: diff.delete, n_unchanged: diff.unchanged })
}

fn chunk_letter(error: &ChunkError) -> DeadLetterReason {
    let class = match error {
        ChunkError::TooManyChunks { .. } => "ChunkError.TooManyChunks",
        ChunkError::Html(_) => "ChunkError.Html",
        _ => "ChunkError",
    };
    DeadLetterReason { stage: Stage::Chunk, class: class.into(), message: error.to_string() }
}
