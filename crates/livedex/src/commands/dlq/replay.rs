//! `livedex dlq replay`: records back to where they came from.

use std::process::ExitCode;

use anyhow::Context;
use livedex_kafka::{KafkaConfig, Replay, ReplayOptions, ReplaySummary};

use super::{place, progress::Progress, selection, visible};
use crate::{cli::DlqReplayArgs, commands::print};

/// What was meant was sent, but for what was skipped.
const SKIPPED: u8 = 3;

/// Replays, and prints what was sent and what was not, also where it ends early.
pub(super) async fn run(kafka: &KafkaConfig, args: &DlqReplayArgs) -> anyhow::Result<ExitCode> {
    let options = ReplayOptions {
        selection: selection(&args.filter)?,
        letters: args.letters.iter().map(|place| (place.partition, place.offset)).collect(),
        all: args.all,
        limit: args.limit,
        to: args.to.clone(),
        dry_run: args.dry_run,
    };
    let mut replay = Replay::open(kafka, options).await?;
    let mut progress = Progress::start(replay.n_offsets());
    let outcome = replay.run(|summary| progress.show(summary)).await;
    progress.end();
    print(&text(replay.summary(), replay.n_before_mark(), args));
    outcome.context("the replay ended early; what is printed was sent")?;
    Ok(match replay.summary().n_skipped() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(SKIPPED),
    })
}

fn text(summary: &ReplaySummary, n_before_mark: u64, args: &DlqReplayArgs) -> String {
    let (replayed, skipped) = match args.dry_run {
        true => ("would replay", "would skip"),
        false => ("replayed", "skipped"),
    };
    let topics: Vec<String> =
        summary.replayed.iter().map(|(topic, n)| format!("{n} to {topic}")).collect();
    let mut text = match &topics[..] {
        [] => format!("{replayed} 0"),
        [one] => format!("{replayed} {one}"),
        many => format!("{replayed} {}: {}", summary.n_replayed(), many.join(", ")),
    };
    for (reason, (n, first)) in &summary.skipped {
        let reason = visible(&reason.to_string());
        text += &format!("; {skipped} {n} ({reason}; the first is {})", place(first));
    }
    if n_before_mark > 0 && !args.all {
        text += &format!("\n{n_before_mark} before the mark were replayed before (--all: again)");
    }
    if summary.n_moved > 0 {
        text += &format!(
            "\n{} went to another partition than they came from: whether a newer version of their \
             document came there cannot be told. Were partitions added? If producers choose \
             partitions in their own way, set \"partitioner\" in kafka.properties to theirs",
            summary.n_moved
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Arc;

    use clap::Parser;
    use livedex_core::record::SourcePosition;
    use livedex_kafka::{Refusal, Skip};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DlqReplayArgs,
    }

    fn args(flags: &[&str]) -> DlqReplayArgs {
        Line::try_parse_from([&["replay"], flags].concat()).unwrap().args
    }

    #[test]
    fn what_was_done_is_said_in_a_line() {
        let mut summary = ReplaySummary::default();
        assert_eq!(text(&summary, 0, &args(&[])), "replayed 0");
        assert_eq!(
            text(&summary, 3, &args(&[])),
            "replayed 0\n3 before the mark were replayed before (--all: again)"
        );
        summary.replayed.insert(Arc::from("docs"), 12);
        assert_eq!(text(&summary, 3, &args(&["--all"])), "replayed 12 to docs");
        summary.replayed.insert(Arc::from("other"), 1);
        let letter = SourcePosition { topic: "dlq".into(), partition: 0, offset: 7 };
        summary.skipped.insert(Skip::Refused(Refusal::ToDeadLetters), (2, letter));
        assert_eq!(
            text(&summary, 0, &args(&["--dry-run"])),
            "would replay 13: 12 to docs, 1 to other; would skip 2 (it came from the dead-letter \
             topic itself; name another topic with --to; the first is 0:7)"
        );
    }
}
