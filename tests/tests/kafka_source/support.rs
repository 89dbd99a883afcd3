//! What the Kafka cases share: topics of their own, publishing in bulk, reading a source dry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use livedex_core::ports::{Acknowledger, FinishedRecord, RecordSource, SourceEvent};
use livedex_core::record::RawRecord;
use livedex_kafka::{Admin, KafkaConfig, KafkaSource, Publisher, TopicSpec};
use tokio::task::JoinSet;

/// Longer than anything here takes on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with a topic and a group that no other case uses; the topic exists.
pub(crate) async fn fresh(brokers: &str, partitions: i32) -> Result<KafkaConfig> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("case-{}-{n}", std::process::id());
    let config = existing(brokers, &name);
    let created = Admin::new(&config).ensure_topics(&[TopicSpec::new(&name, partitions)]).await?;
    ensure!(created == [name]);
    Ok(config)
}

/// The configuration of a case whose topic is `name`.
pub(crate) fn existing(brokers: &str, name: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: brokers.to_owned(),
        // A member learns of a rebalance by its heartbeat; the default is 3 s.
        properties: BTreeMap::from([("heartbeat.interval.ms".to_owned(), "300".to_owned())]),
        topic: name.to_owned(),
        dead_letter_topic: format!("{name}.dlq"),
        group: name.to_owned(),
        // Some cases have a session of 6 s, the shortest that the broker allows.
        write_timeout: Duration::from_secs(1),
        ..KafkaConfig::default()
    }
}

/// Sends `n` records of `bytes` each, many at once, round the partitions. Keys are `k0`, `k1`, ...
pub(crate) async fn publish(config: &KafkaConfig, n: usize, bytes: usize) -> Result<()> {
    let publisher = Publisher::new(config)?;
    let partitions = Admin::new(config).partitions(&config.topic).await?.unwrap_or_default().len();
    let mut tasks = JoinSet::new();
    for i in 0..n {
        let publisher = publisher.clone();
        let partition = i32::try_from(i % partitions)?;
        tasks.spawn(async move {
            let key = format!("k{i}");
            publisher
                .publish_record(
                    Some(key.as_bytes()),
                    Some(&vec![b'x'; bytes]),
                    &[],
                    Some(partition),
                )
                .await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Reports `record` as finished.
pub(crate) fn finish(acknowledger: &Arc<dyn Acknowledger>, record: &RawRecord) {
    acknowledger.finish(&FinishedRecord {
        position: record.position.clone(),
        bytes: record.size(),
        lease: record.lease.clone(),
    });
}

/// The next event, or an error if there is none in time.
pub(crate) async fn next(source: &mut KafkaSource) -> Result<SourceEvent> {
    match tokio::time::timeout(PATIENCE, source.next()).await {
        Ok(Some(event)) => Ok(event?),
        Ok(None) => bail!("the source ended"),
        Err(_) => bail!("no event within {} s", PATIENCE.as_secs()),
    }
}

/// Reads until everything was read, without finishing anything.
pub(crate) async fn read_to_end(source: &mut KafkaSource) -> Result<Vec<RawRecord>> {
    let mut all = Vec::new();
    loop {
        match next(source).await? {
            SourceEvent::Records(records) => all.extend(records),
            SourceEvent::CaughtUp => return Ok(all),
        }
    }
}

/// The offsets of `records` per partition, in the order in which they came.
pub(crate) fn offsets(records: &[RawRecord]) -> BTreeMap<i32, Vec<i64>> {
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for record in records {
        offsets.entry(record.position.partition).or_default().push(record.position.offset);
    }
    offsets
}

/// Committed offsets, by partition.
pub(crate) async fn committed(config: &KafkaConfig) -> Result<Vec<Option<i64>>> {
    let lags = Admin::new(config).lag(&config.group, &config.topic).await?;
    Ok(lags.into_iter().map(|lag| lag.committed).collect())
}

/// Records that the group has still to read, all partitions together.
pub(crate) async fn total_lag(config: &KafkaConfig) -> Result<i64> {
    let lags = Admin::new(config).lag(&config.group, &config.topic).await?;
    Ok(lags.into_iter().map(|lag| lag.lag).sum())
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        ensure!(start.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
