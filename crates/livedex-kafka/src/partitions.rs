//! The partitions that this member owns: lease, watermark, bytes in flight, end reached,
//! offsets committed. Pure; the poll thread, the rebalance callback and the acknowledger share
//! one table behind a lock.
//!
//! Guarantees kept here:
//! - INV-3: what is offered for commit is [`Watermark::position`], never above an unfinished
//!   record.
//! - INV-4: [`PartitionTable::kill`] comes before [`PartitionTable::forget`], and a record is
//!   finished under the same lock only while its lease lives. So a live lease belongs to the
//!   entry that is in the table, and a record read before a revoke can never move the watermark
//!   of a later assignment of the same partition.
//! - The bytes of a partition leave the in-flight budget when it is revoked, whether or not
//!   somebody still finishes its records.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use livedex_core::{lease::Lease, watermark::Watermark};

use crate::session::Session;

mod spans;
#[cfg(test)]
mod tests;

pub use spans::{CatchUp, Span};

/// What a record costs beyond its own bytes (its struct, allocations, the watermark's entry), so
/// that the budget in bytes bounds the number of tiny records too: 65,536 of them for 32 MiB.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// A partition and an offset to commit, or committed.
pub(crate) type Commit = (i32, i64);

/// What became of a record that was offered to the table.
#[derive(Debug)]
pub(crate) enum Tracked {
    /// It is new: to be handed out with this lease.
    New(Lease),
    /// It is new, and the partition's log starts over below the watermark (the topic was made
    /// again, or the log was cut): the old lease is dead, the partition starts over with this
    /// one.
    StartsOver(Lease),
    /// It was handed out before under the same lease, and is not handed out twice.
    Duplicate,
    /// The partition is not ours.
    NotOurs,
}

/// What can be seen of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: i32,
    /// The first unfinished offset; `None` if no record was read since the assignment.
    pub watermark: Option<i64>,
    /// The last offset that the broker confirmed as committed since the assignment.
    pub committed: Option<i64>,
    /// Records read and not finished.
    pub in_flight: usize,
    /// Whether the last thing read was the partition's end.
    pub is_at_end: bool,
    /// What there was to read when it was assigned; `None` until the broker has said it.
    pub span: Option<Span>,
    /// The offset that the next record will get, as far as it is known: from the last fetch, or
    /// asked for while reading is paused.
    pub end: Option<i64>,
}

impl PartitionStatus {
    /// Records between what is committed and the end. An upper bound: compaction and
    /// transactions leave offsets without records. `None` while either is not known.
    pub fn lag(&self) -> Option<i64> {
        let committed = self.committed.or(self.span.map(|span| span.start))?;
        Some((self.end? - committed).max(0))
    }
}

#[derive(Debug, Default)]
struct Partition {
    lease: Lease,
    watermark: Watermark,
    /// Cost in bytes of each unfinished record, by offset.
    costs: HashMap<i64, usize>,
    last: Option<i64>,
    /// The offset that the broker confirmed as committed. It starts at the first record's, so
    /// that a partition on which nothing was finished commits nothing.
    confirmed: Option<i64>,
    is_at_end: bool,
    was_at_end: bool,
    span: Option<Span>,
    end: Option<i64>,
}

impl Partition {
    fn unconfirmed(&self) -> Option<i64> {
        self.watermark.position().filter(|&at| self.confirmed != Some(at))
    }
}

/// The table; see the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct PartitionTable {
    partitions: BTreeMap<i32, Partition>,
    in_flight_bytes: usize,
    /// What the leases hang on; `None` in tests that need no clock.
    session: Option<Arc<Session>>,
}

impl PartitionTable {
    /// Begins a session. What the one before had is given up: its leases die, and nothing of it
    /// will be committed.
    pub(crate) fn begin(&mut self, session: Arc<Session>) {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        self.forget(&partitions);
        self.session = Some(session);
    }

    /// These partitions are ours from now on: each gets a fresh lease and watermark.
    pub(crate) fn assign(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.remove(partition);
            let lease = match &self.session {
                Some(session) => Lease::guarded(Arc::clone(session) as _),
                None => Lease::new(),
            };
            self.partitions.insert(partition, Partition { lease, ..Partition::default() });
        }
    }

    /// Kills the leases of these partitions and returns what may be committed for them: the
    /// watermarks that the broker has not confirmed.
    pub(crate) fn kill(&mut self, partitions: &[i32]) -> Vec<Commit> {
        let mut commits = Vec::new();
        for &partition in partitions {
            if let Some(entry) = self.partitions.get(&partition) {
                entry.lease.kill();
                commits.extend(entry.unconfirmed().map(|at| (partition, at)));
            }
        }
        commits
    }

    /// Forgets these partitions.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.remove(partition);
        }
    }

    fn remove(&mut self, partition: i32) {
        if let Some(entry) = self.partitions.remove(&partition) {
            entry.lease.kill();
            self.in_flight_bytes -= entry.costs.values().sum::<usize>();
        }
    }

    /// A record of `bytes` was read at `offset`.
    pub(crate) fn track(&mut self, partition: i32, offset: i64, bytes: usize) -> Tracked {
        let Some(entry) = self.partitions.get(&partition) else { return Tracked::NotOurs };
        let is_behind = entry.last.is_some_and(|last| offset <= last);
        // Below the watermark everything is finished, and everything from there on will be read
        // again: starting over loses nothing. Between watermark and last it would.
        let starts_over = is_behind && entry.watermark.position().is_some_and(|at| offset < at);
        if is_behind && !starts_over {
            return Tracked::Duplicate;
        }
        if starts_over {
            self.assign(&[partition]);
        }
        let Some(entry) = self.partitions.get_mut(&partition) else { return Tracked::NotOurs };
        if entry.last.is_none() && !starts_over {
            entry.confirmed = Some(offset);
        }
        entry.last = Some(offset);
        entry.is_at_end = false;
        entry.watermark.track(offset);
        let cost = bytes + RECORD_OVERHEAD_BYTES;
        entry.costs.insert(offset, cost);
        self.in_flight_bytes += cost;
        let lease = entry.lease.clone();
        if starts_over { Tracked::StartsOver(lease) } else { Tracked::New(lease) }
    }

    /// The record at `offset`, read under `lease`, is finished. Ignored if the lease is dead.
    pub(crate) fn finish(&mut self, partition: i32, offset: i64, lease: &Lease) {
        if !lease.is_live() {
            return;
        }
        let Some(entry) = self.partitions.get_mut(&partition) else { return };
        entry.watermark.finish(offset);
        if let Some(cost) = entry.costs.remove(&offset) {
            self.in_flight_bytes -= cost;
        }
    }

    /// Everything of this partition has been read.
    pub(crate) fn reached_end(&mut self, partition: i32) {
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.is_at_end = true;
            entry.was_at_end = true;
        }
    }

    /// Whether every partition's last word was its end. True of no partitions at all.
    pub(crate) fn all_at_end(&self) -> bool {
        self.partitions.values().all(|entry| entry.is_at_end)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// What may be committed: watermarks that the broker has not confirmed.
    pub(crate) fn unconfirmed(&self) -> Vec<Commit> {
        let unconfirmed =
            |(&partition, entry): (&i32, &Partition)| Some((partition, entry.unconfirmed()?));
        self.partitions.iter().filter_map(unconfirmed).collect()
    }

    /// The broker confirmed these commits.
    pub(crate) fn confirm(&mut self, commits: &[Commit]) {
        for &(partition, at) in commits {
            if let Some(entry) = self.partitions.get_mut(&partition) {
                entry.confirmed = Some(at);
            }
        }
    }

    pub(crate) fn status(&self) -> Vec<PartitionStatus> {
        self.partitions
            .iter()
            .map(|(&partition, entry)| PartitionStatus {
                partition,
                watermark: entry.watermark.position(),
                committed: entry.confirmed,
                in_flight: entry.watermark.in_flight(),
                is_at_end: entry.is_at_end,
                span: entry.span,
                end: entry.end,
            })
            .collect()
    }
}
