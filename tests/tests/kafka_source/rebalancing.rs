//! Two members: what a rebalance takes away, and that nothing is lost by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, ensure};
use livedex_core::ports::{Acknowledger, RecordSource as _, SourceEvent};
use livedex_core::record::RawRecord;
use livedex_kafka::{EndMode, KafkaConfig, KafkaSource};

use crate::support::{
    PATIENCE, committed, eventually, finish, fresh, next, publish, read_to_end, total_lag,
};

/// How a group moves partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Only what moves is revoked.
    Cooperative,
    /// Everything is revoked, then given out again.
    Eager,
    /// The broker decides (KIP-848); only what moves is revoked.
    Consumer,
}

impl Protocol {
    pub(crate) fn apply(self, config: &mut KafkaConfig) {
        let (key, value) = match self {
            Self::Cooperative => return,
            Self::Eager => ("partition.assignment.strategy", "range"),
            Self::Consumer => {
                // Its heartbeat is the broker's to set.
                config.properties.remove("heartbeat.interval.ms");
                ("group.protocol", "consumer")
            }
        };
        config.properties.insert(key.to_owned(), value.to_owned());
    }
}

/// Every position that was finished under a live lease.
type Done = BTreeSet<(i32, i64)>;

fn finish_all(
    acknowledger: &Arc<dyn Acknowledger>,
    records: &[RawRecord],
    done: &mut Done,
) -> usize {
    let mut n_dead = 0;
    for record in records {
        finish(acknowledger, record);
        if record.lease.is_live() {
            done.insert((record.position.partition, record.position.offset));
        } else {
            n_dead += 1;
        }
    }
    n_dead
}

pub(crate) async fn a_second_member_takes_over_and_nothing_is_lost(
    brokers: &str,
    protocol: Protocol,
) -> Result<()> {
    const PARTITIONS: usize = 6;
    const N: usize = 3000;
    let mut config = fresh(brokers, 6).await?;
    protocol.apply(&mut config);
    publish(&config, N, 50).await?;
    let mut done = Done::new();

    // The first member has everything in its hands: a third finished, the rest not.
    let mut first = KafkaSource::start(&config, EndMode::Forever)?;
    let (acks, monitor) = (first.acknowledger(), first.monitor());
    let held = read_to_end(&mut first).await?;
    ensure!(held.len() == N);
    let (finished, open): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|record| record.position.offset < 150);
    ensure!(finish_all(&acks, &finished, &mut done) == 0);

    // A second one joins while the first is "in the GPU". The first goes on being asked for
    // events, as a pipeline would.
    let mut second = KafkaSource::start(&config, EndMode::Forever)?;
    let (second_acks, second_monitor) = (second.acknowledger(), second.monitor());
    eventually("both own three partitions", || {
        monitor.partitions().len() == 3 && second_monitor.partitions().len() == 3
    })
    .await?;
    let kept: BTreeSet<i32> = monitor.partitions().iter().map(|status| status.partition).collect();
    let moved: BTreeSet<i32> =
        second_monitor.partitions().iter().map(|status| status.partition).collect();
    ensure!(kept.union(&moved).count() == PARTITIONS && kept.is_disjoint(&moved));

    // What was finished before the revoke was committed inside it.
    let committed = committed(&config).await?;
    for &partition in &moved {
        let at = committed[usize::try_from(partition)?];
        ensure!(at == Some(150), "partition {partition} is committed at {at:?}");
    }
    // The leases tell the first member what is no longer its own.
    let mut live: BTreeMap<bool, usize> = BTreeMap::new();
    for record in &open {
        *live.entry(record.lease.is_live()).or_default() += 1;
        if moved.contains(&record.position.partition) {
            ensure!(!record.lease.is_live(), "{} can still be written", record.position);
        }
    }
    let n_dead = finish_all(&acks, &open, &mut done);
    let expected_dead = match protocol {
        Protocol::Cooperative | Protocol::Consumer => 3 * 350,
        Protocol::Eager => 6 * 350,
    };
    ensure!(n_dead == expected_dead, "{n_dead} dead of {}: {live:?}", open.len());

    // Both read on until every record was finished by somebody who was allowed to.
    while done.len() < N {
        let (event, acks) = tokio::select! {
            event = next(&mut first) => (event?, &acks),
            event = next(&mut second) => (event?, &second_acks),
        };
        if let SourceEvent::Records(records) = event {
            finish_all(acks, &records, &mut done);
        }
    }
    first.close(PATIENCE).await?;
    eventually("the second owns all", || second_monitor.partitions().len() == PARTITIONS).await?;
    second.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0, "{:?}", crate::support::committed(&config).await?);
    Ok(())
}

pub(crate) async fn a_member_paused_by_back_pressure_gets_partitions_paused(
    brokers: &str,
) -> Result<()> {
    let mut config = fresh(brokers, 4).await?;
    config.max_in_flight_bytes = 64 * 1024;
    publish(&config, 400, 4096).await?;
    let mut first = KafkaSource::start(&config, EndMode::Forever)?;
    let second = KafkaSource::start(&config, EndMode::Forever)?;
    let (monitor, second_monitor) = (first.monitor(), second.monitor());
    // Neither finishes anything, so both pause with what they own.
    eventually("both own two partitions and are paused", || {
        [&monitor, &second_monitor]
            .iter()
            .all(|monitor| monitor.is_paused() && monitor.partitions().len() == 2)
    })
    .await?;
    // The second leaves; the first gets its partitions while it is paused and must not read on.
    second.close(PATIENCE).await?;
    eventually("the first owns all", || monitor.partitions().len() == 4).await?;
    ensure!(monitor.is_paused());
    let quiet = std::time::Duration::from_secs(1);
    let deadline = tokio::time::Instant::now() + quiet;
    let mut held = Vec::new();
    while let Ok(event) = tokio::time::timeout_at(deadline, first.next_records()).await {
        held.extend(event?);
    }
    ensure!(
        monitor.in_flight_bytes() < 3 * config.max_in_flight_bytes,
        "{}",
        monitor.in_flight_bytes()
    );

    let acks = first.acknowledger();
    let mut done = Done::new();
    finish_all(&acks, &held, &mut done);
    while done.len() < 400 {
        let records = first.next_records().await?;
        finish_all(&acks, &records, &mut done);
    }
    first.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

/// librdkafka keeps a pause over a revoke: the partition must not stay paused when it comes back
/// to a member that reads again.
pub(crate) async fn a_partition_lost_while_paused_is_read_when_it_comes_back(
    brokers: &str,
    protocol: Protocol,
) -> Result<()> {
    const N: usize = 400;
    let mut config = fresh(brokers, 4).await?;
    protocol.apply(&mut config);
    config.max_in_flight_bytes = 64 * 1024;
    publish(&config, N, 4096).await?;
    let mut first = KafkaSource::start(&config, EndMode::Forever)?;
    let (acks, monitor) = (first.acknowledger(), first.monitor());
    eventually("the first is paused with all four", || {
        monitor.is_paused() && monitor.partitions().len() == 4
    })
    .await?;
    let second = KafkaSource::start(&config, EndMode::Forever)?;
    eventually("two have moved", || monitor.partitions().len() == 2).await?;
    // The first works off its own, and reads on meanwhile.
    let mut done = Done::new();
    while done.len() < N / 2 {
        let records = first.next_records().await?;
        finish_all(&acks, &records, &mut done);
    }
    ensure!(!monitor.is_paused());
    // The second leaves without having finished anything.
    second.close(PATIENCE).await?;
    while done.len() < N {
        let records = first.next_records().await?;
        finish_all(&acks, &records, &mut done);
    }
    first.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

/// Records only.
trait NextRecords {
    async fn next_records(&mut self) -> Result<Vec<RawRecord>>;
}

impl NextRecords for KafkaSource {
    async fn next_records(&mut self) -> Result<Vec<RawRecord>> {
        loop {
            if let SourceEvent::Records(records) = next(self).await? {
                return Ok(records);
            }
        }
    }
}

pub(crate) async fn a_member_without_partitions_ends_in_catch_up_mode(brokers: &str) -> Result<()> {
    let config = fresh(brokers, 1).await?;
    publish(&config, 5, 10).await?;
    let mut first = KafkaSource::start(&config, EndMode::Forever)?;
    let acks = first.acknowledger();
    let records = read_to_end(&mut first).await?;
    finish_all(&acks, &records, &mut Done::new());
    let mut second = KafkaSource::start(&config, EndMode::UntilCaughtUp)?;
    // One of the two has nothing; a job without work is a finished job.
    read_to_end(&mut second).await?;
    second.close(PATIENCE).await?;
    first.close(PATIENCE).await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}
