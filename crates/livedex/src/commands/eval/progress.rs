//! A bar on a terminal, log lines elsewhere.

use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use crate::telemetry;

/// How often a line is logged.
const LINE: Duration = Duration::from_secs(5);

/// How far a step is. Dropping it takes the bar away.
pub(super) struct Progress {
    what: &'static str,
    bar: ProgressBar,
    is_terminal: bool,
    logged: Cell<Instant>,
}

impl Progress {
    /// `what` is done `total` times.
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = match is_terminal {
            true => telemetry::bars().add(ProgressBar::new(total as u64)),
            false => {
                info!(total, "{what}");
                ProgressBar::hidden()
            }
        };
        bar.set_length(total as u64);
        let template = "{spinner:.cyan} {prefix} {bar:28.cyan/dim} {pos}/{len} {eta:.dim} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self { what, bar, is_terminal, logged: Cell::new(Instant::now()) }
    }

    /// Once more.
    pub(super) fn step(&self) {
        self.bar.inc(1);
        if !self.is_terminal && self.logged.get().elapsed() >= LINE {
            self.logged.set(Instant::now());
            info!(done = self.bar.position(), total = self.bar.length(), "{}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
