//! Counters and depths that a progress bar and a status read.

use std::{
    ops::Add,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use livedex_core::record::Depth;

use crate::freshness::{Ages, Freshness};

/// What a pipeline has done so far. Shared, cheap to read at any rate; the numbers are each
/// exact, but not a snapshot of one moment.
#[derive(Debug, Default)]
pub struct Progress {
    received: AtomicU64,
    records: AtomicU64,
    documents: AtomicU64,
    chunks_embedded: AtomicU64,
    tokens_embedded: AtomicU64,
    chunks_unchanged: AtomicU64,
    rows_rewritten: AtomicU64,
    rows_deleted: AtomicU64,
    dead_letters: AtomicU64,
    replays: AtomicU64,
    caught_up: AtomicBool,
    depths: Mutex<Depths>,
    ages: Mutex<Ages>,
}

/// The records that the source has handed out and that are not finished, by where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// Decoded, and waiting for a wave.
    pub queue: Depth,
    /// In waves, those included that are finished before their wave is.
    pub waves: Depth,
    /// How many waves that are.
    pub waves_in_flight: usize,
}

/// What a pipeline has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records read from the source.
    pub received: u64,
    /// Records finished: acknowledged to the source.
    pub records: u64,
    /// Events that were brought into the collection, deletions included, changed or not.
    pub documents: u64,
    /// Chunks that were embedded and written.
    pub chunks_embedded: u64,
    /// Tokens of those chunks' texts, without context and special tokens.
    pub tokens_embedded: u64,
    /// Chunks that were in the collection just so.
    pub chunks_unchanged: u64,
    /// Rows written again with their stored vector.
    pub rows_rewritten: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Records older than what the collection says.
    pub replays: u64,
}

impl Summary {
    /// The share of embeddings that were saved because the chunk was stored, 0 to 1: in the
    /// collection just so, or written again with its stored vector. `None` before the first chunk.
    pub fn embeddings_saved(&self) -> Option<f64> {
        let saved = self.chunks_unchanged + self.rows_rewritten;
        let all = saved + self.chunks_embedded;
        (all > 0).then(|| saved as f64 / all as f64)
    }
}

impl Add for Summary {
    type Output = Self;

    /// What both have done together.
    fn add(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            records: self.records + other.records,
            documents: self.documents + other.documents,
            chunks_embedded: self.chunks_embedded + other.chunks_embedded,
            tokens_embedded: self.tokens_embedded + other.tokens_embedded,
            chunks_unchanged: self.chunks_unchanged + other.chunks_unchanged,
            rows_rewritten: self.rows_rewritten + other.rows_rewritten,
            rows_deleted: self.rows_deleted + other.rows_deleted,
            dead_letters: self.dead_letters + other.dead_letters,
            replays: self.replays + other.replays,
        }
    }
}

impl Progress {
    /// The counters now.
    pub fn summary(&self) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            received: get(&self.received),
            records: get(&self.records),
            documents: get(&self.documents),
            chunks_embedded: get(&self.chunks_embedded),
            tokens_embedded: get(&self.tokens_embedded),
            chunks_unchanged: get(&self.chunks_unchanged),
            rows_rewritten: get(&self.rows_rewritten),
            rows_deleted: get(&self.rows_deleted),
            dead_letters: get(&self.dead_letters),
            replays: get(&self.replays),
        }
    }

    /// Where records are now.
    pub fn depths(&self) -> Depths {
        *lock(&self.depths)
    }

    /// How old the last records were when they became searchable; `None` before the first.
    pub fn freshness(&self) -> Option<Freshness> {
        lock(&self.ages).look()
    }

    pub(crate) fn set_depths(&self, depths: Depths) {
        *lock(&self.depths) = depths;
    }

    /// A record of this age became searchable.
    pub(crate) fn fresh(&self, age: Duration) {
        lock(&self.ages).push(age);
    }

    /// Whether every assigned partition had been read to its end when the source was last asked,
    /// and everything read is finished.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Relaxed)
    }

    pub(crate) fn set_caught_up(&self, caught_up: bool) {
        self.caught_up.store(caught_up, Ordering::Relaxed);
    }

    pub(crate) fn receive(&self, records: usize) {
        self.received.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Adds what a part of a wave did.
    pub(crate) fn add(&self, done: &Summary) {
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.received, done.received);
        add(&self.records, done.records);
        add(&self.documents, done.documents);
        add(&self.chunks_embedded, done.chunks_embedded);
        add(&self.tokens_embedded, done.tokens_embedded);
        add(&self.chunks_unchanged, done.chunks_unchanged);
        add(&self.rows_rewritten, done.rows_rewritten);
        add(&self.rows_deleted, done.rows_deleted);
        add(&self.dead_letters, done.dead_letters);
        add(&self.replays, done.replays);
    }
}

/// Each change under these locks is complete at every step, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_are_the_chunks_that_needed_no_embedding() {
        assert_eq!(Summary::default().embeddings_saved(), None);
        let done = Summary {
            chunks_embedded: 1,
            chunks_unchanged: 2,
            rows_rewritten: 1,
            rows_deleted: 5,
            ..Summary::default()
        };
        assert_eq!(done.embeddings_saved(), Some(0.75));
    }
}
