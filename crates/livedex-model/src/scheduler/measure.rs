//! How large a batch pays on a device: found by measuring.
//!
//! A larger batch uses the device better, up to a point; it also takes longer, and a query waits for
//! the batch that runs. Where both points lie differs by a factor of a hundred between models
//! and devices, so an asynchronous device is measured at start. [`table`] decides which sizes are
//! run, [`choose`] what follows from their times; both are pure.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    execute::Model,
    limits::{MEASURED_INGEST_TIME, MEASURED_TOKENS, MEASURED_TOKENS_AT_LEAST},
};
use crate::backend::{ForwardError, Pending};

/// A rate within this of the best one is as good: 3 %, about what such a measurement varies by.
const AS_GOOD: f64 = 0.97;

/// Runs of each size, of which the fastest counts: whatever disturbs one makes it slower.
const ROUNDS: usize = 3;

/// One size that fits the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// The token budget that the batch filled.
    pub(crate) budget: usize,
    /// The tokens that were in it.
    pub(crate) tokens: usize,
    /// How long the device took for it with another one behind it.
    pub(crate) took: Duration,
}

impl Measured {
    /// Tokens per second.
    fn rate(&self) -> f64 {
        self.tokens as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.took.as_secs_f64() * 1000.0;
        write!(f, "{} tokens: {ms:.1} ms, {:.0}/s", self.tokens, self.rate())
    }
}

/// Budgets in tokens, of one batch each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) query: usize,
    pub(crate) ingest: usize,
}

/// What follows from the sizes that fit, ascending; nothing if none does.
///
/// - Queries get the smallest budget whose rate is as good as the best one: a larger one gains nothing, and
///   whatever comes next would wait longer for it.
/// - Ingest gets the largest one that is not above it and takes [`MEASURED_INGEST_TIME`] at most, else
///   the smallest of all.
pub(crate) fn choose(table: &[Measured]) -> Option<Choice> {
    let best = table.iter().map(Measured::rate).fold(0.0, f64::max);
    let query = table.iter().find(|size| size.rate() >= AS_GOOD * best)?;
    let is_short =
        |size: &&Measured| size.took <= MEASURED_INGEST_TIME && size.budget <= query.budget;
    let ingest = table.iter().rfind(is_short).or(table.first())?;
    Some(Choice { query: query.budget, ingest: ingest.budget })
}

/// Measures sizes from the first one on, doubling, until one does not fit or is no faster; then
/// smaller ones, as long as none is short enough for ingest. `time` gives the tokens and the time of
/// a batch that fills a budget, or nothing if it does not fit. Ascending.
pub(crate) fn table<E>(
    mut time: impl FnMut(usize) -> Result<Option<(usize, Duration)>, E>,
) -> Result<Vec<Measured>, E> {
    let (mut table, mut best) = (Vec::<Measured>::new(), 0.0);
    let mut budget = *MEASURED_TOKENS.start();
    while MEASURED_TOKENS.contains(&budget)
        && let Some((tokens, took)) = time(budget)?
    {
        let size = Measured { budget, tokens, took };
        let gains = AS_GOOD * size.rate() > best;
        best = size.rate().max(best);
        table.push(size);
        if !gains {
            break;
        }
        budget *= 2;
    }
    budget = MEASURED_TOKENS.start() / 2;
    while budget >= MEASURED_TOKENS_AT_LEAST
        && table.first().is_none_or(|size| size.took > MEASURED_INGEST_TIME)
    {
        if let Some((tokens, took)) = time(budget)? {
            table.insert(0, Measured { budget, tokens, took });
        }
        budget /= 2;
    }
    Ok(table)
}

/// Runs a batch as under load, with another one behind it, and returns how long one takes; nothing if
/// they do not fit.
pub(crate) fn time<M: Model>(
    model: &mut M,
    batch: &[M::Input],
) -> Result<Option<Duration>, ForwardError> {
    let mut both = || -> Result<Duration, ForwardError> {
        let begun = Instant::now();
        let pending = [model.submit(batch), model.submit(batch)];
        // Both, also where one has failed: a smaller batch is not to find the other's memory taken.
        let [first, second] = pending.map(|pending| pending.and_then(Pending::wait));
        first.and(second).map(|_| begun.elapsed() / 2)
    };
    let mut fastest = None;
    // The first run of a shape does not count: kernels may be compiled and memory taken.
    for is_first in std::iter::once(true).chain([false; ROUNDS]) {
        match both() {
            Ok(_) if is_first => {}
            Ok(took) => fastest = Some(fastest.map_or(took, |best: Duration| best.min(took))),
            Err(ForwardError::OutOfMemory(_)) => return Ok(None),
            Err(other) => return Err(other),
        }
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn sizes(table: &[(usize, f64)]) -> Vec<Measured> {
        let size = |&(budget, ms): &(usize, f64)| Measured {
            budget,
            tokens: budget,
            took: Duration::from_secs_f64(ms / 1000.0),
        };
        table.iter().map(size).collect()
    }

    fn chosen(table: &[(usize, f64)]) -> Option<(usize, usize)> {
        choose(&sizes(table)).map(|choice| (choice.query, choice.ingest))
    }

    #[test]
    fn the_smallest_of_the_best_and_the_largest_of_the_short() {
        assert_eq!(chosen(&[]), None);
        // A small model: all are short, the last doubling gains nothing.
        let small = [(2048, 2.0), (4096, 2.4), (8192, 4.0), (16384, 7.9)];
        assert_eq!(chosen(&small), Some((8192, 8192)));
        // A large model: the best is long, ingest stays below 25 ms.
        let large = [(2048, 15.0), (4096, 24.9), (8192, 45.0), (16384, 89.0)];
        assert_eq!(chosen(&large), Some((8192, 4096)));
        // Nothing is short enough: the smallest of all.
        assert_eq!(chosen(&[(256, 30.0), (512, 40.0), (1024, 70.0)]), Some((1024, 256)));
        // Slower when larger: the first is the best.
        assert_eq!(chosen(&[(2048, 10.0), (4096, 30.0)]), Some((2048, 2048)));
        // Within 3 % is as good, just beyond is not.
        assert_eq!(chosen(&[(2048, 10.3), (4096, 20.0)]), Some((2048, 2048)));
        assert_eq!(chosen(&[(2048, 10.4), (4096, 20.0)]), Some((4096, 4096)));
    }

    /// The sizes that are run on a device with a fixed cost and a rate, and room for so many tokens.
    fn measured(room: usize, fixed_ms: f64, tokens_per_ms: f64) -> (Vec<usize>, Vec<Measured>) {
        let mut asked = Vec::new();
        let result = table(|budget| {
            asked.push(budget);
            let ms = fixed_ms + budget as f64 / tokens_per_ms;
            let took = Duration::from_secs_f64(ms / 1000.0);
            Ok::<_, Infallible>((budget <= room).then_some((budget, took)))
        });
        (asked, result.unwrap())
    }

    #[test]
    fn sizes_grow_until_one_does_not_fit_or_gains_nothing() {
        let budgets = |table: &[Measured]| table.iter().map(|size| size.budget).collect::<Vec<_>>();
        let (asked, table) = measured(10_000, 10.0, 1000.0);
        assert_eq!(asked, [2048, 4096, 8192, 16384]);
        assert_eq!(budgets(&table), [2048, 4096, 8192]);
        let (asked, table) = measured(usize::MAX, 0.1, 1000.0);
        assert_eq!(asked, [2048, 4096], "at full speed from the start");
        assert_eq!(budgets(&table), [2048, 4096]);
        let (asked, _) = measured(usize::MAX, 1000.0, 100_000.0);
        assert!(asked.ends_with(&[32768, 65536, 1024, 512, 256]), "{asked:?}");
    }

    #[test]
    fn smaller_sizes_are_run_where_the_first_does_not_fit_or_takes_long() {
        let (asked, table) = measured(1000, 1.0, 1000.0);
        assert_eq!(asked, [2048, 1024, 512]);
        assert_eq!(choose(&table), Some(Choice { query: 512, ingest: 512 }));
        let (_, table) = measured(usize::MAX, 1.0, 30.0);
        assert_eq!(choose(&table).unwrap().ingest, 512, "18 ms; 1,024 take 35 ms");
        let (asked, table) = measured(0, 1.0, 1.0);
        assert_eq!((asked, table), (vec![2048, 1024, 512, 256], vec![]));
    }

    proptest! {
        #[test]
        fn a_choice_fits_and_keeps_its_promises(
            room in 0usize..200_000,
            fixed_ms in 0.0..100.0f64,
            tokens_per_ms in 1.0..10_000.0f64,
        ) {
            let (asked, table) = measured(room, fixed_ms, tokens_per_ms);
            prop_assert!(table.is_sorted_by_key(|size| size.budget));
            prop_assert!(asked.len() <= 9);
            match choose(&table) {
                None => prop_assert!(room < MEASURED_TOKENS_AT_LEAST),
                Some(Choice { query, ingest }) => {
                    prop_assert!(query <= room && ingest <= query);
                    let of = |budget| table.iter().find(|size| size.budget == budget).unwrap();
                    let best = table.iter().map(Measured::rate).fold(0.0, f64::max);
                    prop_assert!(of(query).rate() >= AS_GOOD * best);
                    let short = table.iter().any(|size| size.took <= MEASURED_INGEST_TIME);
                    prop_assert!(!short || of(ingest).took <= MEASURED_INGEST_TIME);
                }
            }
        }
    }
}
