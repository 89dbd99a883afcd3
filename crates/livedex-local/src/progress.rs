//! What a person sees while something takes long: bars on a terminal, plain lines elsewhere.
#![allow(clippy::print_stderr, reason = "this is the one module that shows progress")]

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress is shown. Standard output stays free for results: all of it goes to standard error.
#[derive(Clone, Debug)]
pub struct Progress {
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Mode {
    Silent,
    Plain,
    Terminal(MultiProgress),
}

impl Progress {
    /// Bars if standard error is a terminal, else a line for each finished step.
    pub fn console() -> Self {
        let mode = if std::io::stderr().is_terminal() {
            Mode::Terminal(MultiProgress::new())
        } else {
            Mode::Plain
        };
        Self { mode }
    }

    /// Shows nothing.
    pub const fn silent() -> Self {
        Self { mode: Mode::Silent }
    }

    /// Writes a line of its own, above what is still moving.
    pub fn line(&self, text: &str) {
        match &self.mode {
            Mode::Silent => {}
            Mode::Plain => eprintln!("{text}"),
            // Not by its own println, which fills the line to the edge: what another stream prints
            // next would begin there.
            Mode::Terminal(bars) => bars.suspend(|| eprintln!("{text}")),
        }
    }

    /// Begins a step that takes a while; `total` is its length if that is known.
    /// The step is shown until it is [`Step::done`] or dropped.
    pub fn begin(&self, text: &str, total: Option<u64>) -> Step {
        let bar = match &self.mode {
            Mode::Silent => None,
            Mode::Plain => {
                if total.is_some() {
                    eprintln!("    {text} ...");
                }
                None
            }
            Mode::Terminal(bars) => {
                let bar = bars.add(match total {
                    Some(total) => ProgressBar::new(total),
                    None => ProgressBar::new_spinner(),
                });
                bar.set_style(style(total.is_some()));
                bar.set_prefix(text.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                Some(bar)
            }
        };
        Step { progress: self.clone(), bar, started: Instant::now() }
    }
}

fn style(bar: bool) -> ProgressStyle {
    let template = if bar {
        "  {spinner:.cyan} {prefix} {bar:28.cyan/dim} {pos}/{len} {elapsed:.dim} {wide_msg:.dim}"
    } else {
        "  {spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg:.dim}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A step in progress.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Step {
    /// What it is at right now.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// How far it is, of the total it began with.
    pub fn position(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Changes the total.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Ends it with a line that stays: what was reached, and how long it took.
    pub fn done(self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.clear();
        self.progress.line(&format!("  ✓ {text} ({seconds:.1} s)"));
    }

    /// Ends it with a line that stays, which says itself how long it took.
    pub fn done_as(self, text: &str) {
        self.clear();
        self.progress.line(&format!("  ✓ {text}"));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.clear();
    }
}
