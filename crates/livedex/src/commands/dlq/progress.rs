//! How far a replay is: a bar on a terminal, elsewhere a line every few seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use livedex_kafka::ReplaySummary;

use crate::commands::note;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// A replay's progress, on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    last_line: Instant,
}

impl Progress {
    /// Of `total` records at most.
    pub(super) fn start(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("replaying {bar:30} {pos}/{len} letters  {wide_msg:.dim}")
        {
            bar.set_style(style);
        }
        Self { bar, last_line: Instant::now() }
    }

    /// Shows what is done.
    pub(super) fn show(&mut self, summary: &ReplaySummary) {
        let text = format!("{} sent, {} skipped", summary.n_replayed(), summary.n_skipped());
        self.bar.set_position(summary.n_seen);
        if self.bar.is_hidden() && self.last_line.elapsed() >= EVERY {
            let total = self.bar.length().unwrap_or_default();
            note(&format!("looked at {} of {total} letters: {text}", summary.n_seen));
            self.last_line = Instant::now();
        }
        self.bar.set_message(text);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
