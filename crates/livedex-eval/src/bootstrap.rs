//! Intervals over queries, and quantiles.
//!
//! The percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
//! chapter 13): queries are drawn anew with replacement, as many as there are, many times over;
//! between the quantiles 2.5 % and 97.5 % of the means lies the interval. It says how far the figure
//! would move on other queries of the same kind, and nothing of other documents.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

/// How often queries are drawn anew: the ends of the interval then move by some percent of its
/// length with another seed.
pub const RESAMPLES: usize = 2000;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The mean over the queries.
    pub mean: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// The figures of several series that hold one value a query, all in the same order of queries:
/// the same queries are drawn for all of them. The series have one length; of none every figure is 0.
pub fn figures(series: &[Vec<f64>], seed: u64) -> Vec<Figure> {
    let n = series.first().map_or(0, Vec::len);
    if n == 0 {
        return vec![Figure { mean: 0.0, low: 0.0, high: 0.0 }; series.len()];
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut means = vec![Vec::with_capacity(RESAMPLES); series.len()];
    let mut drawn = vec![0; n];
    for _ in 0..RESAMPLES {
        drawn.iter_mut().for_each(|index| *index = random.random_range(0..n));
        for (values, means) in series.iter().zip(&mut means) {
            let sum: f64 = drawn.iter().map(|&index| values[index]).sum();
            means.push(sum / n as f64);
        }
    }
    let figure = |(values, mut means): (&Vec<f64>, Vec<f64>)| {
        means.sort_unstable_by(f64::total_cmp);
        Figure {
            mean: values.iter().sum::<f64>() / n as f64,
            low: quantile(&means, 0.025),
            high: quantile(&means, 0.975),
        }
    };
    series.iter().zip(means).map(figure).collect()
}

/// A quantile of values that are sorted, 0 for none; between two values it is interpolated, as
/// numpy does by default.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.95, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        for (q, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.95, 7.4), (1.0, 8.0)] {
            assert!((quantile(&values, q) - expected).abs() < 1e-12, "{q}");
        }
        assert_eq!((quantile(&[], 0.5), quantile(&[3.0], 0.95)), (0.0, 3.0));
    }

    #[test]
    fn an_interval_is_as_wide_as_theory_says() {
        // A fair coin, 400 times: the standard error is 0.5 / sqrt(400) = 0.025, and the interval
        // is 1.96 of them to each side.
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let found = figures(std::slice::from_ref(&values), 1)[0];
        assert_eq!(found.mean, 0.5);
        for side in [found.high - 0.5, 0.5 - found.low] {
            assert!((side - 0.049).abs() < 0.005, "{found:?}");
        }
        assert_eq!(found, figures(&[values], 1)[0], "the same seed");
    }

    #[test]
    fn a_difference_of_pairs_is_sure_where_each_is_not() {
        let one: Vec<f64> = (0..100).map(|index| f64::from(index % 10) / 20.0).collect();
        let two: Vec<f64> = one.iter().map(|value| value + 0.1).collect();
        let difference: Vec<f64> = one.iter().zip(&two).map(|(one, two)| two - one).collect();
        let found = figures(&[one, two, difference], 3);
        assert!(found[0].high - found[0].low > 0.05, "{found:?}");
        assert!(found[2].high - found[2].low < 1e-9, "{found:?}");
    }

    proptest! {
        #[test]
        fn an_interval_lies_within_the_values(
            values in prop::collection::vec(0.0..=1.0_f64, 1..30),
            seed in any::<u64>(),
        ) {
            let (lowest, highest) = (
                values.iter().copied().fold(1.0, f64::min),
                values.iter().copied().fold(0.0, f64::max),
            );
            let found = figures(&[values], seed)[0];
            prop_assert!(found.low <= found.high);
            prop_assert!(lowest - 1e-9 <= found.low && found.high <= highest + 1e-9);
        }
    }
}
