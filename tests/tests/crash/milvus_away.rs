//! Milvus Lite is killed under load and comes back with its data.

use std::time::Duration;

use anyhow::{Result, ensure};
use livedex_testkit::{
    MilvusLite, Sampler,
    case::Group,
    crash::{Worker, WorkerSpec},
};

use crate::load::Load;
use crate::support::{Servers, block_on, finish, judge, open};

/// How long Milvus is away: longer than the session.
const OUTAGE: Duration = Duration::from_secs(20);

/// How long there is load before an outage and after it.
const LOAD: Duration = Duration::from_secs(4);

/// Killed twice: in the middle of writes, and for longer than everybody's patience.
pub(crate) fn killed(servers: &Servers) -> Result<()> {
    let brokers = servers.brokers()?;
    // Its own: others shall not notice.
    let mut milvus = MilvusLite::start_serial()?;
    block_on(async {
        let case = open(&brokers, &milvus.uri(), "milvus", 4, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 43);
        load.create(60).await?;
        let spec = WorkerSpec { embed_delay_ms: 30, ..case.spec() };
        let mut workers = [Worker::start(&spec)?, Worker::start(&spec)?];
        let load = load.run(Duration::from_millis(50));
        for outage in [Duration::ZERO, OUTAGE] {
            tokio::time::sleep(LOAD).await;
            let (_, behind) = case.committed().await?;
            ensure!(behind > 0, "the workers have nothing to do");
            milvus.kill();
            tokio::time::sleep(outage).await;
            workers.iter_mut().try_for_each(Worker::still_runs)?;
            if outage > Duration::ZERO {
                // What was in flight is finished by then, and nothing else can be.
                let (_, away) = case.committed().await?;
                ensure!(away > behind, "{away} behind without Milvus, {behind} before");
            }
            tokio::task::block_in_place(|| milvus.start_again())?;
        }
        tokio::time::sleep(LOAD).await;
        load.finish().await?;
        judge(&case, sampler, &mut workers).await?;
        finish(case, workers).await
    })
}
