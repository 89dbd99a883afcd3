//! What `livedex dlq replay` sends, where to, and what it does not send.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use livedex_core::dead_letter as names;
use livedex_core::record::{Header, RawRecord, Stage};
use livedex_core::replay::{REPLAYED_FROM_HEADER, replayed_from};
use livedex_kafka::{Admin, KafkaConfig, Publisher, TopicSpec};
use livedex_testkit::topic::{noise, read_all};

use crate::support::{Case, PARTITIONS, keys};

/// Key, value and headers that are hard to carry.
fn hard_records(case: &Case) -> Vec<RawRecord> {
    let large = noise(1, 1_000_000);
    let mut records = vec![
        case.record(Some(&[0xff, 0x00, 0xfe]), Some(&[0x00, 0xff, b'{'])),
        case.record(Some(b"large"), Some(&large)),
        case.record(Some(b"tombstone"), None),
        case.record(Some(b""), Some(b"")),
        case.record(None, Some(b"without a key")),
    ];
    for (offset, record) in (0..).zip(&mut records) {
        record.position.offset = 10 + offset;
        record.headers = vec![
            ("trace".to_owned(), Some(vec![0xff, 0x00])),
            ("null".to_owned(), None),
            ("empty".to_owned(), Some(Vec::new())),
            ("trace".to_owned(), Some(offset.to_string().into_bytes())),
        ];
    }
    // It has no key that would find its partition again.
    records[4].position.partition = 2;
    records
}

pub(crate) async fn what_is_replayed_is_what_was_refused_to_the_byte(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    let records = hard_records(&case);
    // Where a producer puts these keys.
    let publisher = Publisher::new(&case.kafka)?;
    let mut home = BTreeMap::new();
    for record in records.iter().filter(|record| record.key.is_some()) {
        let position =
            publisher.publish_record(record.key.as_deref(), Some(b"x"), &[], None).await?;
        home.insert(record.key.clone(), position.partition);
    }
    let n_before = case.source().await?.len();
    for record in &records {
        case.bury(record, Stage::Decode, "DecodeError.Json").await?;
    }
    let start = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();

    let dry = case.dlq(&["replay", "--dry-run"])?.success()?;
    ensure!(dry.stdout.contains("would replay 5 to "), "{}", dry.stdout);
    ensure!(case.source().await?.len() == n_before, "a dry run sends nothing");

    let finished = case.dlq(&["replay"])?.success()?;
    let expected = format!("replayed 5 to {}", case.kafka.topic);
    ensure!(finished.stdout.starts_with(&expected), "{}", finished.stdout);
    // A letter names partition 0, and its key another one: somebody else chose it.
    let n_moved = home.values().filter(|&&partition| partition != 0).count();
    let words = format!("\n{n_moved} went to another partition than they came from");
    ensure!(n_moved > 0 && finished.stdout.contains(&words), "{}", finished.stdout);
    let found = case.source().await?;
    ensure!(found.len() == n_before + records.len());
    for record in &records {
        let is_it = |found: &&RawRecord| {
            found.key == record.key && found.headers.iter().any(|(name, _)| name == "trace")
        };
        let found = found.iter().find(is_it).with_context(|| format!("{:?}", record.key))?;
        ensure!(found.value == record.value, "{:?}", record.key);
        let (own, added) = found.headers.split_at(record.headers.len());
        ensure!(own == record.headers, "{own:?}");
        ensure!(added.len() == 1 && added[0].0 == REPLAYED_FROM_HEADER, "{added:?}");
        ensure!(replayed_from(added).as_ref() == Some(&record.position), "{added:?}");
        let expected = home.get(&record.key).copied().unwrap_or(record.position.partition);
        ensure!(found.position.partition == expected, "{}", found.position);
        // Its time is that of the replay: retention goes by it.
        let time = u128::try_from(found.timestamp_ms.context("no time")?)?;
        ensure!(time >= start, "{time} is before {start}");
    }
    Ok(())
}

pub(crate) async fn the_order_of_a_key_stays(brokers: &str) -> Result<()> {
    const VERSIONS: usize = 40;
    let case = Case::new(brokers).await?;
    for version in 0..VERSIONS {
        for key in ["a", "b", "c"] {
            let value = version.to_string();
            let mut record = case.record(Some(key.as_bytes()), Some(value.as_bytes()));
            record.position.offset = i64::try_from(version)?;
            case.bury(&record, Stage::Decode, "DecodeError.Json").await?;
        }
    }
    case.dlq(&["replay"])?.success()?;
    let mut versions: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for record in case.source().await? {
        let value = String::from_utf8(record.value.context("no value")?)?;
        versions.entry(record.key.context("no key")?).or_default().push(value.parse()?);
    }
    ensure!(versions.len() == 3);
    for (key, versions) in versions {
        ensure!(versions == (0..VERSIONS).collect::<Vec<_>>(), "{key:?}: {versions:?}");
    }
    Ok(())
}

pub(crate) async fn what_cannot_be_replayed_is_counted_and_never_a_tombstone(
    brokers: &str,
) -> Result<()> {
    let case = Case::new(brokers).await?;
    let topic = case.kafka.topic.clone();
    let place = [(names::TOPIC, &*topic), (names::PARTITION, "0"), (names::OFFSET, "4")];
    let dropped = [&place[..], &[(names::VALUE_DROPPED_BYTES, "12000000")]].concat();
    let hollow = case.put_letter(b"dropped", None, &dropped).await?;
    case.put_letter(b"foreign", Some(b"x"), &[("a", "b")]).await?;
    let own = [&[(names::TOPIC, &*case.kafka.dead_letter_topic)], &place[1..]].concat();
    case.put_letter(b"of the dead", Some(b"x"), &own).await?;
    for topic in ["no-such-topic", "no topic's name"] {
        let mut record = case.record(Some(b"homeless"), Some(b"x"));
        record.position.topic = topic.into();
        case.bury(&record, Stage::Decode, "DecodeError.Json").await?;
    }
    case.bury_keys(&["fine"]).await?;

    for (flag, words) in [
        ("--dry-run", ["would replay 1 to", "would skip 1"]),
        ("--all", ["replayed 1 to", "skipped 1"]),
    ] {
        let finished = case.dlq(&["replay", flag])?;
        ensure!(finished.status.code() == Some(3), "{}: {}", finished.status, finished.stderr);
        let words = words.iter().map(|&word| word.to_owned()).chain([
            format!("not in it; the first is {}:{}", hollow.partition, hollow.offset),
            "no dead letter: it has no header __connect.errors.topic".to_owned(),
            "there is no topic \"no-such-topic\"".to_owned(),
            "there is no topic \"no topic's name\"".to_owned(),
            "it came from the dead-letter topic itself".to_owned(),
        ]);
        for word in words {
            ensure!(finished.stdout.contains(&word), "no {word:?} in {}", finished.stdout);
        }
    }
    let found = case.source().await?;
    ensure!(keys(&found) == ["fine"] && found[0].value.is_some(), "{found:?}");

    // Its value is told from a tombstone's, wherever one looks.
    let place = format!("{}:{}", hollow.partition, hollow.offset);
    let shown = case.dlq(&["show", &place])?.success()?.stdout;
    ensure!(shown.contains("12000000 bytes, not kept"), "{shown}");
    let value = case.dlq(&["show", &place, "--value"])?;
    ensure!(value.status.code() == Some(1) && value.stdout_bytes.is_empty(), "{value:?}");
    ensure!(value.stderr.contains(&format!("{topic}[0]@4")), "{}", value.stderr);
    let named = case.dlq(&["replay", &place])?;
    ensure!(named.status.code() == Some(3) && named.stdout.starts_with("replayed 0; skipped 1"));

    // Those without a topic of their own find another one.
    let other = KafkaConfig { topic: format!("{topic}.other"), ..case.kafka.clone() };
    Admin::new(&other).ensure_topics(&[TopicSpec::new(&other.topic, 1)]).await?;
    let arguments = ["replay", "--all", "--key", "homeless", "--to", &other.topic];
    let finished = case.dlq(&arguments)?.success()?;
    ensure!(finished.stdout.starts_with(&format!("replayed 2 to {}", other.topic)));
    ensure!(keys(&read_all(&other).await?) == ["homeless", "homeless"]);
    Ok(())
}

pub(crate) async fn a_record_that_is_refused_again_keeps_its_first_position(
    brokers: &str,
) -> Result<()> {
    let case = Case::new(brokers).await?;
    let mut record = case.record(Some(b"again"), Some(b"x"));
    record.position.offset = 7;
    case.bury(&record, Stage::Decode, "DecodeError.Json").await?;
    case.dlq(&["replay"])?.success()?;
    // Ingestion refuses it once more, where it stands now.
    let replayed = case.source().await?.remove(0);
    ensure!(replayed.position != record.position);
    case.bury(&replayed, Stage::Write, "StoreError.Reject").await?;
    let listed = case.listed(&["--stage", "write"])?;
    let first = listed[0].replayed_from.as_ref().context("not marked as replayed")?;
    ensure!((first.partition, first.offset) == (0, 7), "{first:?}");
    ensure!(listed[0].source.offset == replayed.position.offset, "{listed:?}");

    case.dlq(&["replay"])?.success()?;
    let found = case.source().await?;
    ensure!(found.len() == 2 && found[1].position.partition < PARTITIONS);
    let header: &Header = &found[1].headers[0];
    ensure!(found[1].headers.len() == 1 && header.0 == REPLAYED_FROM_HEADER, "{header:?}");
    ensure!(replayed_from(&found[1].headers) == Some(record.position), "{header:?}");
    Ok(())
}
