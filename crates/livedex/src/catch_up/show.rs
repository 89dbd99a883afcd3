//! Progress: bars on a terminal, log lines elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{FormattedDuration, ProgressBar, ProgressStyle};
use livedex_ingest::Summary;
use livedex_kafka::CatchUp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::pace::Pace;
use crate::{stream::Stream, telemetry};

/// How often a bar moves.
const BAR: Duration = Duration::from_millis(200);

/// How often a line is logged.
const LINE: Duration = Duration::from_secs(5);

/// Shows how far the streams are until it is `over`.
pub(crate) async fn show(streams: Vec<Stream>, over: CancellationToken) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut ticks = tokio::time::interval(if is_terminal { BAR } else { LINE });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when there is nothing to say yet.
    ticks.tick().await;
    let mut shown: Vec<Shown> =
        streams.into_iter().map(|stream| Shown::new(stream, is_terminal)).collect();
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        for one in &mut shown {
            one.update(Instant::now());
        }
    }
}

struct Shown {
    stream: Stream,
    pace: Pace,
    bar: Option<ProgressBar>,
}

impl Shown {
    fn new(stream: Stream, is_terminal: bool) -> Self {
        let bar = is_terminal.then(|| {
            let bar = telemetry::bars().add(ProgressBar::new_spinner());
            bar.set_prefix(stream.name.clone());
            bar.set_style(style("{spinner:.cyan} {prefix} {wide_msg:.dim}"));
            bar.set_message("waiting for partitions");
            bar
        });
        Self { stream, pace: Pace::default(), bar }
    }

    fn update(&mut self, now: Instant) {
        let Some(at) = self.stream.source.catch_up() else {
            match &self.bar {
                Some(bar) => bar.tick(),
                None => info!(stream = self.stream.name, "waiting for partitions"),
            }
            return;
        };
        let summary = self.stream.progress.summary();
        self.pace.note(now, at.done, summary.tokens_embedded);
        let left = self.pace.left(at.total);
        let tokens = self.pace.tokens_per_second();
        match &self.bar {
            Some(bar) => {
                if bar.length() != Some(at.total) {
                    bar.set_length(at.total);
                    bar.set_style(style(
                        "{spinner:.cyan} {prefix} {bar:28.cyan/dim} {pos}/{len} {wide_msg:.dim}",
                    ));
                }
                bar.set_position(at.done);
                bar.set_message(detail(&summary, tokens, left));
                bar.tick();
            }
            None => log(&self.stream.name, at, &summary, tokens, left),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn log(stream: &str, at: CatchUp, summary: &Summary, tokens: f64, left: Option<Duration>) {
    info!(
        stream,
        done = at.done,
        total = at.total,
        embedded = summary.chunks_embedded,
        unchanged = summary.chunks_unchanged,
        tokens_per_second = tokens.round(),
        seconds_left = left.map(|left| left.as_secs()),
        "catching up"
    );
}

/// What stands behind a bar.
fn detail(summary: &Summary, tokens: f64, left: Option<Duration>) -> String {
    let mut text = format!(
        "{} embedded, {} unchanged, {tokens:.0} tokens/s",
        summary.chunks_embedded, summary.chunks_unchanged
    );
    if let Some(left) = left {
        text += &format!(", {} left", FormattedDuration(left));
    }
    text
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_what_was_done_and_what_is_left() {
        let summary = Summary { chunks_embedded: 2585, chunks_unchanged: 12, ..Summary::default() };
        let text = detail(&summary, 8123.4, Some(Duration::from_secs(75)));
        assert_eq!(text, "2585 embedded, 12 unchanged, 8123 tokens/s, 00:01:15 left");
        assert_eq!(detail(&summary, 0.0, None), "2585 embedded, 12 unchanged, 0 tokens/s");
    }
}
