//! Workers come and go every few seconds while records pour in and embedding is slow: every
//! rebalance takes partitions away in the middle of waves.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use livedex_testkit::{
    Case, Sampler,
    case::Group,
    crash::{Worker, WorkerSpec},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::load::{Load, Running};
use crate::support::{Servers, block_on, finish, open, say, stop, verdict};

const PARTITIONS: i32 = 8;

const WORKERS: std::ops::RangeInclusive<usize> = 3..=5;

/// So little, some three dozen records, that reading pauses, and partitions go while they are
/// paused.
const IN_FLIGHT_BYTES: usize = 64 * 1024;

/// Milliseconds from one coming or going to the next.
const CALM_MS: std::ops::Range<u64> = 1000..3000;

/// One storm.
pub(crate) fn storm(servers: &Servers, assignor: &'static str, length: Duration) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let group = Group { assignor, ..Group::default() };
        let case = open(&brokers, &milvus, "storm", PARTITIONS, group).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 23);
        load.create(60).await?;
        let load = load.run(Duration::from_millis(100));
        let mut crowd = Crowd::new(&case)?;
        let end = Instant::now() + length;
        while Instant::now() < end {
            crowd.change(&load).await?;
        }
        load.finish().await?;
        let (verdict, samples) = verdict(&case, sampler, &mut crowd.workers).await?;
        ensure!(samples.midway > 0, "{samples:?}");
        say(&format!(
            "{assignor}: {} joined, {} left, {} killed; {verdict}; {} looks, {} midway",
            crowd.joined, crowd.left, crowd.killed, samples.taken, samples.midway
        ));
        finish(case, crowd.workers).await
    })
}

/// The workers of a storm.
struct Crowd {
    spec: WorkerSpec,
    workers: Vec<Worker>,
    rng: StdRng,
    joined: usize,
    left: usize,
    killed: usize,
}

impl Crowd {
    fn new(case: &Case) -> Result<Self> {
        let spec =
            WorkerSpec { embed_delay_ms: 150, max_in_flight_bytes: IN_FLIGHT_BYTES, ..case.spec() };
        let rng = StdRng::seed_from_u64(31);
        let mut crowd = Self { spec, workers: Vec::new(), rng, joined: 0, left: 0, killed: 0 };
        while crowd.workers.len() < *WORKERS.start() {
            crowd.join()?;
        }
        Ok(crowd)
    }

    fn join(&mut self) -> Result<()> {
        self.workers.push(Worker::start(&self.spec)?);
        self.joined += 1;
        Ok(())
    }

    /// One comes or goes, then all is calm for a while.
    async fn change(&mut self, load: &Running) -> Result<()> {
        let is_coming = match self.workers.len() {
            n if n <= *WORKERS.start() => true,
            n if n >= *WORKERS.end() => false,
            _ => self.rng.random_bool(0.5),
        };
        if is_coming {
            self.join()?;
        } else {
            let mut worker = self.workers.remove(self.rng.random_range(0..self.workers.len()));
            // Two in three say good-bye.
            if self.rng.random_bool(0.67) {
                self.left += 1;
                stop([worker])?;
            } else {
                self.killed += 1;
                worker.kill()?;
            }
        }
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(CALM_MS))).await;
        load.still_runs()?;
        self.still_run()
    }

    fn still_run(&mut self) -> Result<()> {
        self.workers.iter_mut().try_for_each(Worker::still_runs)
    }
}
