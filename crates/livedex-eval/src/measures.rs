//! The measures of one ranking, as trec_eval has them (<https://github.com/usnistgov/trec_eval>);
//! `tests/reference.rs` compares them with pytrec_eval.
//!
//! A ranking is documents, best first, each once. A document counts as relevant if it is judged
//! above 0; one that is not judged, or below, counts as 0. A query without a relevant document gives
//! 0 everywhere, and is to be left out of means.

use serde::Serialize;

use crate::beir::Judged;

/// A measure with its cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Measure {
    /// The discounted gain of the first k documents, in parts of the best that is possible.
    Ndcg(usize),
    /// One divided by the rank of the first relevant document; 0 if it is not among the first k.
    ReciprocalRank(usize),
    /// How many of the first k documents are relevant, in parts of k.
    Precision(usize),
    /// How many of the relevant documents are among the first k, in parts of all of them.
    Recall(usize),
}

/// What a report shows, in this order.
pub const MEASURES: [Measure; 7] = [
    Measure::Ndcg(10),
    Measure::ReciprocalRank(10),
    Measure::Precision(1),
    Measure::Recall(5),
    Measure::Recall(10),
    Measure::Recall(50),
    Measure::Recall(100),
];

impl Measure {
    /// Its usual name, with the cut-off. The mean of reciprocal ranks is called MRR.
    pub fn name(self) -> String {
        match self {
            Self::Ndcg(k) => format!("nDCG@{k}"),
            Self::ReciprocalRank(k) => format!("MRR@{k}"),
            Self::Precision(k) => format!("P@{k}"),
            Self::Recall(k) => format!("recall@{k}"),
        }
    }

    /// The measure of one ranking, 0..=1.
    pub fn of(self, ranking: &[&str], judged: &Judged) -> f64 {
        match self {
            Self::Ndcg(k) => ndcg(ranking, judged, k),
            Self::ReciprocalRank(k) => reciprocal_rank(ranking, judged, k),
            Self::Precision(k) => ratio(found(ranking, judged, k), k),
            Self::Recall(k) => ratio(found(ranking, judged, k), n_relevant(judged)),
        }
    }
}

/// trec_eval's `ndcg_cut`: the gain is the judgement itself, not a power of two of it, and the
/// discount of rank r is log2(r + 1).
fn ndcg(ranking: &[&str], judged: &Judged, k: usize) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = i64>| -> f64 {
        let gains = gains.take(k).enumerate();
        gains.map(|(index, gain)| gain.max(0) as f64 / ((index + 2) as f64).log2()).sum()
    };
    let mut best: Vec<i64> = judged.values().copied().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let ideal = discounted(&mut best.into_iter());
    if ideal == 0.0 {
        return 0.0;
    }
    discounted(&mut ranking.iter().map(|id| judged.get(*id).copied().unwrap_or(0))) / ideal
}

fn reciprocal_rank(ranking: &[&str], judged: &Judged, k: usize) -> f64 {
    let first = ranking.iter().take(k).position(|id| is_relevant(judged, id));
    first.map_or(0.0, |index| 1.0 / (index + 1) as f64)
}

/// Relevant documents among the first k.
fn found(ranking: &[&str], judged: &Judged, k: usize) -> usize {
    ranking.iter().take(k).filter(|id| is_relevant(judged, id)).count()
}

fn is_relevant(judged: &Judged, id: &str) -> bool {
    judged.get(id).is_some_and(|&score| score > 0)
}

fn n_relevant(judged: &Judged) -> usize {
    judged.values().filter(|score| **score > 0).count()
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(scores: &[i64]) -> Judged {
        scores.iter().enumerate().map(|(index, score)| (index.to_string(), *score)).collect()
    }

    #[test]
    fn graded_gains_are_linear() {
        let judged = judged(&[2, 1, 0, -1]);
        let ideal = 2.0 + 1.0 / 3.0_f64.log2();
        let found = Measure::Ndcg(10).of(&["3", "1", "0"], &judged);
        assert!((found - (1.0 / 3.0_f64.log2() + 2.0 / 2.0) / ideal).abs() < 1e-12, "{found}");
        assert_eq!(Measure::ReciprocalRank(10).of(&["3", "1", "0"], &judged), 0.5);
        assert_eq!(Measure::Precision(1).of(&["0"], &judged), 1.0);
        assert_eq!(Measure::Recall(5).of(&["0", "2", "3"], &judged), 0.5);
    }

    #[test]
    fn nothing_found_and_nothing_to_find_are_0() {
        for measure in MEASURES {
            assert_eq!(measure.of(&[], &judged(&[1])), 0.0, "{}", measure.name());
            assert_eq!(measure.of(&["0"], &judged(&[0, -2])), 0.0, "{}", measure.name());
        }
    }

    fn any_measure() -> impl Strategy<Value = Measure> {
        (0..4_usize, 1..12_usize).prop_map(|(which, k)| match which {
            0 => Measure::Ndcg(k),
            1 => Measure::ReciprocalRank(k),
            2 => Measure::Precision(k),
            _ => Measure::Recall(k),
        })
    }

    proptest! {
        /// Nothing is below 0 or above 1, and the best order reaches 1 where that is possible.
        #[test]
        fn measures_have_bounds(
            scores in prop::collection::vec(-1_i64..4, 1..15),
            order in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle(),
            measure in any_measure(),
        ) {
            let judged = judged(&scores);
            let ids: Vec<String> = order.iter().map(usize::to_string).collect();
            let ranking: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found = measure.of(&ranking, &judged);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&found), "{found}");
            if n_relevant(&judged) == 0 {
                prop_assert_eq!(found, 0.0);
                return Ok(());
            }
            let mut best = ranking.clone();
            best.sort_by_key(|id| -judged.get(*id).copied().unwrap_or(0).max(0));
            let highest = measure.of(&best, &judged);
            prop_assert!(found <= highest + 1e-12);
            let is_reachable = match measure {
                Measure::Ndcg(_) | Measure::ReciprocalRank(_) => true,
                Measure::Precision(k) => n_relevant(&judged) >= k,
                Measure::Recall(k) => n_relevant(&judged) <= k,
            };
            if is_reachable {
                prop_assert!((highest - 1.0).abs() < 1e-12, "{highest}");
            }
        }

        /// A more relevant document that moves up never makes a ranking worse, and a longer look
        /// never finds less.
        #[test]
        fn measures_are_monotonic(
            scores in prop::collection::vec(0_i64..4, 2..15),
            order in Just((0..15_usize).collect::<Vec<_>>()).prop_shuffle(),
            at in 0..14_usize,
            measure in any_measure(),
        ) {
            let judged = judged(&scores);
            let ids: Vec<String> = order.iter().map(usize::to_string).collect();
            let ranking: Vec<&str> = ids.iter().map(String::as_str).collect();
            let gain = |id: &str| judged.get(id).copied().unwrap_or(0);
            let mut better = ranking.clone();
            if gain(better[at]) < gain(better[at + 1]) {
                better.swap(at, at + 1);
            }
            prop_assert!(measure.of(&better, &judged) >= measure.of(&ranking, &judged) - 1e-12);
            for k in 1..15 {
                for longer in [Measure::Recall, Measure::ReciprocalRank] {
                    prop_assert!(longer(k + 1).of(&ranking, &judged) >= longer(k).of(&ranking, &judged));
                }
            }
        }
    }
}
