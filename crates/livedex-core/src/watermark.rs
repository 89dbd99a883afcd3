//! The first unfinished offset of a partition (INV-3).
//!
//! Guarantee: [`Watermark::position`] is never above an offset that was tracked and is not
//! finished, whatever the order in which records finish. Finished offsets above a gap do not
//! move it.

use std::collections::VecDeque;

/// The watermark of one partition, from its assignment to its revocation.
///
/// Memory: one entry for each record between the watermark and the last one tracked, which the
/// in-flight budget of the source bounds.
#[derive(Debug, Clone, Default)]
pub struct Watermark {
    /// Offsets at and above the watermark in ascending order, each with whether it is finished.
    /// The front one is never finished.
    pending: VecDeque<(i64, bool)>,
    /// The last offset tracked.
    last: Option<i64>,
    n_unfinished: usize,
}

impl Watermark {
    /// Nothing tracked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A record with `offset` was read. Offsets ascend and may have gaps (compaction,
    /// transaction markers); one that is not above the last was tracked before and is ignored.
    pub fn track(&mut self, offset: i64) {
        if self.last.is_some_and(|last| offset <= last) {
            return;
        }
        self.last = Some(offset);
        self.pending.push_back((offset, false));
        self.n_unfinished += 1;
    }

    /// The record with `offset` is in the collection or in the dead-letter topic. Offsets that
    /// were not tracked, or are finished already, are ignored.
    pub fn finish(&mut self, offset: i64) {
        let Ok(at) = self.pending.binary_search_by_key(&offset, |&(tracked, _)| tracked) else {
            return;
        };
        let is_finished = &mut self.pending[at].1;
        if *is_finished {
            return;
        }
        *is_finished = true;
        self.n_unfinished -= 1;
        while self.pending.front().is_some_and(|&(_, is_finished)| is_finished) {
            self.pending.pop_front();
        }
    }

    /// The offset to commit: the first unfinished one, or the one after the last tracked if all
    /// are finished. `None` if nothing was tracked yet, and nothing may be committed.
    pub fn position(&self) -> Option<i64> {
        match self.pending.front() {
            Some(&(offset, _)) => Some(offset),
            None => self.last.map(|last| last + 1),
        }
    }

    /// How many records were tracked and are not finished.
    pub fn in_flight(&self) -> usize {
        self.n_unfinished
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The rule by its words: every offset ever tracked is remembered.
    #[derive(Default)]
    struct Oracle {
        tracked: BTreeMap<i64, bool>,
    }

    impl Oracle {
        fn position(&self) -> Option<i64> {
            let first_unfinished = self.tracked.iter().find(|(_, done)| !**done);
            match first_unfinished {
                Some((&offset, _)) => Some(offset),
                None => self.tracked.keys().next_back().map(|last| last + 1),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Track the offset this far above the last.
        Track(i64),
        /// Finish some tracked offset, chosen by index.
        Finish(prop::sample::Index),
        /// Finish any offset, tracked or not.
        FinishAny(i64),
        /// Track an offset that is not above the last.
        TrackAgain(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1_i64..5).prop_map(Step::Track),
            4 => any::<prop::sample::Index>().prop_map(Step::Finish),
            1 => (-5_i64..300).prop_map(Step::FinishAny),
            1 => any::<prop::sample::Index>().prop_map(Step::TrackAgain),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(start in 0_i64..50, steps in steps()) {
            let mut watermark = Watermark::new();
            let mut oracle = Oracle::default();
            let mut next = start;
            for step in steps {
                match step {
                    Step::Track(gap) => {
                        next += gap;
                        watermark.track(next);
                        oracle.tracked.insert(next, false);
                    }
                    Step::Finish(index) if !oracle.tracked.is_empty() => {
                        let offset = *oracle.tracked.keys().nth(index.index(oracle.tracked.len())).unwrap();
                        watermark.finish(offset);
                        oracle.tracked.insert(offset, true);
                    }
                    Step::FinishAny(offset) => {
                        watermark.finish(offset);
                        if let Some(done) = oracle.tracked.get_mut(&offset) {
                            *done = true;
                        }
                    }
                    Step::TrackAgain(index) if !oracle.tracked.is_empty() => {
                        let offset = *oracle.tracked.keys().nth(index.index(oracle.tracked.len())).unwrap();
                        watermark.track(offset);
                    }
                    Step::Finish(_) | Step::TrackAgain(_) => {}
                }
                prop_assert_eq!(watermark.position(), oracle.position());
                let n_unfinished = oracle.tracked.values().filter(|done| !**done).count();
                prop_assert_eq!(watermark.in_flight(), n_unfinished);
            }
        }
    }

    #[test]
    fn finished_offsets_above_a_gap_do_not_move_it() {
        let mut watermark = Watermark::new();
        assert_eq!(watermark.position(), None);
        for offset in [10, 11, 14, 15] {
            watermark.track(offset);
        }
        watermark.finish(11);
        watermark.finish(15);
        assert_eq!(watermark.position(), Some(10));
        watermark.finish(10);
        assert_eq!(watermark.position(), Some(14));
        watermark.finish(14);
        assert_eq!((watermark.position(), watermark.in_flight()), (Some(16), 0));
    }
}
