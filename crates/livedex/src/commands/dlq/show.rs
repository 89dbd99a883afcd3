//! `livedex dlq show`: one dead letter whole, or its value alone.

use std::process::ExitCode;

use anyhow::{Context, bail};
use livedex_core::{
    dead_letter::{DeadLetter, ForeignRecord},
    record::RawRecord,
    replay::replayed_from,
};
use livedex_kafka::{KafkaConfig, read_one};
use livedex_wire::dead_letter::Key;

use super::{visible, when};
use crate::{
    cli::DlqShowArgs,
    commands::{note, print, write},
};

/// Shows it; fails if it is not there, or has no value to show.
pub(super) async fn run(kafka: &KafkaConfig, args: &DlqShowArgs) -> anyhow::Result<ExitCode> {
    let (topic, place) = (&kafka.dead_letter_topic, args.letter);
    let record = read_one(kafka, place.partition, place.offset).await?.with_context(|| {
        format!(
            "topic {topic} has no record at {}:{} (any more); livedex dlq list tells what it has",
            place.partition, place.offset
        )
    })?;
    let letter = DeadLetter::read(record.clone());
    if args.value {
        return value(&record, letter);
    }
    print(&text(&record, &letter));
    Ok(ExitCode::SUCCESS)
}

/// The value, byte for byte.
fn value(
    record: &RawRecord,
    letter: Result<DeadLetter, ForeignRecord>,
) -> anyhow::Result<ExitCode> {
    if let Ok(DeadLetter { value_dropped_bytes: Some(bytes), record, .. }) = letter {
        bail!(
            "the value ({bytes} bytes) was too large for the dead-letter topic and is not in it; it \
             may still be at {}",
            visible(&record.position.to_string())
        );
    }
    match &record.value {
        Some(value) => {
            write(value);
        }
        None => note("the record has no value: it is a tombstone"),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(record: &RawRecord, letter: &Result<DeadLetter, ForeignRecord>) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<14} {text}"));
    line("letter", record.position.to_string());
    line("written", when(record.timestamp_ms));
    match letter {
        Ok(letter) => {
            line("source", visible(&letter.record.position.to_string()));
            line("record's time", when(letter.record.timestamp_ms));
            if let Some(first) = replayed_from(&letter.record.headers) {
                let first = visible(&first.to_string());
                line("replayed from", format!("{first}: it was replayed, and refused again"));
            }
            line("stage", visible(&letter.stage));
            line("class", visible(&letter.class));
            line("message", visible(&letter.message));
            line("refused by", letter.refused_by.as_deref().map_or("-".to_owned(), visible));
        }
        Err(foreign) => line("no dead letter", foreign.to_string()),
    }
    line("key", bytes(record.key.as_deref()));
    let dropped = letter.as_ref().ok().and_then(|letter| letter.value_dropped_bytes);
    line("value", about_value(record.value.as_deref(), dropped));
    // What is added to a dead letter stands above.
    let own = letter.as_ref().map_or(&record.headers, |letter| &letter.record.headers);
    line("headers", own.len().to_string());
    for (name, value) in own {
        lines.push(format!("  {} = {}", visible(name), bytes(value.as_deref())));
    }
    lines.join("\n")
}

/// What a value is, without a word of it: it may be anybody's document.
fn about_value(value: Option<&[u8]>, dropped: Option<usize>) -> String {
    match (value, dropped) {
        (_, Some(n)) => format!("{n} bytes, not kept: too large for the dead-letter topic"),
        (None, None) => "none (a tombstone)".to_owned(),
        (Some(value), None) => {
            let encoding = match std::str::from_utf8(value) {
                Ok(_) => "UTF-8".to_owned(),
                Err(error) => format!("not UTF-8 (at byte {})", error.valid_up_to()),
            };
            format!("{} bytes, {encoding} (--value prints it)", value.len())
        }
    }
}

/// A key or a header: text in quotes, or Base64.
fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes.map(Key::new) {
        None => "none".to_owned(),
        Some(Key::Utf8(text)) => format!("\"{}\"", visible(&text)),
        Some(Key::Base64(text)) => format!("{text} (Base64)"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::{dead_letter as names, lease::Lease, record::SourcePosition};

    use super::*;

    #[test]
    fn everything_is_shown_but_the_text() {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let record = RawRecord {
            position: SourcePosition { topic: "docs.dlq".into(), partition: 0, offset: 3 },
            key: Some(vec![0xff, 0xfe]),
            value: Some(b"the secret sauce".to_vec()),
            headers: vec![
                header("trace", "a\u{1b}b"),
                ("empty".to_owned(), None),
                header(names::TOPIC, "docs"),
                header(names::PARTITION, "2"),
                header(names::OFFSET, "57"),
                header(names::STAGE, "DECODE"),
                header(names::EXCEPTION_CLASS_NAME, "DecodeError.Json"),
                header(names::EXCEPTION_MESSAGE, "not JSON"),
            ],
            timestamp_ms: Some(0),
            lease: Lease::new(),
        };
        let shown = text(&record, &DeadLetter::read(record.clone()));
        let expected = "\
letter         docs.dlq[0]@3
written        1970-01-01T00:00:00Z
source         docs[2]@57
record's time  -
stage          DECODE
class          DecodeError.Json
message        not JSON
refused by     -
key            //4= (Base64)
value          16 bytes, UTF-8 (--value prints it)
headers        2
  trace = \"a\\u{1b}b\"
  empty = none";
        assert_eq!(shown, expected);

        let foreign = RawRecord { headers: vec![header("a", "b")], value: None, ..record };
        let shown = text(&foreign, &DeadLetter::read(foreign.clone()));
        assert!(
            shown.contains("no dead letter it has no header __connect.errors.topic"),
            "{shown}"
        );
        assert!(shown.contains("none (a tombstone)") && shown.ends_with("  a = \"b\""), "{shown}");
    }

    #[test]
    fn what_a_value_is_is_said_in_words() {
        assert_eq!(
            about_value(Some(&[b'a', 0xff]), None),
            "2 bytes, not UTF-8 (at byte 1) (--value prints it)"
        );
        assert_eq!(
            about_value(None, Some(9)),
            "9 bytes, not kept: too large for the dead-letter topic"
        );
    }
}
