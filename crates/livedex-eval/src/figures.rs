//! All answers to the figures of both stages.

use livedex_core::{query::Mode, ranking::Fusion};
use serde::{Serialize, Serializer};

use crate::{
    DEPTH,
    answer::Answer,
    beir::{Judged, Qrels},
    bootstrap::{self, Figure},
    measures::{MEASURES, Measure},
};

/// Numbers of candidates that the curves have a point at; every one that a table shows is there.
const POINTS: [usize; 20] =
    [1, 2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100];

/// What the curves are of.
pub const CURVE: Measure = Measure::Ndcg(10);

/// A query that was asked, and its answer. A query that failed has an empty one: it found nothing,
/// and counts as that.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The query's id; it has a relevant document.
    pub query: String,
    /// What came back.
    pub answer: Answer,
}

/// How rankings are made of answers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Candidates of the two-stage figures, 1..=[`DEPTH`].
    pub candidates: usize,
    /// How stage 1 searches.
    pub mode: Mode,
    /// The service's fusion.
    pub fusion: Fusion,
    /// Whether there is a second stage.
    pub has_reranker: bool,
    /// What queries are drawn anew with.
    pub seed: u64,
}

/// The figure of each of [`MEASURES`]. As JSON it is an object with their names, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures(pub Vec<(Measure, Figure)>);

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(measure, figure)| (measure.name(), figure)))
    }
}

impl Figures {
    /// The figure of one of them.
    pub fn get(&self, measure: Measure) -> Option<Figure> {
        self.0.iter().find(|(one, _)| *one == measure).map(|(_, figure)| *figure)
    }
}

/// Both stages at one number of candidates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Candidates: chunks that stage 1 hands to stage 2.
    pub candidates: usize,
    /// Relevant documents that have a chunk among them, in parts of all relevant ones. Stage 2
    /// cannot find more.
    pub recall: Figure,
    /// nDCG@10 after both stages; absent without a second one.
    #[serde(skip_serializing_if = "Option::is_none", rename = "ndcg@10")]
    pub ndcg: Option<Figure>,
    /// Its gain over stage 1, query by query.
    #[serde(skip_serializing_if = "Option::is_none", rename = "ndcg@10_gain")]
    pub gain: Option<Figure>,
}

/// The figures of all queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// Stage 1 alone.
    pub stage_1: Figures,
    /// Both stages; absent without a second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub two_stage: Option<Figures>,
    /// Two-stage minus stage 1, query by query: an interval without 0 is a difference that other
    /// queries of this kind would show as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Figures>,
    /// Over the number of candidates, ascending.
    pub curve: Vec<Point>,
}

/// Measures every answer, and takes means and intervals.
pub fn evaluate(asked: &[Asked], qrels: &Qrels, settings: Settings) -> Evaluated {
    let nothing = Judged::new();
    let judged = |one: &Asked| qrels.get(&one.query).unwrap_or(&nothing);
    let each = |value: &dyn Fn(&Asked, &Judged) -> f64| -> Vec<f64> {
        asked.iter().map(|one| value(one, judged(one))).collect()
    };
    let stage_1 = |measure: Measure| {
        each(&|one, judged| measure.of(&one.answer.stage_1().documents(DEPTH), judged))
    };
    // Ranked once for all measures.
    let two_stage = |measures: &[Measure], candidates: usize| -> Vec<Vec<f64>> {
        let mut values = vec![Vec::with_capacity(asked.len()); measures.len()];
        for one in asked {
            let ranking = one.answer.two_stage(candidates, settings.fusion);
            let documents = ranking.documents(DEPTH);
            for (measure, values) in measures.iter().zip(&mut values) {
                values.push(measure.of(&documents, judged(one)));
            }
        }
        values
    };

    let n = MEASURES.len();
    let first: Vec<Vec<f64>> = MEASURES.iter().map(|measure| stage_1(*measure)).collect();
    let mut series = first.clone();
    if settings.has_reranker {
        let both = two_stage(&MEASURES, settings.candidates);
        let gains: Vec<Vec<f64>> =
            first.iter().zip(&both).map(|(first, both)| difference(first, both)).collect();
        series.extend(both);
        series.extend(gains);
    }
    let of_curve = stage_1(CURVE);
    let points = points(settings.candidates);
    for &k in &points {
        series.push(each(&|one, judged| {
            Measure::Recall(DEPTH).of(&one.answer.stage_1().documents(k), judged)
        }));
        if settings.has_reranker {
            let both = two_stage(&[CURVE], k);
            let gain = difference(&of_curve, &both[0]);
            series.extend(both);
            series.push(gain);
        }
    }

    let mut found = bootstrap::figures(&series, settings.seed).into_iter();
    let mut table = || Figures(MEASURES.into_iter().zip(found.by_ref().take(n)).collect());
    let stage_1 = table();
    let two_stage = settings.has_reranker.then(&mut table);
    let difference = settings.has_reranker.then(&mut table);
    let curve = points
        .into_iter()
        .filter_map(|candidates| {
            let recall = found.next()?;
            let mut second = || if settings.has_reranker { found.next() } else { None };
            let (ndcg, gain) = (second(), second());
            Some(Point { candidates, recall, ndcg, gain })
        })
        .collect();
    Evaluated { stage_1, two_stage, difference, curve }
}

/// Where the curves have a point.
fn points(candidates: usize) -> Vec<usize> {
    let mut points: Vec<usize> = POINTS.into_iter().chain([candidates]).collect();
    points.sort_unstable();
    points.dedup();
    points
}

fn difference(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| other - one).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use livedex_core::ids::{ChunkId, DocumentId};

    use super::*;
    use crate::answer::Scored;

    /// Documents by falling similarity; the relevant one is the last of them, and stage 2 says so.
    fn asked(query: &str, n: usize, relevant: usize) -> Asked {
        let chunk = |index: usize| Scored {
            chunk: ChunkId::from_stored(format!("{index:03}")),
            document: DocumentId::new(format!("d{index}")).unwrap(),
            similarity: 1.0 - index as f32 / 200.0,
            probability: Some(if index == relevant { 0.9 } else { 0.1 }),
        };
        Asked {
            query: query.to_owned(),
            answer: Answer::new((0..n).map(chunk).collect(), Mode::Dense),
        }
    }

    fn qrels(queries: &[(&str, usize)]) -> Qrels {
        let judged = |relevant| Judged::from([(format!("d{relevant}"), 1)]);
        queries.iter().map(|(query, document)| ((*query).to_owned(), judged(document))).collect()
    }

    const SETTINGS: Settings = Settings {
        candidates: 6,
        mode: Mode::Dense,
        fusion: Fusion::Rerank,
        has_reranker: true,
        seed: 7,
    };

    #[test]
    fn the_second_stage_lifts_what_the_first_has_found() {
        let all = [asked("a", 100, 4), asked("b", 100, 20)];
        let found = evaluate(&all, &qrels(&[("a", 4), ("b", 20)]), SETTINGS);
        let mean = |figures: &Figures, measure| figures.get(measure).unwrap().mean;
        let ndcg_of_rank = |rank: f64| 1.0 / (rank + 1.0).log2();
        let first = ndcg_of_rank(5.0) / 2.0;
        assert!((mean(&found.stage_1, CURVE) - first).abs() < 1e-12);
        let (both, gain) = (found.two_stage.unwrap(), found.difference.unwrap());
        assert!((mean(&both, CURVE) - 0.5).abs() < 1e-12, "{both:?}");
        assert!((mean(&gain, CURVE) - (0.5 - first)).abs() < 1e-12, "{gain:?}");
        assert_eq!(mean(&found.stage_1, Measure::Recall(50)), 1.0);
        // Stage 2 does not see the document at rank 21.
        assert_eq!(mean(&both, Measure::Recall(50)), 0.5);

        let ks: Vec<usize> = found.curve.iter().map(|point| point.candidates).collect();
        assert!(ks.is_sorted() && ks.contains(&6) && ks.contains(&100), "{ks:?}");
        for point in &found.curve {
            let n_found = usize::from(point.candidates > 4) + usize::from(point.candidates > 20);
            assert_eq!(point.recall.mean, n_found as f64 / 2.0, "{point:?}");
            assert_eq!(point.ndcg.unwrap().mean, n_found as f64 / 2.0, "{point:?}");
        }
    }

    #[test]
    fn a_query_that_failed_found_nothing() {
        let failed = Asked { query: "b".to_owned(), answer: Answer::default() };
        let found = evaluate(&[asked("a", 3, 0), failed], &qrels(&[("a", 0), ("b", 1)]), SETTINGS);
        assert_eq!(found.stage_1.get(CURVE).unwrap().mean, 0.5);
        assert_eq!(found.two_stage.unwrap().get(Measure::Recall(5)).unwrap().mean, 0.5);
    }

    #[test]
    fn without_a_second_stage_there_are_no_figures_of_it() {
        let settings = Settings { has_reranker: false, ..SETTINGS };
        let found = evaluate(&[asked("a", 10, 4)], &qrels(&[("a", 4)]), settings);
        assert!(found.two_stage.is_none() && found.difference.is_none());
        assert!(found.curve.iter().all(|point| point.ndcg.is_none() && point.gain.is_none()));
        assert_eq!(found.curve.last().unwrap().recall.mean, 1.0);
    }
}
