//! What the collection knows of the documents of a wave.

use std::sync::{Mutex, PoisonError};

use livedex_core::{
    deletion::DeletionId, ids::DocumentKey, lease::Lease, limits::MAX_DIFF_DOCUMENTS,
    row::StoredRow,
};

use crate::{
    context::Context,
    metrics::StepTimer,
    queue::Event,
    retry::{End, bisect, groups},
};

/// What is known of one document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Its rows.
    pub(crate) rows: Vec<StoredRow>,
    /// The offset at which its event's partition last deleted it.
    pub(crate) deleted: Option<i64>,
}

/// Reads rows and deletions, side by side. Returns how each read ended, in the order of `events`.
pub(crate) async fn read(context: &Context, events: &[Event]) -> Vec<(End, Known)> {
    let _timer = StepTimer::start("read");
    let keys: Vec<DocumentKey> = events.iter().map(|event| event.change.key().clone()).collect();
    let leases: Vec<Lease> = events.iter().map(|event| event.record.lease.clone()).collect();
    let deletions: Vec<DeletionId> = events.iter().map(Event::deletion_id).collect();
    // The fence's answer and the rows belong together: both are of one request.
    let known = Mutex::new(vec![Known::default(); events.len()]);
    let reads = groups(&vec![1; keys.len()], MAX_DIFF_DOCUMENTS).into_iter().map(|group| {
        bisect(context.backoff, "read", &leases, group, |group| {
            let (keys, deletions, known) = (&keys, &deletions, &known);
            Box::pin(async move {
                let (mut rows, deleted) = futures::try_join!(
                    context.store.stored_rows(&keys[group.clone()]),
                    context.store.deletions(&deletions[group.clone()]),
                )?;
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                for index in group {
                    known[index] = Known {
                        rows: rows.remove(&keys[index]).unwrap_or_default(),
                        deleted: deleted.get(&deletions[index]).copied(),
                    };
                }
                Ok(())
            })
        })
    });
    let mut ends = vec![End::Dropped; keys.len()];
    for (index, end) in futures::future::join_all(reads).await.into_iter().flatten() {
        ends[index] = end;
    }
    let known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
    ends.into_iter().zip(known).collect()
}
