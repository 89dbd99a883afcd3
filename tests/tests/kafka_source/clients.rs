//! Publishing, dead letters, keys and lag.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use livedex_core::dead_letter as names;
use livedex_core::lease::Lease;
use livedex_core::ports::{DeadLetters, RecordSource};
use livedex_core::record::{DeadLetterReason, Header, RawRecord, SourcePosition, Stage};
use livedex_kafka::{
    Admin, EndMode, KafkaConfig, KafkaDeadLetters, KafkaError, KafkaSource, Publisher, TopicSpec,
};
use livedex_testkit::topic;

use crate::support::{PATIENCE, committed, finish, fresh, read_to_end};

fn record(value: Option<Vec<u8>>, headers: Vec<Header>) -> RawRecord {
    RawRecord {
        position: SourcePosition { topic: Arc::from("docs"), partition: 3, offset: 42 },
        key: Some(vec![0xff, 0x00]),
        value,
        headers,
        timestamp_ms: Some(1_700_000_000_000),
        lease: Lease::new(),
    }
}

fn reason() -> DeadLetterReason {
    DeadLetterReason {
        stage: Stage::Decode,
        class: "DecodeError.Json".to_owned(),
        message: "expected value at line 1 column 1".to_owned(),
    }
}

fn header<'a>(record: &'a RawRecord, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().find(|(found, _)| found == name)?.1.as_deref()
}

/// What lies on the dead-letter topic.
async fn dead_letters(config: &KafkaConfig) -> Result<Vec<RawRecord>> {
    let config = KafkaConfig {
        topic: config.dead_letter_topic.clone(),
        dead_letter_topic: config.topic.clone(),
        group: format!("{}-check", config.group),
        ..config.clone()
    };
    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let records = read_to_end(&mut source).await?;
    source.close(PATIENCE).await?;
    Ok(records)
}

pub(crate) async fn dead_letters_are_kept_whole(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 1).await?;
    let admin = Admin::new(&config);
    admin.ensure_topics(&[TopicSpec::new(&config.dead_letter_topic, 1)]).await?;
    let sink = KafkaDeadLetters::new(&config)?;
    let own: Vec<Header> = vec![
        ("trace".to_owned(), Some(vec![0xff, 0x00])),
        ("null".to_owned(), None),
        ("empty".to_owned(), Some(Vec::new())),
        ("trace".to_owned(), Some(b"again".to_vec())),
    ];
    sink.send(&record(Some(vec![0x00, 0xff, b'{']), own.clone()), &reason()).await?;
    sink.send(&record(None, Vec::new()), &reason()).await?;
    let letters = dead_letters(&config).await?;
    ensure!(letters.len() == 2);
    ensure!(
        letters[0].key == Some(vec![0xff, 0x00])
            && letters[0].value == Some(vec![0x00, 0xff, b'{'])
    );
    ensure!(letters[0].headers[..4] == own[..], "{:?}", letters[0].headers);
    for (name, expected) in [
        (names::TOPIC, "docs"),
        (names::PARTITION, "3"),
        (names::OFFSET, "42"),
        (names::STAGE, "DECODE"),
        (names::EXCEPTION_CLASS_NAME, "DecodeError.Json"),
        (names::EXCEPTION_MESSAGE, "expected value at line 1 column 1"),
        (names::TIMESTAMP_MS, "1700000000000"),
    ] {
        ensure!(header(&letters[0], name) == Some(expected.as_bytes()), "{name}");
    }
    ensure!(
        letters[1].value.is_none() && header(&letters[1], names::VALUE_DROPPED_BYTES).is_none()
    );
    Ok(())
}

pub(crate) async fn a_dead_letter_too_large_for_its_topic_is_kept_without_its_value(
    brokers: &str,
) -> Result<()> {
    const LIMIT: usize = 100_000;
    let config = fresh(brokers, 1).await?;
    let topic = TopicSpec {
        config: vec![("max.message.bytes".to_owned(), LIMIT.to_string())],
        ..TopicSpec::new(&config.dead_letter_topic, 1)
    };
    Admin::new(&config).ensure_topics(&[topic]).await?;
    let sink = KafkaDeadLetters::new(&config)?;
    sink.send(&record(Some(noise(2 * LIMIT)), Vec::new()), &reason()).await?;
    // The sink is as good as new after the refusal.
    sink.send(&record(Some(noise(LIMIT / 2)), Vec::new()), &reason()).await?;
    let letters = dead_letters(&config).await?;
    ensure!(letters.len() == 2);
    ensure!(letters[0].value.is_none() && letters[0].key.is_some());
    ensure!(header(&letters[0], names::VALUE_DROPPED_BYTES) == Some(b"200000".as_slice()));
    ensure!(
        letters[1].value == Some(noise(LIMIT / 2))
            && header(&letters[1], names::VALUE_DROPPED_BYTES).is_none()
    );
    Ok(())
}

/// Bytes that no codec makes smaller, the same every time.
fn noise(n: usize) -> Vec<u8> {
    topic::noise(1, n)
}

pub(crate) async fn a_message_too_large_names_value_and_limit(brokers: &str) -> Result<()> {
    const LIMIT: usize = 50_000;
    let mut config = fresh(brokers, 1).await?;
    config.topic = format!("{}-small", config.topic);
    let topic = TopicSpec {
        config: vec![("max.message.bytes".to_owned(), LIMIT.to_string())],
        ..TopicSpec::new(&config.topic, 1)
    };
    Admin::new(&config).ensure_topics(&[topic]).await?;
    config.max_document_bytes = 200_000;
    let publisher = Publisher::new(&config)?;
    let first = publisher.publish("a", Some(noise(1000)), vec![]).await?;
    ensure!((first.partition, first.offset) == (0, 0));

    let ours = publisher.publish("a", Some(noise(200_001)), vec![]).await;
    let expected = Some((200_000, "ingest.max_document_bytes"));
    ensure!(
        matches!(&ours, Err(KafkaError::TooLarge { bytes: 200_001, limit, .. }) if *limit == expected),
        "{ours:?}"
    );
    let brokers_own = publisher.publish("a", Some(noise(100_000)), vec![]).await;
    let expected = Some((LIMIT, "the topic's max.message.bytes"));
    ensure!(
        matches!(&brokers_own, Err(KafkaError::TooLarge { bytes: 100_001, limit, .. }) if *limit == expected),
        "{brokers_own:?}"
    );
    let next = publisher.publish("a", None, vec![]).await?;
    ensure!(next.offset == 1, "the publisher goes on after a refusal: {next}");
    Ok(())
}

pub(crate) async fn publishing_many_at_once_is_not_refused_for_its_batches(
    brokers: &str,
) -> Result<()> {
    // A topic that takes less than a full batch of ours: each record fits, a batch would not.
    let mut config = fresh(brokers, 1).await?;
    config.topic = format!("{}-small", config.topic);
    let topic = TopicSpec {
        config: vec![("max.message.bytes".to_owned(), "50000".to_owned())],
        ..TopicSpec::new(&config.topic, 1)
    };
    Admin::new(&config).ensure_topics(&[topic]).await?;
    let publisher = Publisher::new(&config)?;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 1..=50 {
        let publisher = publisher.clone();
        // Different bytes each, or they would be compressed to one.
        let value = topic::noise(i, 20_000);
        tasks.spawn(async move { publisher.publish(format!("k{i}"), Some(value), vec![]).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

pub(crate) async fn the_keys_alive_are_those_whose_last_record_has_a_value(
    brokers: &str,
) -> Result<()> {
    let config = fresh(brokers, 3).await?;
    let admin = Admin::new(&config);
    ensure!(admin.read_keys(&config.topic).await?.is_empty());
    let publisher = Publisher::new(&config)?;
    for (key, value) in [
        ("stays", Some("1")),
        ("goes", Some("1")),
        ("comes back", Some("1")),
        ("goes", None),
        ("comes back", None),
        ("stays", Some("2")),
        ("never was", None),
        ("comes back", Some("2")),
        ("empty", Some("")),
    ] {
        publisher.publish(key, value.map(|value| value.as_bytes().to_vec()), vec![]).await?;
    }
    publisher.publish_record(None, Some(b"without a key"), &[], None).await?;
    let expected: HashSet<Vec<u8>> =
        ["stays", "comes back", "empty"].iter().map(|key| key.as_bytes().to_vec()).collect();
    ensure!(admin.read_keys(&config.topic).await? == expected);
    Ok(())
}

pub(crate) async fn lag_counts_from_the_commit_or_the_start(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 2).await?;
    let admin = Admin::new(&config);
    crate::support::publish(&config, 20, 10).await?;
    let lags = admin.lag(&config.group, &config.topic).await?;
    ensure!(lags.len() == 2);
    for lag in &lags {
        ensure!((lag.committed, lag.low, lag.high, lag.lag) == (None, 0, 10, 10), "{lag:?}");
    }
    let error = admin.lag(&config.group, "no-such-topic").await;
    ensure!(matches!(error, Err(KafkaError::UnknownTopic { .. })), "{error:?}");
    ensure!(admin.partitions("no-such-topic").await?.is_none());
    ensure!(admin.partitions(&config.topic).await? == Some(vec![0, 1]));
    let again = admin.ensure_topics(&[TopicSpec::new(&config.topic, 9)]).await?;
    ensure!(again.is_empty(), "an existing topic stays as it is");
    Ok(())
}

pub(crate) async fn a_deleted_topic_is_gone_and_comes_back_empty(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 2).await?;
    let admin = Admin::new(&config);
    crate::support::publish(&config, 20, 10).await?;
    admin.delete_topics(&[&config.topic, "no-such-topic"]).await?;
    ensure!(admin.partitions(&config.topic).await?.is_none());
    let created = admin.ensure_topics(&[TopicSpec::new(&config.topic, 1)]).await?;
    ensure!(created == [config.topic.clone()], "{created:?}");
    ensure!(admin.partitions(&config.topic).await? == Some(vec![0]));
    ensure!(admin.read_keys(&config.topic).await?.is_empty());
    Ok(())
}

pub(crate) async fn a_deleted_group_has_committed_nothing(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 1).await?;
    crate::support::publish(&config, 20, 10).await?;
    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let acknowledger = source.acknowledger();
    for record in read_to_end(&mut source).await? {
        finish(&acknowledger, &record);
    }
    source.close(PATIENCE).await?;
    ensure!(committed(&config).await? == [Some(20)]);
    let admin = Admin::new(&config);
    for _ in 0..2 {
        // The second time there is none.
        admin.delete_group(&config.group).await?;
        ensure!(committed(&config).await? == [None]);
    }
    Ok(())
}
