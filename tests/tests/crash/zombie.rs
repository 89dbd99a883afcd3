//! A worker that stands still for longer than its session, while another takes over and goes on
//! to newer versions of the same documents; then it wakes up, with old rows in its hands.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Case, Sampler,
    case::Group,
    crash::{Action, Fault, Point, Worker, WorkerSpec},
    wait::until,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::load::Load;
use crate::support::{COMMITTED, PATIENCE, Servers, block_on, finish, judge, open, stop};

const DOCUMENTS: usize = 30;

/// The pause between new documents that the zombie may read.
const PACE: Duration = Duration::from_millis(200);

/// How often a worker is stopped at a random time.
const ROUNDS: u64 = 5;

/// At a named point of the first wave of new versions.
pub(crate) fn stopped_at(servers: &Servers, point: Point) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let case = open(&brokers, &milvus, "zombie", 2, Group::default()).await?;
        let mut load = first_versions(&case, 11).await?;
        let fault = Fault::once(point, 1, Action::Stop);
        let zombie = Worker::start(&WorkerSpec { faults: vec![fault], ..case.spec() })?;
        load.update(DOCUMENTS).await?;
        until("the worker stops itself", PATIENCE, || async {
            Ok(match zombie.fired().is_empty() || !zombie.is_paused()? {
                true => Err(zombie.log()),
                false => Ok(()),
            })
        })
        .await?;
        outlived(&case, load, zombie).await
    })
}

/// Wherever it happens to be.
pub(crate) fn stopped_anywhere(servers: &Servers) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    for round in 0..ROUNDS {
        let time = StdRng::seed_from_u64(round).random_range(0..800);
        block_on(async {
            let case = open(&brokers, &milvus, "zombie-random", 2, Group::default()).await?;
            let mut load = first_versions(&case, round).await?;
            let mut zombie = Worker::start(&case.spec())?;
            load.update(DOCUMENTS).await?;
            until("it reads", PATIENCE, || async {
                zombie.is_paused()?;
                Ok(if zombie.passes(Point::AfterFetch) == 0 { Err(zombie.log()) } else { Ok(()) })
            })
            .await?;
            let end = Instant::now() + Duration::from_millis(time);
            while Instant::now() < end {
                load.update(DOCUMENTS).await?;
            }
            load.update(DOCUMENTS).await?;
            zombie.pause(PATIENCE)?;
            let (_, behind) = case.committed().await?;
            ensure!(behind > 0, "everything was committed when the worker was stopped");
            outlived(&case, load, zombie).await
        })
        .with_context(|| format!("round {round}, after {time} ms"))?;
    }
    Ok(())
}

/// All documents are in the collection in their first version, by a worker that is gone again.
async fn first_versions(case: &Case, seed: u64) -> Result<Load> {
    let mut load = Load::new(case, seed);
    load.create(DOCUMENTS).await?;
    let mut worker = Worker::start(&case.spec())?;
    case.until_committed(COMMITTED, || worker.still_runs()).await?;
    stop([worker])?;
    Ok(load)
}

/// Another worker takes over, all documents go on, and the one that stood still wakes up.
async fn outlived(case: &Case, mut load: Load, mut zombie: Worker) -> Result<()> {
    let sampler = Sampler::start(case);
    let mut heir = Worker::start(&case.spec())?;
    // Shorter, longer, renamed, gone.
    load.update(DOCUMENTS).await?;
    load.delete(DOCUMENTS / 3).await?;
    case.until_committed(COMMITTED, || heir.still_runs()).await.with_context(|| heir.log())?;
    ensure!(zombie.is_paused()?, "it went on by itself");
    case.verdict().await?.ensure_clean().context("before the zombie wakes up")?;

    let before = zombie.passes(Point::AfterFetch);
    zombie.resume();
    // It has written what it will write once it is in the group again and reads: new documents
    // only, since a new version of an old one would repair what it did.
    let deadline = Instant::now() + PATIENCE;
    while zombie.passes(Point::AfterFetch) == before {
        zombie.still_runs()?;
        ensure!(Instant::now() < deadline, "the zombie reads nothing; {}", zombie.log());
        load.create(4).await?;
        tokio::time::sleep(PACE).await;
    }
    let mut workers = [zombie, heir];
    judge(case, sampler, &mut workers).await.context("after the zombie woke up")?;
    finish(case.clone(), workers).await
}
