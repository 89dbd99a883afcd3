//! What the diff alone saves: one event after the other, none collapsing with another.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use livedex_core::{
    chunk::{Chunk, Chunker},
    diff::diff,
    document::Change,
    ids::DocumentKey,
    limits::DEFAULT_CHUNK_TOKENS,
    record::SourcePosition,
    row::{StoredRow, prepare},
};

use crate::{chunks::chunker, events::Event, measured};

/// What is aimed at: a quarter of the embeddings that whole documents cost.
pub(crate) const MOST: f64 = 0.25;

/// Tokens that say nothing by themselves, context included.
const SCRAP: usize = DEFAULT_CHUNK_TOKENS / 10;

/// Scraps among all chunks: sections that are no longer. Small chunks everywhere would save
/// embeddings too, and be worth nothing.
const MOST_SCRAPS: f64 = 0.02;

/// Tokens of a chunk in the mean.
const LEAST_MEAN: f64 = DEFAULT_CHUNK_TOKENS as f64 / 2.0;

pub(crate) fn the_diff_saves_three_embeddings_of_four(events: &[Event]) -> Result<()> {
    let cost = cost(events, &chunker()?)?;
    let (share, scraps) = (cost.share(), cost.scraps as f64 / cost.whole as f64);
    let mean = cost.tokens as f64 / cost.whole as f64;
    measured(format_args!(
        "the diff alone: {} embeddings; whole documents: {}; share {:.2} %",
        cost.diff,
        cost.whole,
        share * 100.0
    ));
    measured(format_args!(
        "a chunk: {mean:.0} tokens in the mean; below {SCRAP} tokens: {:.2} %",
        scraps * 100.0
    ));
    ensure!(share <= MOST, "{cost:?}, aimed at {MOST}");
    ensure!(mean >= LEAST_MEAN && scraps <= MOST_SCRAPS, "{cost:?}, chunks say too little");
    Ok(())
}

/// Embeddings that the stream costs, and what is embedded.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Chunks to embed with the diff.
    diff: u64,
    /// Chunks to embed if each event embeds its whole document.
    whole: u64,
    /// Tokens of those.
    tokens: u64,
    /// How many of those are below [`SCRAP`].
    scraps: u64,
}

impl Cost {
    fn share(self) -> f64 {
        self.diff as f64 / self.whole as f64
    }

    fn add(&mut self, chunks: &[Chunk]) {
        self.whole += chunks.len() as u64;
        self.tokens += chunks.iter().map(|chunk| chunk.tokens as u64).sum::<u64>();
        self.scraps += chunks.iter().filter(|chunk| chunk.tokens < SCRAP).count() as u64;
    }
}

fn cost(events: &[Event], chunker: &Chunker) -> Result<Cost> {
    let mut stored: BTreeMap<DocumentKey, Vec<StoredRow>> = BTreeMap::new();
    let mut cost = Cost::default();
    for (event, offset) in events.iter().zip(0..) {
        let key = event.key()?;
        let Change::Upsert(document) = event.change()? else {
            stored.remove(&key);
            continue;
        };
        let position = SourcePosition { topic: "t".into(), partition: 0, offset };
        let chunked = chunker.chunk(&document)?;
        cost.add(&chunked.chunks);
        let wanted = prepare(&document, chunked, "model", &position);
        let before = stored.entry(key).or_default();
        cost.diff += diff(before, &wanted).embed.len() as u64;
        *before = wanted
            .into_iter()
            .map(|chunk| StoredRow {
                id: chunk.fields.id,
                attributes_hash: chunk.fields.attributes_hash,
                position: chunk.fields.position,
            })
            .collect();
    }
    Ok(cost)
}
