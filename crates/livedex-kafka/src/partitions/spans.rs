//! What there is to read: the log's bounds when a partition was assigned, and how it has grown.
//!
//! A partition is read once its end was reached, or once the offsets that it had at its
//! assignment have gone by: the first comes true however many of them hold no record, the second
//! also on a topic that never rests.

use livedex_core::lease::Lease;

use super::{Partition, PartitionTable};

/// The offsets that a partition had for its group when it was assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first to read: the committed one, or the first that is still there.
    pub start: i64,
    /// One above the last.
    pub end: i64,
}

/// How far the member is with what its partitions held when they were assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatchUp {
    /// Offsets that are finished, those without a record included.
    pub done: u64,
    /// Offsets in all.
    pub total: u64,
}

impl Partition {
    /// Whether everything that was there at the assignment has been read.
    fn is_read(&self) -> bool {
        let has_passed = |span: Span| self.last.map_or(span.start, |last| last + 1) >= span.end;
        self.was_at_end || self.span.is_some_and(has_passed)
    }

    fn is_committed(&self) -> bool {
        self.watermark.in_flight() == 0 && self.unconfirmed().is_none()
    }

    fn catch_up(&self) -> Option<CatchUp> {
        let span = self.span?;
        let at = match self.watermark.position() {
            // Offsets without a record may stand at the end, and no watermark passes those.
            _ if self.was_at_end && self.watermark.in_flight() == 0 => span.end,
            Some(at) => at,
            None => span.start,
        };
        let length = |to: i64| u64::try_from(to - span.start).unwrap_or(0);
        Some(CatchUp { done: length(at.min(span.end)), total: length(span.end) })
    }
}

impl PartitionTable {
    /// Whether everything that was there when the partitions were assigned has been read. True of
    /// no partitions at all.
    pub(crate) fn all_read(&self) -> bool {
        self.partitions.values().all(Partition::is_read)
    }

    /// Whether everything that was read is finished, and the broker has confirmed it as committed.
    pub(crate) fn all_committed(&self) -> bool {
        self.partitions.values().all(Partition::is_committed)
    }

    /// The partitions whose span is not known, each with its lease.
    pub(crate) fn without_span(&self) -> Vec<(i32, Lease)> {
        let unknown = self.partitions.iter().filter(|(_, entry)| entry.span.is_none());
        unknown.map(|(&partition, entry)| (partition, entry.lease.clone())).collect()
    }

    /// The broker has said what there is to read. Ignored under a dead lease: the answer was for
    /// an earlier assignment.
    pub(crate) fn learn(&mut self, partition: i32, lease: &Lease, span: Span) {
        if let Some(entry) = self.partitions.get_mut(&partition).filter(|_| lease.is_live()) {
            entry.span = Some(span);
        }
        self.grown(partition, span.end);
    }

    /// The next record of `partition` will get this offset, or a later one.
    pub(crate) fn grown(&mut self, partition: i32, end: i64) {
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.end = entry.end.max(Some(end));
        }
    }

    /// How far the partitions are, all together; `None` until their spans are known.
    pub(crate) fn catch_up(&self) -> Option<CatchUp> {
        self.partitions.values().try_fold(CatchUp::default(), |sum, entry| {
            let one = entry.catch_up()?;
            Some(CatchUp { done: sum.done + one.done, total: sum.total + one.total })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::partitions::Tracked;

    /// A table with partition 0, whose log holds 10 to 19.
    fn table() -> (PartitionTable, Lease) {
        let mut table = PartitionTable::default();
        table.assign(&[0]);
        let (partition, lease) = table.without_span().pop().unwrap();
        table.learn(partition, &lease, Span { start: 10, end: 20 });
        (table, lease)
    }

    fn read(table: &mut PartitionTable, offsets: impl IntoIterator<Item = i64>) {
        for offset in offsets {
            assert!(matches!(table.track(0, offset, 1), Tracked::New(_)), "{offset}");
        }
    }

    #[test]
    fn a_topic_that_never_rests_is_read_once_what_it_held_has_gone_by() {
        let (mut table, _) = table();
        read(&mut table, 10..19);
        assert!(!table.all_read());
        // 19 holds no record, and there is no end.
        read(&mut table, [20, 21]);
        assert!(table.all_read() && !table.all_at_end());
        // Another partition has all of it before it.
        table.assign(&[1]);
        assert!(!table.all_read());
    }

    #[test]
    fn the_end_counts_without_a_span_and_a_span_without_records_counts_at_once() {
        let mut table = PartitionTable::default();
        table.assign(&[0, 1]);
        table.reached_end(0);
        assert!(!table.all_read() && table.catch_up().is_none());
        for (partition, lease) in table.without_span() {
            table.learn(partition, &lease, Span { start: 7, end: 7 });
        }
        assert!(table.all_read() && table.all_committed());
        assert_eq!(table.catch_up(), Some(CatchUp { done: 0, total: 0 }));
    }

    #[test]
    fn an_answer_for_an_earlier_assignment_says_nothing_of_this_one() {
        let mut table = PartitionTable::default();
        table.assign(&[0]);
        let (_, old) = table.without_span().pop().unwrap();
        table.assign(&[0]);
        table.learn(0, &old, Span { start: 0, end: 0 });
        assert!(!table.all_read() && table.without_span().len() == 1);
    }

    #[test]
    fn caught_up_means_finished_and_confirmed() {
        let (mut table, lease) = table();
        read(&mut table, 10..20);
        assert_eq!(table.catch_up(), Some(CatchUp { done: 0, total: 10 }));
        for offset in (10..19).rev() {
            table.finish(0, offset, &lease);
        }
        assert_eq!(table.catch_up(), Some(CatchUp { done: 9, total: 10 }));
        table.finish(0, 19, &lease);
        assert_eq!(table.catch_up(), Some(CatchUp { done: 10, total: 10 }));
        assert!(!table.all_committed(), "the broker has not confirmed it");
        table.confirm(&[(0, 20)]);
        assert!(table.all_committed());
    }

    #[test]
    fn offsets_without_a_record_at_the_end_are_done_with_the_end() {
        let (mut table, lease) = table();
        read(&mut table, 10..18);
        table.reached_end(0);
        for offset in 10..18 {
            table.finish(0, offset, &lease);
        }
        assert_eq!(table.catch_up(), Some(CatchUp { done: 10, total: 10 }));
    }

    #[test]
    fn the_lag_is_counted_from_the_commit_to_the_known_end() {
        let (mut table, lease) = table();
        let lag = |table: &PartitionTable| table.status()[0].lag();
        assert_eq!(lag(&table), Some(10), "before anything was read");
        read(&mut table, 10..20);
        for offset in 10..15 {
            table.finish(0, offset, &lease);
        }
        assert_eq!(lag(&table), Some(10), "finished is not committed");
        table.confirm(&[(0, 15)]);
        table.grown(0, 30);
        table.grown(0, 25);
        assert_eq!(lag(&table), Some(15), "an older word about the end is no news");
    }
}
