//! What is put on a topic, and what lies there.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use livedex_core::{
    document::Change,
    ports::{RecordSource as _, SourceEvent},
    record::RawRecord,
};
use livedex_kafka::{EndMode, KafkaConfig, KafkaSource, Publisher};
use livedex_wire::document::{Outgoing, encode, tombstone};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Records on their way at once.
const IN_FLIGHT: usize = 256;

/// For a reader to leave its group.
const LEAVE: Duration = Duration::from_secs(30);

/// The record that makes a change.
pub fn outgoing(change: &Change) -> Outgoing {
    match change {
        Change::Upsert(document) => encode(document),
        Change::Delete(key) => tombstone(key),
    }
}

/// Publishes changes to the configuration's topic, each acknowledged by the broker when this
/// returns. One document at most once per call: records of one call may overtake each other.
pub async fn publish(config: &KafkaConfig, changes: &[Change]) -> Result<()> {
    let publisher = &Publisher::new(config)?;
    stream::iter(changes)
        .map(|change| async move {
            let record = outgoing(change);
            publisher.publish(record.key, record.value, record.headers).await
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// All records of the configuration's topic, partitions ascending, each in offset order. Read by a
/// group of its own, which commits nothing.
pub async fn read_all(config: &KafkaConfig) -> Result<Vec<RawRecord>> {
    let config = KafkaConfig { group: format!("{}.check", config.group), ..config.clone() };
    let start = move || KafkaSource::start(&config, EndMode::UntilCaughtUp);
    let mut source = tokio::task::spawn_blocking(start).await??;
    let mut records = Vec::new();
    while let Some(event) = source.next().await {
        if let SourceEvent::Records(more) = event? {
            records.extend(more);
        }
    }
    source.close(LEAVE).await?;
    records.sort_by_key(|record: &RawRecord| (record.position.partition, record.position.offset));
    Ok(records)
}

/// `n` bytes that no codec makes smaller, the same for a seed every time.
pub fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}
