//! Kafka goes away under load and comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
use livedex_testkit::{
    Kafka, Sampler,
    case::Group,
    crash::{Worker, WorkerSpec},
};

use crate::load::Load;
use crate::support::{Servers, block_on, finish, judge, open};

/// How long Kafka is away: longer than the session, and than a message's timeout.
const OUTAGE: Duration = Duration::from_secs(30);

/// How long there is load before an outage and after it.
const LOAD: Duration = Duration::from_secs(4);

/// Killed and started at once, three times.
pub(crate) fn restarted(servers: &Servers) -> Result<()> {
    under_load(servers, async |kafka| {
        for _ in 0..3 {
            kafka.kill();
            tokio::task::block_in_place(|| kafka.start_again())?;
            tokio::time::sleep(LOAD).await;
        }
        Ok(())
    })
}

/// Killed, and started after half a minute.
pub(crate) fn down(servers: &Servers) -> Result<()> {
    under_load(servers, async |kafka| {
        kafka.kill();
        tokio::time::sleep(OUTAGE).await;
        tokio::task::block_in_place(|| kafka.start_again())
    })
}

/// Stopped for half a minute: connections stay open, and nothing answers.
pub(crate) fn silent(servers: &Servers) -> Result<()> {
    under_load(servers, async |kafka| {
        kafka.pause();
        tokio::time::sleep(OUTAGE).await;
        kafka.resume();
        Ok(())
    })
}

fn under_load(servers: &Servers, outage: impl AsyncFnOnce(&mut Kafka) -> Result<()>) -> Result<()> {
    let milvus = servers.milvus()?;
    // Its own: others shall not notice.
    let mut kafka = Kafka::start()?;
    block_on(async {
        let case = open(&kafka.brokers(), &milvus, "broker", 4, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 41);
        load.create(60).await?;
        let spec = WorkerSpec { embed_delay_ms: 60, ..case.spec() };
        let mut workers = [Worker::start(&spec)?, Worker::start(&spec)?];
        let load = load.run(Duration::from_millis(50));
        tokio::time::sleep(LOAD).await;
        let (before, behind) = case.committed().await?;
        ensure!(behind > 0, "the workers have nothing to do");
        outage(&mut kafka).await?;
        tokio::time::sleep(LOAD).await;
        load.finish().await?;
        let (verdict, _) = judge(&case, sampler, &mut workers).await?;
        ensure!(verdict.look.committed > before.values().sum(), "nothing was done after it");
        finish(case, workers).await
    })
}
