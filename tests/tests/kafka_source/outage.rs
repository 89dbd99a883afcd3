//! The broker is away for a while, or for ever.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use livedex_core::ports::{RecordSource as _, SourceEvent};
use livedex_kafka::{EndMode, KafkaError, KafkaSource, Publisher};
use livedex_testkit::Kafka;

use crate::support::{PATIENCE, eventually, finish, fresh, next, publish, read_to_end, total_lag};

pub(crate) async fn a_broker_that_is_killed_is_waited_out(kafka: &mut Kafka) -> Result<()> {
    let config = fresh(&kafka.brokers(), 2).await?;
    publish(&config, 200, 100).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let acknowledger = source.acknowledger();
    let mut done = BTreeSet::new();
    while done.len() < 200 {
        if let SourceEvent::Records(records) = next(&mut source).await? {
            for record in records {
                finish(&acknowledger, &record);
                done.insert((record.position.partition, record.position.offset));
            }
        }
    }
    kafka.kill();
    // A publisher waits for the broker as well, up to its own deadline.
    let publisher = Publisher::new(&config)?;
    let waiting =
        tokio::spawn(
            async move { publisher.publish("late", Some(b"late".to_vec()), vec![]).await },
        );
    kafka.start_again()?;
    waiting.await??;
    publish(&config, 100, 100).await?;
    while done.len() < 301 {
        if let SourceEvent::Records(records) = next(&mut source).await? {
            for record in records {
                finish(&acknowledger, &record);
                if record.lease.is_live() {
                    done.insert((record.position.partition, record.position.offset));
                }
            }
        }
    }
    source.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

pub(crate) async fn a_broker_that_hangs_does_not_hold_up_the_end(kafka: &mut Kafka) -> Result<()> {
    let config = fresh(&kafka.brokers(), 1).await?;
    publish(&config, 10, 100).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let acknowledger = source.acknowledger();
    let SourceEvent::Records(records) = next(&mut source).await? else {
        anyhow::bail!("no records")
    };
    kafka.pause();
    for record in &records {
        finish(&acknowledger, record);
    }
    let start = Instant::now();
    let deadline = Duration::from_secs(3);
    let closed = source.close(deadline).await;
    let took = start.elapsed();
    kafka.resume();
    ensure!(matches!(closed, Err(KafkaError::Timeout { .. })), "{closed:?}");
    ensure!((deadline..deadline + Duration::from_secs(1)).contains(&took), "{took:?}");
    Ok(())
}

/// The coordinator gives a silent member's partitions away, so the member must drop its leases by
/// itself, without having been told, and must not commit what another may have gone beyond.
pub(crate) async fn a_broker_silent_beyond_the_session_ends_the_leases(
    kafka: &mut Kafka,
) -> Result<()> {
    let mut config = fresh(&kafka.brokers(), 1).await?;
    // The shortest that the broker allows.
    config.properties.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    publish(&config, 100, 100).await?;
    let mut source = KafkaSource::start(&config, EndMode::Forever)?;
    let (acknowledger, monitor) = (source.acknowledger(), source.monitor());
    let records = read_to_end(&mut source).await?;
    for record in &records[..40] {
        finish(&acknowledger, record);
    }
    eventually("the commit", || monitor.partitions()[0].committed == Some(40)).await?;
    kafka.pause();
    for record in &records[40..60] {
        finish(&acknowledger, record);
    }
    let ended = eventually("the lease ends", || !records[99].lease.is_live()).await;
    kafka.resume();
    ended?;
    ensure!(records.iter().all(|record| !record.lease.is_live()));
    // Too late: nobody may finish these any more.
    for record in &records[60..] {
        finish(&acknowledger, record);
    }
    // The commit that was on its way when the broker fell silent may have arrived with 60.
    let again = read_to_end(&mut source).await?;
    let first = again[0].position.offset;
    ensure!(first == 40 || first == 60, "{first}");
    ensure!(
        again.last().is_some_and(|record| record.position.offset == 99 && record.lease.is_live())
    );
    for record in &again {
        finish(&acknowledger, record);
    }
    source.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}
