//! How old the last records were when they became searchable.

use std::{collections::VecDeque, time::Duration};

/// Records that a look at freshness is about. As many as a percentile of 99 needs to mean
/// something, few enough that it tells of now.
const LAST: usize = 1024;

/// The ages of the last records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ages(VecDeque<Duration>);

/// How old the last records were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How many this is about: 1 to 1,024.
    pub records: usize,
    /// The median age.
    pub p50: Duration,
    /// What 99 of 100 were younger than.
    pub p99: Duration,
}

impl Ages {
    /// A record of this age became searchable.
    pub(crate) fn push(&mut self, age: Duration) {
        if self.0.len() == LAST {
            self.0.pop_front();
        }
        self.0.push_back(age);
    }

    /// The percentiles by nearest rank; `None` before the first record.
    pub(crate) fn look(&self) -> Option<Freshness> {
        let mut ages: Vec<Duration> = self.0.iter().copied().collect();
        ages.sort_unstable();
        let records = ages.len();
        let at = |percent: usize| ages.get((records * percent).div_ceil(100).max(1) - 1).copied();
        Some(Freshness { records, p50: at(50)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_records() {
        let mut ages = Ages::default();
        assert_eq!(ages.look(), None);
        let second = Duration::from_secs(1);
        ages.push(7 * second);
        assert_eq!(ages.look(), Some(Freshness { records: 1, p50: 7 * second, p99: 7 * second }));
        for n in (1..=200).rev() {
            ages.push(n * second);
        }
        let look = ages.look();
        assert_eq!(look, Some(Freshness { records: 201, p50: 100 * second, p99: 198 * second }));
        for _ in 0..LAST {
            ages.push(second);
        }
        assert_eq!(ages.look(), Some(Freshness { records: LAST, p50: second, p99: second }));
    }
}
