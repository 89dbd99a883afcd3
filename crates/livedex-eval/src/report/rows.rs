//! What the table and the page show, in words: both take it from here, so they say the same.

use super::{Latency, Report};
use crate::bootstrap::Figure;

/// A table: its header and its rows, as many cells each.
pub(super) struct Rows {
    /// What it is about.
    pub(super) title: String,
    /// The names of the columns.
    pub(super) header: Vec<String>,
    /// The cells.
    pub(super) rows: Vec<Vec<String>>,
}

/// Both stages, a row for each measure.
pub(super) fn stages(report: &Report) -> Rows {
    let figures = &report.figures;
    let mut header = vec!["".to_owned(), "stage 1".to_owned()];
    if figures.two_stage.is_some() {
        header.push(format!("two-stage, k = {}", report.how.candidates));
        header.push("difference".to_owned());
    }
    let row = |index: usize| {
        let (measure, first) = figures.stage_1.0[index];
        let mut row = vec![measure.name(), interval(first)];
        if let (Some(both), Some(difference)) = (&figures.two_stage, &figures.difference) {
            row.push(interval(both.0[index].1));
            row.push(signed_interval(difference.0[index].1));
        }
        row
    };
    Rows {
        title: "Both stages".to_owned(),
        header,
        rows: (0..figures.stage_1.0.len()).map(row).collect(),
    }
}

/// What more candidates bring and what they cost: a row for each number whose time was measured.
pub(super) fn candidates(report: &Report) -> Rows {
    let has_second = report.figures.two_stage.is_some();
    let mut header = vec!["candidates k", "recall of the candidates"];
    if has_second {
        header.extend(["nDCG@10", "gain over stage 1"]);
    }
    header.extend(["p50 ms", "p95 ms", "embed", "search"]);
    if has_second {
        header.push("rerank");
    }
    header.push("requests");
    Rows {
        title: "Candidates".to_owned(),
        header: header.into_iter().map(str::to_owned).collect(),
        rows: report.latency.iter().map(|latency| of_latency(report, latency)).collect(),
    }
}

fn of_latency(report: &Report, latency: &Latency) -> Vec<String> {
    let has_second = report.figures.two_stage.is_some();
    let none = || "-".to_owned();
    let point = latency
        .candidates
        .and_then(|k| report.figures.curve.iter().find(|point| point.candidates == k));
    let mut row = vec![label(latency), point.map_or_else(none, |point| interval(point.recall))];
    if has_second {
        let stage_1 = report.figures.stage_1.get(crate::figures::CURVE);
        let ndcg = match latency.candidates {
            Some(_) => point.and_then(|point| point.ndcg),
            None => stage_1,
        };
        row.push(ndcg.map_or_else(none, interval));
        row.push(point.and_then(|point| point.gain).map_or_else(none, signed_interval));
    }
    let time = |value: f64| if latency.requests == 0 { none() } else { millis(value) };
    row.extend(
        [latency.p50_ms, latency.p95_ms, latency.embed_p50_ms, latency.search_p50_ms].map(time),
    );
    if has_second {
        row.push(latency.rerank_p50_ms.map_or_else(none, millis));
    }
    row.push(match latency.failed {
        0 => latency.requests.to_string(),
        failed => format!("{} and {failed} failed", latency.requests),
    });
    row
}

/// Every point of the curves.
pub(super) fn curve(report: &Report) -> Rows {
    let has_second = report.figures.two_stage.is_some();
    let mut header = vec!["candidates k", "recall of the candidates"];
    if has_second {
        header.extend(["nDCG@10", "gain over stage 1"]);
    }
    let rows = report.figures.curve.iter().map(|point| {
        let mut row = vec![point.candidates.to_string(), interval(point.recall)];
        row.extend(point.ndcg.map(interval));
        row.extend(point.gain.map(signed_interval));
        row
    });
    Rows {
        title: "Every point of the curves".to_owned(),
        header: header.into_iter().map(str::to_owned).collect(),
        rows: rows.collect(),
    }
}

/// How it was measured: what, and its value.
pub(super) fn how(report: &Report) -> Vec<(&'static str, String)> {
    let (set, how) = (&report.set, &report.how);
    let model = |model: &super::Model| format!("{} ({})", model.name, model.fingerprint);
    let mut rows = vec![
        ("date", how.date.clone()),
        ("livedex", how.version.clone()),
        ("embedder", model(&how.embedder)),
        ("reranker", how.reranker.as_ref().map_or_else(|| "none".to_owned(), model)),
        ("fusion", how.fusion.clone()),
        ("documents", counted(set.documents, &[(set.empty_documents, "without a text")])),
        ("chunks", chunks(report)),
        ("collection", how.collection.clone()),
        (
            "queries",
            counted(
                set.asked,
                &[
                    (set.queries, "in the file"),
                    (set.queries_without_relevant, "of them without a relevant document, left out"),
                ],
            ),
        ),
        ("relevant", counted(set.relevant, &[(set.relevant_missing, "not in the corpus")])),
        ("candidates", format!("{}, of {} that were asked for", how.candidates, how.depth)),
        (
            "intervals",
            format!("95 %, {} bootstrap samples of the queries, seed {}", how.resamples, how.seed),
        ),
    ];
    if let Some(seconds) = how.ingestion_seconds {
        rows.push(("ingestion", format!("{seconds:.1} s")));
    }
    let derived = report
        .latency
        .iter()
        .fold((0, 0), |(same, all), latency| (same + latency.as_derived, all + latency.requests));
    if derived.1 > 0 {
        let text = format!(
            "{} of {} timed answers had the hits that the curves take",
            derived.0, derived.1
        );
        rows.push(("check", text));
    }
    rows
}

fn chunks(report: &Report) -> String {
    let (n, depth) = (report.how.chunks, report.how.depth as u64);
    let words = n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let all = match n.is_some_and(|n| n < depth) {
        true => "; more candidates than these there are not",
        false => "",
    };
    format!("{words}, of {} tokens at most{all}", report.how.chunk_tokens)
}

/// A number, with those beside it that are not 0.
fn counted(n: usize, beside: &[(usize, &str)]) -> String {
    let beside: Vec<String> =
        beside.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if beside.is_empty() { n.to_string() } else { format!("{n} ({})", beside.join(", ")) }
}

fn label(latency: &Latency) -> String {
    latency.candidates.map_or_else(|| "stage 1 only".to_owned(), |k| k.to_string())
}

fn interval(figure: Figure) -> String {
    format!("{} [{}, {}]", share(figure.mean), share(figure.low), share(figure.high))
}

fn signed_interval(figure: Figure) -> String {
    format!("{} [{}, {}]", signed(figure.mean), signed(figure.low), signed(figure.high))
}

/// Three digits, as papers have them.
fn share(value: f64) -> String {
    let text = format!("{value:.3}");
    if text == "-0.000" { "0.000".to_owned() } else { text }
}

/// With its sign, unless it is 0 to three digits.
fn signed(value: f64) -> String {
    let text = share(value);
    if value > 0.0 && text != "0.000" { format!("+{text}") } else { text }
}

/// As exact as a time needs to be.
fn millis(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_differences_a_sign() {
        assert_eq!((share(0.12345), share(-0.0001)), ("0.123".to_owned(), "0.000".to_owned()));
        assert_eq!(signed(0.0604), "+0.060");
        assert_eq!((signed(-0.5), signed(0.0001)), ("-0.500".to_owned(), "0.000".to_owned()));
        assert_eq!((millis(3.1234), millis(1234.5)), ("3.1".to_owned(), "1234".to_owned()));
        assert_eq!(counted(5, &[(0, "a"), (2, "b")]), "5 (2 b)");
    }
}
