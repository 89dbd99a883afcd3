//! The measures beside pytrec_eval's and ir-measures', on random rankings and judgements
//! (`fixtures/make.py` writes them).

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;

use livedex_eval::{beir::Judged, measures::Measure};
use serde::Deserialize;

/// Both compute in f64; the order of additions differs.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Fixture {
    means: BTreeMap<String, f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    judged: Judged,
    ranking: Vec<String>,
    expected: BTreeMap<String, f64>,
}

impl Case {
    fn measure(&self, measure: Measure) -> f64 {
        let ranking: Vec<&str> = self.ranking.iter().map(String::as_str).collect();
        measure.of(&ranking, &self.judged)
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/measures.json")).unwrap()
}

fn parse(name: &str) -> Measure {
    let (name, k) = name.split_once('@').unwrap();
    let k = k.parse().unwrap();
    match name {
        "nDCG" => Measure::Ndcg(k),
        "MRR" => Measure::ReciprocalRank(k),
        "P" => Measure::Precision(k),
        "recall" => Measure::Recall(k),
        other => panic!("{other}"),
    }
}

#[test]
fn every_measure_of_every_ranking_is_that_of_pytrec_eval() {
    let fixture = fixture();
    let mut compared = 0;
    for (index, case) in fixture.cases.iter().enumerate() {
        for (name, expected) in &case.expected {
            let found = case.measure(parse(name));
            assert!((found - expected).abs() < TOLERANCE, "{index} {name}: {found} {expected}");
            compared += 1;
        }
    }
    // 120 rankings, 16 numbers each; most of them neither 0 nor 1.
    assert_eq!(compared, 120 * 16);
    let between = |value: &&f64| **value > 0.0 && **value < 1.0;
    let n = fixture.cases.iter().flat_map(|case| case.expected.values()).filter(between).count();
    assert!(n > 600, "{n}");
}

#[test]
fn means_are_those_of_ir_measures() {
    let fixture = fixture();
    assert_eq!(fixture.means.len(), 4);
    for (name, expected) in &fixture.means {
        let measured = fixture.cases.iter().map(|case| case.measure(parse(name)));
        let found = measured.sum::<f64>() / fixture.cases.len() as f64;
        assert!((found - expected).abs() < TOLERANCE, "{name}: {found} {expected}");
    }
}
