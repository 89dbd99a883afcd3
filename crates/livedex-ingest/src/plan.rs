//! What a document's event changes in the collection. CPU work: chunking and hashing.

use std::collections::HashSet;

use livedex_core::{
    chunk::{ChunkError, Chunker},
    deletion::Deletion,
    diff::{diff, is_replay},
    document::Change,
    ids::ChunkId,
    record::{DeadLetterReason, SourcePosition, Stage},
    replay::fence_position,
    row::{ChunkFields, PreparedChunk, prepare},
};

use crate::{queue::Event, read::Known};

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
    /// What is to be remembered of a document without chunks.
    pub(crate) deletion: Option<Deletion>,
    /// Chunks that are stored just so.
    pub(crate) n_unchanged: usize,
}

/// Plans an event against what is known of its document.
///
/// Something of what it writes carries its position, so that a replay of what came before it is
/// known as one: a row, or the deletion. Where it changes nothing nothing is written, unless
/// an event that it took the place of would have changed something.
pub(crate) fn plan(
    event: &Event,
    known: &Known,
    chunker: &Chunker,
    fingerprint: &str,
) -> Result<Plan, DeadLetterReason> {
    let position = event.position();
    let wanted = wanted(&event.change, &position, chunker, fingerprint)?;
    let mut diff = diff(&known.rows, &wanted.chunks);
    if wanted.chunks.is_empty() {
        return Ok(Plan {
            delete: diff.delete,
            deletion: deletion(event, known),
            ..Plan::default()
        });
    }
    let is_silent = diff.rewrite.is_empty() && diff.embed.is_empty();
    let is_marked = known.rows.iter().any(|row| row.position == position);
    if is_silent
        && !is_marked
        && (!diff.delete.is_empty() || hides_a_change(event, known, chunker, fingerprint))
    {
        diff.rewrite.push(0);
        diff.unchanged -= 1;
    }
    let rewrite: HashSet<usize> = diff.rewrite.iter().copied().collect();
    let embed: HashSet<usize> = diff.embed.iter().copied().collect();
    let rows = wanted
        .chunks
        .into_iter()
        .zip(wanted.tokens)
        .enumerate()
        .filter(|(index, _)| rewrite.contains(index) || embed.contains(index))
        .map(|(index, (chunk, tokens))| PlannedRow {
            fields: chunk.fields,
            embed_text: chunk.embed_text,
            tokens,
            is_stored: rewrite.contains(&index),
        })
        .collect();
    Ok(Plan { rows, delete: diff.delete, deletion: None, n_unchanged: diff.unchanged })
}

/// The chunks that a document should have.
#[derive(Default)]
struct Wanted {
    chunks: Vec<PreparedChunk>,
    /// Of each chunk's text.
    tokens: Vec<usize>,
}

fn wanted(
    change: &Change,
    position: &SourcePosition,
    chunker: &Chunker,
    fingerprint: &str,
) -> Result<Wanted, DeadLetterReason> {
    let Change::Upsert(document) = change else { return Ok(Wanted::default()) };
    let chunked = chunker.chunk(document).map_err(|error| chunk_letter(&error))?;
    let tokens = chunked.chunks.iter().map(|chunk| chunk.tokens).collect();
    Ok(Wanted { chunks: prepare(document, chunked, fingerprint, position), tokens })
}

/// What is to be remembered now that the document has no chunks; nothing if that is known.
fn deletion(event: &Event, known: &Known) -> Option<Deletion> {
    let position = event.position();
    (known.deleted != Some(position.offset)).then(|| Deletion {
        document: event.change.key().clone(),
        position,
        deleted_at_ms: event.record.timestamp_ms.unwrap_or(0),
    })
}

/// Whether an earlier event of the wave, had it stood alone, would have changed the document: as
/// a replay it would, since the rows are of a record before it.
fn hides_a_change(event: &Event, known: &Known, chunker: &Chunker, fingerprint: &str) -> bool {
    event.earlier.iter().any(|(record, change)| {
        let position = fence_position(record);
        !is_replay(&known.rows, known.deleted, &position)
            // One that cannot be chunked never changes anything.
            && wanted(change, &position, chunker, fingerprint)
                .is_ok_and(|wanted| !diff(&known.rows, &wanted.chunks).is_empty())
    })
}

fn chunk_letter(error: &ChunkError) -> DeadLetterReason {
    let class = match error {
        ChunkError::TooManyChunks { .. } => "ChunkError.TooManyChunks",
        ChunkError::Html(_) => "ChunkError.Html",
        _ => "ChunkError",
    };
    DeadLetterReason { stage: Stage::Chunk, class: class.into(), message: error.to_string() }
}
