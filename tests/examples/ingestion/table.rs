//! The results, as markdown.

use livedex_testkit::figures::{quantile, say};

/// Rates of contenders over the same `count` of things, round by round in seconds.
pub(crate) fn rates(title: &str, count: usize, things: &str, contenders: &[(&str, &Vec<f64>)]) {
    say(&format!("\n### {title}\n"));
    say(&format!("|  | {things}/s | beside the first |"));
    say("| --- | ---: | ---: |");
    let Some((_, reference)) = contenders.first() else { return };
    for (name, seconds) in contenders {
        let ratios = reference.iter().zip(*seconds).map(|(bare, own)| bare / own).collect();
        let rate = count as f64 / median((*seconds).clone());
        say(&format!("| {name} | {rate:.0} | {:.2} |", median(ratios)));
    }
    say(&format!("\n{count} {things} a round, {} rounds in turns, medians.", reference.len()));
}

/// The spread of delays, in seconds.
pub(crate) fn delays(title: &str, seconds: &[f64]) {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    say(&format!("\n### {title}\n"));
    say("| documents | p50 | p90 | p99 | worst |");
    say("| ---: | ---: | ---: | ---: | ---: |");
    let [p50, p90, p99, worst] = [0.5, 0.9, 0.99, 1.0].map(|part| quantile(&sorted, part));
    say(&format!("| {} | {p50:.3} s | {p90:.3} s | {p99:.3} s | {worst:.3} s |", sorted.len()));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
