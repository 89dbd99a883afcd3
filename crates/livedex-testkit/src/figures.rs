//! Figures of a benchmark, as it prints them.

use std::io::Write as _;

/// A line on standard output.
pub fn say(line: &str) {
    // Nobody reads it any more: nothing to be done.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The smallest value that this part of all does not exceed; 0 if `sorted` is empty.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}
