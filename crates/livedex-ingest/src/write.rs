//! Rows into the collection, and out of it.
//!
//! First everything new is written, then what is stale is deleted, so that a document is never
//! absent. A deletion is remembered before the rows go: after a crash in between its record comes
//! again and finds them, while rows that had gone first would leave a replay nothing to tell it by. Leases are looked at before each group, and by the store right before each of its
//! requests (INV-4). A document that the store
//! refuses for good is found by halving; what was written of it is taken out again, so that the
//! collection keeps its last good version.

use std::ops::Range;

use livedex_core::{
    deletion::Deletion, ids::ChunkId, lease::Lease, limits::MAX_UPSERT_ROWS, row::ChunkRow,
};

use crate::{
    context::Context,
    metrics::StepTimer,
    retry::{End, bisect, groups, until_answered},
};

/// What one document's event writes and deletes.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) lease: Lease,
    pub(crate) rows: Vec<ChunkRow>,
    pub(crate) delete: Vec<ChunkId>,
    /// What is to be remembered before `delete`.
    pub(crate) deletion: Option<Deletion>,
    /// Rows that were not stored before.
    pub(crate) fresh: Vec<ChunkId>,
}

/// Writes and deletes for several documents. Returns one end a document, in order.
pub(crate) async fn write(context: &Context, documents: Vec<Writes>) -> Vec<End> {
    let leases: Vec<Lease> = documents.iter().map(|document| document.lease.clone()).collect();
    let (mut rows, mut row_spans) = (Vec::new(), Vec::new());
    let (mut ids, mut id_spans) = (Vec::new(), Vec::new());
    let (mut deletions, mut deletion_spans) = (Vec::new(), Vec::new());
    let mut fresh = Vec::new();
    for document in documents {
        row_spans.push(append(&mut rows, document.rows));
        id_spans.push(append(&mut ids, document.delete));
        let deletion = document.deletion.map_or_else(Vec::new, |deletion| vec![deletion]);
        deletion_spans.push(append(&mut deletions, deletion));
        fresh.push(document.fresh);
    }

    let mut ends = vec![End::Dropped; leases.len()];
    let timer = StepTimer::start("upsert");
    let weights: Vec<usize> = row_spans.iter().map(Range::len).collect();
    for group in groups(&weights, MAX_UPSERT_ROWS) {
        let upsert = |group: Range<usize>| {
            let (rows, leases) = (slice(&rows, &row_spans[group.clone()]), &leases[group]);
            async move {
                if rows.is_empty() { Ok(()) } else { context.store.upsert(rows, leases).await }
            }
        };
        for (index, end) in
            bisect(context.backoff, "upsert", &leases, group, |g| Box::pin(upsert(g))).await
        {
            ends[index] = end;
        }
    }
    drop(timer);

    for (index, end) in ends.iter().enumerate() {
        if matches!(end, End::Refused(_)) {
            undo(context, &leases[index], &fresh[index]).await;
        }
    }

    let timer = StepTimer::start("record_deletions");
    for group in groups(&vec![1; leases.len()], MAX_UPSERT_ROWS) {
        let is_next = |index: usize| ends[index] == End::Done && !deletion_spans[index].is_empty();
        for group in runs(group, is_next) {
            let record = |group: Range<usize>| {
                let entries = slice(&deletions, &deletion_spans[group.clone()]);
                context.store.record_deletions(entries, &leases[group])
            };
            let step = "record_deletions";
            for (index, end) in bisect(context.backoff, step, &leases, group, record).await {
                ends[index] = end;
            }
        }
    }
    drop(timer);

    let _timer = StepTimer::start("delete");
    // Only what is written may lose its old rows. Runs of such documents stay consecutive.
    let weights: Vec<usize> = id_spans.iter().map(Range::len).collect();
    for group in groups(&weights, MAX_UPSERT_ROWS) {
        for group in runs(group, |index| ends[index] == End::Done) {
            let delete = |group: Range<usize>| {
                let (ids, leases) = (slice(&ids, &id_spans[group.clone()]), &leases[group]);
                async move {
                    if ids.is_empty() { Ok(()) } else { context.store.delete(ids, leases).await }
                }
            };
            for (index, end) in
                bisect(context.backoff, "delete", &leases, group, |g| Box::pin(delete(g))).await
            {
                ends[index] = end;
            }
        }
    }
    ends
}

/// Takes out what may have been written of a refused document.
async fn undo(context: &Context, lease: &Lease, fresh: &[ChunkId]) {
    if fresh.is_empty() {
        return;
    }
    let delete = || context.store.delete(fresh, std::slice::from_ref(lease));
    // Whatever the end: the document is refused already, and there is nothing left to try.
    let _ = until_answered(context.backoff, "delete", || lease.is_live(), delete).await;
}

fn append<T>(all: &mut Vec<T>, more: Vec<T>) -> Range<usize> {
    let start = all.len();
    all.extend(more);
    start..all.len()
}

/// What consecutive, adjoining spans cover.
fn slice<'a, T>(all: &'a [T], spans: &[Range<usize>]) -> &'a [T] {
    match (spans.first(), spans.last()) {
        (Some(first), Some(last)) => &all[first.start..last.end],
        _ => &[],
    }
}

/// The maximal runs of indices in `range` that `keep`, as they are now.
fn runs(range: Range<usize>, keep: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for index in range.filter(|&index| keep(index)) {
        match runs.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_maximal() {
        assert_eq!(runs(0..7, |index| ![0, 3].contains(&index)), [1..3, 4..7]);
        assert!(runs(2..4, |_| false).is_empty());
    }

    #[test]
    fn spans_of_neighbours_are_one_slice() {
        let mut all = Vec::new();
        let spans = [vec![1, 2], vec![], vec![3]].map(|more| append(&mut all, more));
        assert_eq!(slice(&all, &spans), [1, 2, 3]);
        assert_eq!(slice(&all, &spans[1..]), [3]);
        assert!(slice(&all, &spans[1..2]).is_empty());
    }
}
