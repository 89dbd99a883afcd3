#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;

use dom_query::Document;
use livedex_core::{
    ids::{ChunkId, DocumentId},
    query::Mode,
    ranking::Fusion,
};
use serde_json::Value;

use super::*;
use crate::{
    answer::{Answer, Scored},
    beir::{Judged, Qrels},
    figures::{Asked, Settings, evaluate},
};

/// A report on 30 queries that are answered well and badly, with everything that may go wrong.
fn report(has_reranker: bool) -> Report {
    let (mut asked, mut qrels) = (Vec::new(), Qrels::new());
    for query in 0..30_usize {
        let scored = |index: usize| Scored {
            chunk: ChunkId::from_stored(format!("{query}-{index:03}")),
            document: DocumentId::new(format!("d{}", index / 2)).unwrap(),
            similarity: 1.0 - index as f32 / 100.0,
            probability: has_reranker.then(|| ((index * 7 + query * 3) % 31) as f32 / 31.0),
        };
        let answer = Answer::new((0..100).map(scored).collect(), Mode::Dense);
        asked.push(Asked { query: query.to_string(), answer });
        qrels.insert(
            query.to_string(),
            Judged::from([(format!("d{}", query), 1), ("gone".into(), 1)]),
        );
    }
    let settings =
        Settings { candidates: 40, mode: Mode::Dense, fusion: Fusion::Mean, has_reranker, seed: 5 };
    let model = |name: &str| Model { name: name.to_owned(), fingerprint: format!("{name}-print") };
    let times = |k: f64| -> Vec<Times> {
        let one = |index: f64| Times {
            total: 7.0 + k + index,
            embed: 2.5,
            search: 3.5,
            rerank: (k > 0.0).then_some(k),
        };
        (0..20).map(|index| one(f64::from(index))).collect()
    };
    let mut latency = vec![Latency::of(None, &times(0.0), 0, 20)];
    if has_reranker {
        latency.extend([10, 40, 100].map(|k| Latency::of(Some(k), &times(k as f64), 2, 19)));
    }
    Report {
        set: SetInfo {
            name: "a <set> & more".to_owned(),
            documents: 51,
            empty_documents: 2,
            queries: 33,
            queries_without_relevant: 3,
            asked: 30,
            relevant: 60,
            relevant_missing: 30,
        },
        how: How {
            date: "2026-05-01T12:00:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            embedder: model("embedder"),
            reranker: has_reranker.then(|| model("reranker")),
            fusion: "mean".to_owned(),
            candidates: 40,
            depth: 100,
            chunk_tokens: 200,
            collection: "livedex_eval_a".to_owned(),
            chunks: Some(102),
            ingestion_seconds: Some(1.25),
            seed: 5,
            resamples: How::RESAMPLES,
        },
        trouble: Trouble {
            dead_letters: 1,
            failed: 2,
            first_error: Some("no answer <in time>".to_owned()),
            degraded: BTreeMap::from([("deadline".to_owned(), 3)]),
            other_order: 0,
        },
        figures: evaluate(&asked, &qrels, settings),
        latency,
    }
}

/// What looks like a number in a text.
fn numbers(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_digit() || "+-.".contains(c);
    let words = text.split(|c| !is_part(c)).map(|word| word.trim_end_matches('.'));
    words.filter(|word| word.parse::<f64>().is_ok()).map(str::to_owned).collect()
}

#[test]
fn the_page_is_well_formed_and_shows_every_number_of_the_table() {
    for has_reranker in [true, false] {
        let report = report(has_reranker);
        let (table, page) = (table::render(&report), page::render(&report).unwrap());
        let document = Document::from(page.as_str());
        assert!(document.errors.borrow().is_empty(), "{:?}", document.errors);
        for element in ["script", "link", "img", "iframe"] {
            assert!(!document.select(element).exists(), "{element}");
        }
        let text: Vec<String> = document
            .select("h1, p, caption, th, td, dt, dd")
            .iter()
            .map(|element| element.text().to_string())
            .collect();
        let (shown, wanted) = (numbers(&text.join(" \n ")), numbers(&table));
        assert!(wanted.len() > 30, "{table}");
        let missing: Vec<_> = wanted.difference(&shown).collect();
        assert!(missing.is_empty(), "{missing:?}\n{table}");
        assert_eq!(document.select("h1").text().to_string(), "Livedex on a <set> & more");
        for what in ["embedder-print", "livedex_eval_a", "2026-05-01T12:00:00Z", "mean"] {
            assert!(document.select("dl").text().contains(what), "{what}");
        }
        assert_eq!(document.select(".warning").length(), 3);
        let n_plots = if has_reranker { 3 } else { 2 };
        assert_eq!(document.select("figure svg").length(), n_plots);
    }
}

#[test]
fn plots_have_axes_units_and_a_legend_in_colours_that_the_page_knows() {
    let page = page::render(&report(true)).unwrap();
    let document = Document::from(page.as_str());
    let plots: Vec<String> =
        document.select("figure svg").iter().map(|svg| svg.text().to_string()).collect();
    let words = [
        ["nDCG@10", "two-stage", "stage 1"].as_slice(),
        &["recall", "recall of the candidates"],
        &["milliseconds", "p50", "p95"],
    ];
    for (plot, words) in plots.iter().zip(words) {
        for word in words.iter().chain(&["candidates k", "k = 40", "100"]) {
            assert!(plot.contains(word), "{word}: {plot}");
        }
    }
    // Every colour of the plots has a rule, or it would be unreadable on a dark page.
    for attribute in ["fill", "stroke"] {
        for part in page.split(&format!(" {attribute}=\"#")).skip(1) {
            let rule = format!("svg [{attribute}=\"#{}\"]", &part[..6]);
            assert!(page.contains(&rule), "{rule}");
        }
    }
}

#[test]
fn the_table_warns_and_knows_a_single_stage() {
    let text = table::render(&report(true));
    for line in [
        "WARNING: 1 documents became dead letters",
        "WARNING: 2 queries failed and count as having found nothing; the first: no answer",
        "WARNING: 3 answers were not reranked (deadline)",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("two-stage, k = 40") && text.contains("20 and 2 failed"), "{text}");
    let single = table::render(&report(false));
    assert!(!single.contains("two-stage") && single.contains("reranker    none"), "{single}");
}

#[test]
fn json_has_the_figures_by_name() {
    let json: Value = serde_json::to_value(report(true)).unwrap();
    let names: Vec<&String> = json["figures"]["stage_1"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 7);
    for part in ["stage_1", "two_stage", "difference"] {
        assert!(json["figures"][part]["nDCG@10"]["low"].is_number(), "{part}");
    }
    let point = &json["figures"]["curve"][3];
    assert!(point["recall"]["mean"].is_number() && point["ndcg@10"]["high"].is_number());
    assert_eq!(json["latency"][0].get("candidates"), None);
    assert_eq!(json["latency"][1]["candidates"], 10);
    assert_eq!(json["latency"][1]["p50_ms"], 26.5);
    assert_eq!(json["trouble"]["degraded"]["deadline"], 3);
}
