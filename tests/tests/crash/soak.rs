//! Ten minutes of load and kills beside one worker that is never killed, whose memory stays flat.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use livedex_testkit::{
    Sampler,
    case::Group,
    crash::{Worker, WorkerSpec},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::load::Load;
use crate::support::{Servers, block_on, finish, open, say, setting, verdict};

/// How long it takes, in seconds, unless `LIVEDEX_CRASH_SOAK_S` says otherwise.
const LENGTH_S: u64 = 600;

/// Milliseconds from one kill to the next.
const LIFE_MS: std::ops::Range<u64> = 3000..15_000;

/// How often memory is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// Bytes by which the last quarter may lie above the second: allocators are not exact.
const SLACK: u64 = 16 * 1024 * 1024;

/// The soak.
pub(crate) fn soak(servers: &Servers) -> Result<()> {
    let length = Duration::from_secs(setting("LIVEDEX_CRASH_SOAK_S", LENGTH_S)?);
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let case = open(&brokers, &milvus, "soak", 6, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 71);
        load.create(100).await?;
        let load = load.run(Duration::from_millis(100));
        let spec = WorkerSpec { embed_delay_ms: 20, wave_records: 64, ..case.spec() };
        let mut survivor = Worker::start(&spec)?;
        let mut victim = Worker::start(&spec)?;
        let mut rng = StdRng::seed_from_u64(73);
        let (mut n_kills, mut resident) = (0, Vec::new());
        let started = Instant::now();
        let mut next_kill = started + Duration::from_millis(rng.random_range(LIFE_MS));
        while started.elapsed() < length {
            tokio::time::sleep(MEASURE).await;
            load.still_runs()?;
            survivor.still_runs()?;
            resident.push(survivor.resident_bytes()?);
            if Instant::now() >= next_kill {
                victim.kill()?;
                n_kills += 1;
                victim = Worker::start(&spec)?;
                next_kill = Instant::now() + Duration::from_millis(rng.random_range(LIFE_MS));
            }
        }
        load.finish().await?;
        let mut workers = [survivor, victim];
        let (verdict, samples) = verdict(&case, sampler, &mut workers).await?;
        let quarters: Vec<u64> = resident.chunks(resident.len().div_ceil(4)).map(median).collect();
        let mib = quarters.iter().map(|bytes| bytes / (1024 * 1024)).collect::<Vec<_>>();
        say(&format!(
            "{} s, {n_kills} kills, the survivor's memory by quarters: {mib:?} MiB; {verdict}; {} \
             looks, {} midway",
            length.as_secs(),
            samples.taken,
            samples.midway
        ));
        ensure!(
            quarters.len() == 4 && quarters[3] <= quarters[1] + SLACK,
            "the survivor's memory grows: {mib:?} MiB by quarters"
        );
        finish(case, workers).await
    })
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
