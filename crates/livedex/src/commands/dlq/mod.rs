//! `livedex dlq`: dead letters, listed, shown and replayed.

use std::process::ExitCode;

use anyhow::Context;
use livedex_core::{dead_letter::Selection, record::SourcePosition};
use livedex_wire::time::{format_millis, now_millis, parse_when};

use crate::{
    cli::{DlqCommand, DlqFilterArgs, DlqListArgs, DlqReplayArgs, DlqShowArgs},
    config::Config,
};

mod list;
mod page;
mod progress;
mod replay;
mod show;

/// Runs one of them.
pub(super) async fn run(config: &Config, command: &DlqCommand) -> anyhow::Result<ExitCode> {
    let (DlqCommand::List(DlqListArgs { stream, .. })
    | DlqCommand::Show(DlqShowArgs { stream, .. })
    | DlqCommand::Replay(DlqReplayArgs { stream, .. })) = command;
    let kafka = &config.stream(stream.as_deref())?.kafka;
    match command {
        DlqCommand::List(args) => list::run(kafka, args).await,
        DlqCommand::Show(args) => show::run(kafka, args).await,
        DlqCommand::Replay(args) => replay::run(kafka, args).await,
    }
}

/// What the filters say.
fn selection(args: &DlqFilterArgs) -> anyhow::Result<Selection> {
    let now = now_millis();
    let time = |flag: &str, text: &Option<String>| {
        let parse = |text: &String| {
            parse_when(text, now).with_context(|| {
                format!(
                    "{flag} is {text:?}; give how long ago (90s, 2h, 1d 12h), or a time with its \
                     offset (2026-05-01T12:00:00Z)"
                )
            })
        };
        text.as_ref().map(parse).transpose()
    };
    Ok(Selection {
        class: args.reason.clone(),
        stage: args.stage.clone(),
        since_ms: time("--since", &args.since)?,
        until_ms: time("--until", &args.until)?,
        source_topic: args.source_topic.clone(),
        key: args.key.as_ref().map(|key| key.clone().into_bytes()),
    })
}

/// A place in the dead-letter topic as it is typed.
fn place(position: &SourcePosition) -> String {
    format!("{}:{}", position.partition, position.offset)
}

/// A time to the second, in UTC.
fn when(millis: Option<i64>) -> String {
    millis.and_then(|ms| format_millis(ms - ms.rem_euclid(1000))).unwrap_or_else(|| "-".to_owned())
}

/// Text from outside on one line, with nothing in it that a terminal would obey.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            visible.extend(c.escape_default());
        } else {
            visible.push(c);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(visible("a\u{1b}[2J\nb\tä🦀"), "a\\u{1b}[2J\\nb\\tä🦀");
    }

    #[test]
    fn times_are_to_the_second() {
        assert_eq!(when(Some(1_777_636_800_999)), "2026-05-01T12:00:00Z");
        assert_eq!(when(Some(-1)), "1969-12-31T23:59:59Z");
        assert_eq!(when(None), "-");
    }
}
