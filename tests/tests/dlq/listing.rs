//! `livedex dlq list` and `show`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use livedex_core::record::Stage;
use livedex_wire::dead_letter::{DeadLetterV1, Key};

use crate::support::Case;

fn numbers(letters: &[DeadLetterV1]) -> BTreeSet<i64> {
    letters.iter().map(|letter| letter.source.offset).collect()
}

pub(crate) async fn letters_are_listed_counted_and_filtered(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    ensure!(case.dlq(&["list"])?.success()?.stdout == "no dead letters\n");

    let letters = [
        ("a", Stage::Decode, "DecodeError.Json"),
        ("b", Stage::Decode, "DecodeError.Field"),
        ("c", Stage::Write, "StoreError.Reject"),
        ("b", Stage::Decode, "DecodeError.Json"),
        ("d", Stage::Chunk, "ChunkError.Html"),
        ("e", Stage::Decode, "DecodeError.Json"),
    ];
    for (offset, (key, stage, class)) in (0..).zip(letters) {
        let mut record = case.record(Some(key.as_bytes()), Some(b"the secret sauce"));
        record.position.offset = offset;
        if offset == 5 {
            record.position.topic = "elsewhere".into();
        }
        case.bury(&record, stage, class).await?;
    }
    case.put_letter(b"f", Some(b"the secret sauce"), &[("a", "b")]).await?;

    let text = case.dlq(&["list"])?.success()?.stdout;
    let topic = &case.kafka.topic;
    for words in [
        "6 dead letters\n       3 DecodeError.Json\n".to_owned(),
        "       1 StoreError.Reject\n".to_owned(),
        format!("{topic}[0]@2"),
        "elsewhere[0]@5".to_owned(),
        "ChunkError.Html: the reason for people".to_owned(),
        "not listed: 1 record that no dead letter is".to_owned(),
        "no header __connect.errors.topic".to_owned(),
    ] {
        ensure!(text.contains(&words), "no {words:?} in {text}");
    }
    ensure!(!text.contains("secret"), "{text}");

    // A line each, by partition and offset, the same every time.
    let all = case.listed(&[])?;
    ensure!(numbers(&all) == BTreeSet::from([0, 1, 2, 3, 4, 5]), "{all:?}");
    let place = |letter: &DeadLetterV1| {
        letter.letter.as_ref().map(|at| (at.partition, at.offset)).context("no place")
    };
    let places: Vec<_> = all.iter().map(place).collect::<Result<_>>()?;
    ensure!(
        places.is_sorted() && places.iter().any(|(partition, _)| *partition == 1),
        "{places:?}"
    );
    ensure!(case.listed(&[])? == all);
    let one = all.iter().find(|letter| letter.source.offset == 3).context("no 3")?;
    ensure!(one.key == Some(Key::Utf8("b".to_owned())) && one.value_bytes == Some(16), "{one:?}");
    ensure!(one.refused_by.as_deref() == Some(case.kafka.group.as_str()), "{one:?}");
    ensure!(one.timestamp.as_deref() == Some("2023-11-14T22:13:20Z"), "{one:?}");

    for (filters, expected) in [
        (&["--reason", "DecodeError"][..], &[0, 1, 3, 5][..]),
        (&["--reason", "DecodeError.Json", "--key", "b"], &[3]),
        (&["--stage", "write"], &[2]),
        (&["--source-topic", "elsewhere"], &[5]),
        (&["--source-topic", topic, "--stage", "decode"], &[0, 1, 3]),
        (&["--since", "1h"], &[0, 1, 2, 3, 4, 5]),
        (&["--until", "1h"], &[]),
        (&["--reason", "NoSuchError"], &[]),
    ] {
        let found = numbers(&case.listed(filters)?);
        ensure!(found == expected.iter().copied().collect(), "{filters:?}: {found:?}");
    }
    ensure!(case.listed(&["--limit", "2"])?[..] == all[..2]);
    ensure!(case.listed(&["--reason", "DecodeError.Json", "--limit", "1"])?.len() == 1);

    // They were written one after the other: a time divides them.
    let written = |letter: &DeadLetterV1| letter.written_at.clone().context("no time");
    let times: Vec<String> = all.iter().map(written).collect::<Result<_>>()?;
    let middle =
        times[all.iter().position(|letter| letter.source.offset == 3).context("no 3")?].clone();
    let late = numbers(&case.listed(&["--since", &middle])?);
    let early = numbers(&case.listed(&["--until", &middle])?);
    ensure!(late == BTreeSet::from([3, 4, 5]), "since {middle}: {late:?} of {times:?}");
    ensure!(early == BTreeSet::from([0, 1, 2]), "until {middle}: {early:?} of {times:?}");

    let failed = case.dlq(&["list", "--since", "yesterday"])?;
    ensure!(failed.status.code() == Some(1), "{}", failed.status);
    ensure!(failed.stderr.contains("--since") && failed.stderr.contains("yesterday"));
    Ok(())
}

pub(crate) async fn a_letter_is_shown_whole_and_its_value_to_the_byte(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    let value = [&[0xff, 0x00, b'\n'], "the secret sauce".as_bytes()].concat();
    let mut record = case.record(Some(&[0xff, 0xfe]), Some(&value));
    record.headers =
        vec![("trace".to_owned(), Some(b"\x1b[31mred".to_vec())), ("none".to_owned(), None)];
    case.bury(&record, Stage::Decode, "DecodeError.Key").await?;
    let letters = case.listed(&[])?;
    let at = letters[0].letter.as_ref().context("no place")?;
    let place = format!("{}:{}", at.partition, at.offset);

    let text = case.dlq(&["show", &place])?.success()?.stdout;
    for words in [
        format!("{}[{}]@{}", case.kafka.dead_letter_topic, at.partition, at.offset),
        format!("{}[0]@0", case.kafka.topic),
        "DecodeError.Key: the reason for people".to_owned(),
        "//4= (Base64)".to_owned(),
        "19 bytes, not UTF-8 (at byte 0)".to_owned(),
        "trace = \"\\u{1b}[31mred\"".to_owned(),
        "none = none".to_owned(),
    ] {
        ensure!(text.contains(&words), "no {words:?} in {text}");
    }
    ensure!(!text.contains("secret"), "{text}");
    ensure!(case.dlq(&["show", &place, "--value"])?.success()?.stdout_bytes == value);

    // What is not there is said so.
    for nowhere in ["0:99", "1:99", "77:0"] {
        let failed = case.dlq(&["show", nowhere])?;
        ensure!(failed.status.code() == Some(1) && failed.stdout.is_empty(), "{failed:?}");
        ensure!(failed.stderr.contains(nowhere), "{}", failed.stderr);
    }
    ensure!(case.dlq(&["show", "17"])?.status.code() == Some(2));
    Ok(())
}
