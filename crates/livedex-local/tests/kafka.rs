//! The embedded broker, with the Kafka client that Livedex uses: data and offsets outlive it.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use livedex_core::ports::{RecordSource as _, SourceEvent};
use livedex_core::record::RawRecord;
use livedex_kafka::{EndMode, KafkaConfig, KafkaSource, Publisher};
use livedex_local::{EmbeddedKafka, port};

const TOPIC: &str = "documents";
const GROUP: &str = "readers";
const PARTITIONS: u16 = 3;

fn start(dir: &Path) -> EmbeddedKafka {
    let broker = EmbeddedKafka::start(dir, 0).unwrap();
    assert_eq!(broker.ensure_topic(TOPIC, PARTITIONS).unwrap(), PARTITIONS);
    broker
}

fn config(broker: &EmbeddedKafka) -> KafkaConfig {
    KafkaConfig {
        brokers: broker.brokers(),
        topic: TOPIC.to_owned(),
        group: GROUP.to_owned(),
        ..KafkaConfig::default()
    }
}

async fn publish(broker: &EmbeddedKafka, keys: std::ops::Range<usize>) {
    let publisher = Publisher::new(&config(broker)).unwrap();
    for key in keys {
        // Every fifth is a tombstone.
        let value = (key % 5 != 0).then(|| format!("value {key}").into_bytes());
        let header = vec![("origin".to_owned(), Some(b"test".to_vec()))];
        publisher.publish(format!("key {key}"), value, header).await.unwrap();
    }
}

/// Reads to the end as the group, and finishes what `finish` says. Returns all that was read.
async fn read(broker: &EmbeddedKafka, finish: impl Fn(&RawRecord) -> bool) -> Vec<RawRecord> {
    let mut source = KafkaSource::start(&config(broker), EndMode::UntilCaughtUp).unwrap();
    let acknowledger = source.acknowledger();
    let mut records = Vec::new();
    while let Some(event) = source.next().await {
        match event.unwrap() {
            SourceEvent::Records(batch) => records.extend(batch),
            SourceEvent::CaughtUp => break,
        }
    }
    for record in records.iter().filter(|record| finish(record)) {
        acknowledger.finish(&livedex_core::ports::FinishedRecord {
            position: record.position.clone(),
            bytes: record.size(),
            lease: record.lease.clone(),
        });
    }
    source.close(Duration::from_secs(20)).await.unwrap();
    records
}

fn by_key(records: &[RawRecord]) -> BTreeMap<String, Option<String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    records
        .iter()
        .map(|record| {
            assert_eq!(record.headers, [("origin".to_owned(), Some(b"test".to_vec()))]);
            (text(record.key.as_ref().unwrap()), record.value.as_deref().map(text))
        })
        .collect()
}

// On one thread, where a broker on the same runtime would starve beside a blocking client.
#[tokio::test(flavor = "current_thread")]
async fn records_tombstones_and_offsets_are_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    publish(&broker, 0..60).await;
    assert_eq!(broker.records(TOPIC).unwrap(), 60);
    assert_eq!(broker.lag(GROUP, TOPIC).unwrap(), 60);
    let old_port = broker.port();
    drop(broker);
    assert!(!port::in_use(old_port), "something still listens");

    let broker = start(dir.path());
    let first = read(&broker, |record| record.position.partition != 0).await;
    let found = by_key(&first);
    assert_eq!(found.len(), 60);
    assert_eq!(found["key 7"].as_deref(), Some("value 7"));
    assert_eq!(found["key 10"], None, "a tombstone");
    let unfinished = first.iter().filter(|record| record.position.partition == 0).count();
    assert!(unfinished > 0);
    assert_eq!(broker.lag(GROUP, TOPIC).unwrap(), unfinished as u64);
    drop(broker);

    let broker = start(dir.path());
    publish(&broker, 60..70).await;
    assert_eq!(broker.lag(GROUP, TOPIC).unwrap(), unfinished as u64 + 10);
    let second = read(&broker, |_| true).await;
    assert_eq!(second.len(), unfinished + 10, "exactly what was not finished, and the new ones");
    assert_eq!(broker.lag(GROUP, TOPIC).unwrap(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_folder_with_spaces_and_umlauts_works_and_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("Jörgs Daten #1 100%");
    let broker = start(&folder);
    publish(&broker, 0..3).await;
    drop(broker);
    assert!(folder.join("broker.db").is_file());
    assert_eq!(start(&folder).records(TOPIC).unwrap(), 3);
}

#[test]
fn a_topic_keeps_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    assert_eq!(broker.ensure_topic(TOPIC, 9).unwrap(), PARTITIONS);
    assert_eq!(broker.ensure_topic("other", 1).unwrap(), 1);
}
