//! One member: what it reads, what it commits, when it pauses, how it ends.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use livedex_core::ports::{RecordSource, ServiceError, SourceEvent};
use livedex_kafka::{Admin, EndMode, KafkaConfig, KafkaError, KafkaSource};

use crate::support::{
    PATIENCE, committed, eventually, finish, fresh, next, offsets, publish, read_to_end, total_lag,
};

pub(crate) async fn records_come_once_in_order_and_are_committed(brokers: &str) -> Result<()> {
    const N: usize = 10_000;
    let config = fresh(brokers, 4).await?;
    publish(&config, N, 100).await?;
    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let acknowledger = source.acknowledger();
    let records = read_to_end(&mut source).await?;
    ensure!(source.next().await.is_none(), "caught up is the last word");
    ensure!(records.len() == N, "{} records of {N}", records.len());
    for (partition, offsets) in offsets(&records) {
        let expected: Vec<i64> = (0..2500).collect();
        ensure!(offsets == expected, "partition {partition} is out of order or has holes");
    }
    let keys: HashSet<_> = records.iter().map(|record| record.key.clone()).collect();
    ensure!(keys.len() == N);
    // Backwards: the order in which they finish is no concern of the watermark's.
    for record in records.iter().rev() {
        finish(&acknowledger, record);
    }
    source.close(PATIENCE).await?;
    ensure!(committed(&config).await? == [Some(2500); 4]);
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

pub(crate) async fn commits_happen_while_it_runs_and_a_restart_resumes_there(
    brokers: &str,
) -> Result<()> {
    let config = fresh(brokers, 1).await?;
    publish(&config, 100, 10).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let acknowledger = source.acknowledger();
    let monitor = source.monitor();
    let records = read_to_end(&mut source).await?;
    for record in &records[..60] {
        finish(&acknowledger, record);
    }
    eventually("the periodic commit", || monitor.partitions()[0].committed == Some(60)).await?;
    ensure!(committed(&config).await? == [Some(60)]);
    // Not closed: the process is gone, as after a kill, but for the membership.
    drop(source);

    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let records = read_to_end(&mut source).await?;
    let expected: Vec<i64> = (60..100).collect();
    ensure!(offsets(&records)[&0] == expected);
    source.close(PATIENCE).await?;
    Ok(())
}

pub(crate) async fn an_unfinished_record_holds_the_commit_back(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 2).await?;
    publish(&config, 200, 10).await?;
    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let acknowledger = source.acknowledger();
    let records = read_to_end(&mut source).await?;
    let unfinished = (1, 41);
    for record in &records {
        if (record.position.partition, record.position.offset) != unfinished {
            finish(&acknowledger, record);
        }
    }
    source.close(PATIENCE).await?;
    ensure!(committed(&config).await? == [Some(100), Some(41)]);
    Ok(())
}

pub(crate) async fn stop_hands_out_nothing_more_and_commits_what_is_finished(
    brokers: &str,
) -> Result<()> {
    let mut config = fresh(brokers, 1).await?;
    config.max_poll_records = 10;
    publish(&config, 1000, 10).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let acknowledger = source.acknowledger();
    let SourceEvent::Records(first) = next(&mut source).await? else { anyhow::bail!("no records") };
    let stopper = source.stopper();
    stopper.stop();
    ensure!(source.next().await.is_none(), "990 records were read ahead, none may come");
    ensure!(source.next().await.is_none());
    // The pipeline finishes what it has after the stop, and that counts.
    for record in &first {
        finish(&acknowledger, record);
    }
    // As a pipeline that took the source by value: the handle still waits for the end.
    drop(source);
    stopper.close(PATIENCE).await?;
    ensure!(committed(&config).await? == [Some(i64::try_from(first.len())?)]);
    Ok(())
}

pub(crate) async fn back_pressure_pauses_stays_in_the_group_and_resumes(
    brokers: &str,
) -> Result<()> {
    const N: usize = 96;
    let mut config = fresh(brokers, 3).await?;
    // Shorter than the pause, so that a member that did not poll would be thrown out.
    let short = Duration::from_secs(6);
    for property in ["session.timeout.ms", "max.poll.interval.ms"] {
        config.properties.insert(property.to_owned(), short.as_millis().to_string());
    }
    publish(&config, N, 1024 * 1024).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let acknowledger = source.acknowledger();
    let monitor = source.monitor();
    let mut records = Vec::new();
    while !monitor.is_paused() {
        if let SourceEvent::Records(batch) = next(&mut source).await? {
            records.extend(batch);
        }
    }
    // What was read before the pause is handed out, and then nothing.
    let paused_at = Instant::now();
    publish(&config, 3, 10).await?;
    while let Some(left) = (short + Duration::from_secs(2)).checked_sub(paused_at.elapsed()) {
        if let Ok(event) = tokio::time::timeout(left, source.next()).await
            && let Some(Ok(SourceEvent::Records(batch))) = event
        {
            records.extend(batch);
        }
    }
    let in_flight = monitor.in_flight_bytes();
    let budget = config.max_in_flight_bytes;
    ensure!((budget..budget + 2 * 1024 * 1024).contains(&in_flight), "{in_flight} bytes in flight");
    ensure!(monitor.is_paused() && records.len() < 40, "{} records", records.len());
    ensure!(records.iter().all(|record| record.lease.is_live()), "thrown out of the group");

    // Nothing is fetched, and still it is known how far behind it is.
    eventually("the ends while paused", || {
        monitor.partitions().iter().all(|status| (status.end, status.lag()) == (Some(33), Some(33)))
    })
    .await?;

    for record in &records {
        finish(&acknowledger, record);
    }
    while let SourceEvent::Records(batch) = next(&mut source).await? {
        for record in &batch {
            finish(&acknowledger, record);
        }
        records.extend(batch);
    }
    ensure!(!monitor.is_paused() && monitor.in_flight_bytes() == 0);
    for (partition, offsets) in offsets(&records) {
        let expected: Vec<i64> = (0..33).collect();
        ensure!(offsets == expected, "partition {partition}: {offsets:?}");
    }
    source.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

pub(crate) async fn caught_up_is_said_once_each_time(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 3).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    ensure!(matches!(next(&mut source).await?, SourceEvent::CaughtUp), "an empty topic");
    let quiet = tokio::time::timeout(Duration::from_millis(500), source.next()).await;
    ensure!(quiet.is_err(), "said twice");
    for round in 1..=2 {
        publish(&config, 9, 10).await?;
        let mut n = 0;
        // Between two records everything may have been read for a moment.
        while n < 9 {
            if let SourceEvent::Records(records) = next(&mut source).await? {
                n += records.len();
            }
        }
        ensure!(matches!(next(&mut source).await?, SourceEvent::CaughtUp), "round {round}");
    }
    source.close(PATIENCE).await?;
    Ok(())
}

pub(crate) async fn a_record_larger_than_every_buffer_is_read(brokers: &str) -> Result<()> {
    let mut config = fresh(brokers, 1).await?;
    // What the broker takes at most, above the fetch size of one partition (1 MiB) and above
    // the in-flight budget of this case.
    let bytes = 8 * 1024 * 1024;
    config.max_in_flight_bytes = 1024;
    config.properties.insert("compression.type".to_owned(), "none".to_owned());
    publish(&config, 3, bytes).await?;
    let mut source = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    let acknowledger = source.acknowledger();
    let mut n = 0;
    while let SourceEvent::Records(records) = next(&mut source).await? {
        for record in records {
            ensure!(record.value.as_ref().is_some_and(|value| value.len() == bytes));
            finish(&acknowledger, &record);
            n += 1;
        }
    }
    ensure!(n == 3);
    source.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

pub(crate) async fn a_missing_topic_and_a_dead_broker_are_typed_errors_in_time(
    brokers: &str,
) -> Result<()> {
    let start = Instant::now();
    let missing = KafkaConfig {
        brokers: brokers.to_owned(),
        topic: "no-such-topic".to_owned(),
        ..KafkaConfig::default()
    };
    let error = KafkaSource::start(&missing, EndMode::Forever).err();
    ensure!(
        matches!(&error, Some(KafkaError::UnknownTopic { topic, .. }) if topic == "no-such-topic"),
        "{error:?}"
    );
    ensure!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let dead = KafkaConfig { brokers: format!("127.0.0.1:{port}"), ..KafkaConfig::default() };
    for attempt in 0..2 {
        let start = Instant::now();
        let error = if attempt == 0 {
            KafkaSource::start(&dead, EndMode::Forever).err()
        } else {
            Admin::new(&dead).ping().await.err()
        };
        let Some(KafkaError::Unreachable { detail, .. }) = &error else {
            anyhow::bail!("{error:?}")
        };
        ensure!(detail.contains("refused"), "{detail}");
        ensure!(error.is_some_and(|error| !error.to_string().contains('\n')));
        ensure!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    }
    Ok(())
}

pub(crate) async fn a_refused_login_is_a_typed_error_at_once(brokers: &str) -> Result<()> {
    // The broker has no SASL on this listener and says so.
    let mut config = KafkaConfig { brokers: brokers.to_owned(), ..KafkaConfig::default() };
    for (key, value) in [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "somebody"),
        ("sasl.password", "hunter2"),
    ] {
        config.properties.insert(key.to_owned(), value.to_owned());
    }
    let start = Instant::now();
    let error = KafkaSource::start(&config, EndMode::Forever).err();
    ensure!(matches!(error, Some(KafkaError::Authentication { .. })), "{error:?}");
    ensure!(error.is_some_and(|error| !error.to_string().contains("hunter2")));
    ensure!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    Ok(())
}

pub(crate) async fn a_second_member_with_the_same_instance_id_ends_the_first(
    brokers: &str,
) -> Result<()> {
    let mut config = fresh(brokers, 1).await?;
    config.instance_id = Some("twin".to_owned());
    let mut first = KafkaSource::start(&config, EndMode::Forever)?;
    ensure!(matches!(next(&mut first).await?, SourceEvent::CaughtUp));
    let mut second = KafkaSource::start(&config, EndMode::Forever)?;
    ensure!(matches!(next(&mut second).await?, SourceEvent::CaughtUp));
    let end = tokio::time::timeout(PATIENCE, first.next()).await?;
    let Some(Err(ServiceError::Reject(text))) = end else { anyhow::bail!("{end:?}") };
    ensure!(text.contains("instance_id"), "{text}");
    ensure!(first.next().await.is_none(), "an error is the last word");
    second.close(PATIENCE).await?;
    Ok(())
}
