//! Sources that end once what they were given is committed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use livedex_core::ports::{Acknowledger, RecordSource as _, SourceEvent};
use livedex_core::record::RawRecord;
use livedex_kafka::{CatchUp, EndMode, KafkaSource};

use crate::rebalancing::Protocol;
use crate::support::{PATIENCE, committed, eventually, finish, fresh, next, publish, total_lag};

/// Long enough for a source that ends too early to show it: it looks every 100 ms, and commits
/// every second.
const QUIET: Duration = Duration::from_millis(2500);

/// Finishes everything that comes until the source has caught up.
async fn work(source: &mut KafkaSource, acknowledger: &Arc<dyn Acknowledger>) -> Result<usize> {
    let mut n = 0;
    while let SourceEvent::Records(records) = next(source).await? {
        records.iter().for_each(|record| finish(acknowledger, record));
        n += records.len();
    }
    ensure!(source.next().await.is_none(), "caught up is the last word");
    Ok(n)
}

/// Reads `n` records, without finishing any.
async fn read(source: &mut KafkaSource, n: usize) -> Result<Vec<RawRecord>> {
    let mut held = Vec::new();
    while held.len() < n {
        let SourceEvent::Records(records) = next(source).await? else {
            anyhow::bail!("caught up with {} of {n} records read and none finished", held.len())
        };
        held.extend(records);
    }
    Ok(held)
}

pub(crate) async fn a_job_ends_once_the_broker_has_its_commits(brokers: &str) -> Result<()> {
    const N: usize = 600;
    let config = fresh(brokers, 3).await?;
    publish(&config, N, 10).await?;
    let mut source = KafkaSource::start(&config, EndMode::UntilCommitted)?;
    let (acknowledger, monitor) = (source.acknowledger(), source.monitor());
    let held = read(&mut source, N).await?;
    eventually("what there is to do", || {
        monitor.catch_up() == Some(CatchUp { done: 0, total: N as u64 })
    })
    .await?;
    let (last, others) = held.split_last().ok_or_else(|| anyhow::anyhow!("nothing read"))?;
    others.iter().for_each(|record| finish(&acknowledger, record));
    let early = tokio::time::timeout(QUIET, source.next()).await;
    ensure!(early.is_err(), "one record is not finished: {early:?}");
    finish(&acknowledger, last);
    ensure!(matches!(next(&mut source).await?, SourceEvent::CaughtUp));
    // Before it leaves, and by the broker's word.
    ensure!(total_lag(&config).await? == 0, "{:?}", committed(&config).await?);
    ensure!(monitor.catch_up() == Some(CatchUp { done: N as u64, total: N as u64 }));
    ensure!(source.next().await.is_none());
    source.close(PATIENCE).await?;

    // Nothing is left to do, and an empty topic never had anything.
    for config in [config, fresh(brokers, 2).await?] {
        let mut source = KafkaSource::start(&config, EndMode::UntilCommitted)?;
        let acknowledger = source.acknowledger();
        ensure!(work(&mut source, &acknowledger).await? == 0);
        source.close(PATIENCE).await?;
    }
    Ok(())
}

pub(crate) async fn a_job_ends_on_a_topic_that_never_rests(brokers: &str) -> Result<()> {
    const N: usize = 200;
    let config = fresh(brokers, 2).await?;
    publish(&config, N, 10).await?;
    let publishing = tokio::spawn({
        let config = config.clone();
        async move {
            loop {
                publish(&config, 20, 10).await?;
            }
            #[allow(unreachable_code, reason = "it names the error's type")]
            anyhow::Ok(())
        }
    });
    let mut source = KafkaSource::start(&config, EndMode::UntilCommitted)?;
    let acknowledger = source.acknowledger();
    let n = work(&mut source, &acknowledger).await?;
    ensure!(n >= N && !publishing.is_finished(), "{n} records");
    publishing.abort();
    source.close(PATIENCE).await?;
    let committed: i64 = committed(&config).await?.into_iter().flatten().sum();
    ensure!(committed >= i64::try_from(N)?, "{committed}");
    Ok(())
}

/// Two jobs share a topic, and one of them ends without having finished anything: what it had is
/// the other's then. With an eager protocol the other owns nothing for a moment, which is no end.
pub(crate) async fn a_job_takes_over_what_another_leaves_behind(
    brokers: &str,
    protocol: Protocol,
) -> Result<()> {
    const N: usize = 400;
    let mut config = fresh(brokers, 4).await?;
    protocol.apply(&mut config);
    publish(&config, N, 10).await?;
    let mut first = KafkaSource::start(&config, EndMode::UntilCommitted)?;
    let mut second = KafkaSource::start(&config, EndMode::UntilCommitted)?;
    let (acknowledger, monitor) = (first.acknowledger(), first.monitor());
    let other = second.monitor();
    eventually("both own two partitions", || {
        monitor.partitions().len() == 2 && other.partitions().len() == 2
    })
    .await?;
    read(&mut second, 1).await?;
    let own = read(&mut first, N / 2).await?;
    let (last, others) = own.split_last().ok_or_else(|| anyhow::anyhow!("nothing read"))?;
    others.iter().for_each(|record| finish(&acknowledger, record));
    second.close(PATIENCE).await?;
    eventually("the first owns all", || monitor.partitions().len() == 4).await?;
    finish(&acknowledger, last);
    let n = work(&mut first, &acknowledger).await?;
    ensure!(n >= N / 2, "{n} records of the {} that were left", N / 2);
    ensure!(total_lag(&config).await? == 0, "{:?}", committed(&config).await?);
    first.close(PATIENCE).await?;
    Ok(())
}
