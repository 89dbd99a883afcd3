//! A worker is killed in the middle of its work, by itself at a named point or from outside at a
//! random time, and another one finishes what it began.
//!
//! One seed is one story: who is killed, where, how often, among which records. Every kill is
//! proved: a named point by its marker and the signal in the exit status, a random time by records
//! that were produced and not committed when the process was gone.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use livedex_testkit::{
    Case, Sampler,
    case::{Group, Verdict},
    crash::{Action, Fault, Point, Worker, WorkerSpec},
    sampler::Samples,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::load::Load;
use crate::support::{PATIENCE, Servers, block_on, finish, open, say, setting, verdict};

/// Seeds by default: one for each named point, and one for a random time.
const SEEDS: u64 = Point::ALL.len() as u64 + 1;

/// The pause between two steps of the load.
const PACE: Duration = Duration::from_millis(100);

/// How often a random kill is tried that came when nothing was left to do.
const ATTEMPTS: usize = 5;

/// How a worker dies.
#[derive(Debug, Clone, Copy)]
enum Kill {
    At(Fault),
    After(Duration),
}

impl Kill {
    /// `kind`: the number of a point, or one more for a random time.
    fn new(kind: usize, rng: &mut StdRng) -> Self {
        let Some(&point) = Point::ALL.get(kind) else {
            return Self::After(Duration::from_millis(rng.random_range(0..1500)));
        };
        let most = match point {
            Point::AfterFetch | Point::AfterEmbed | Point::BeforeUpsert => 6,
            Point::AfterUpsertBeforeDelete | Point::AfterLedgerBeforeDelete => 4,
            Point::AfterWriteBeforeAck | Point::AfterAckBeforeCommit => 40,
            Point::BeforeDeadLetter | Point::AfterDeadLetterBeforeAck => 3,
        };
        Self::At(Fault::once(point, rng.random_range(1..=most), Action::Kill))
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(fault) => write!(f, "{fault}"),
            Self::After(time) => write!(f, "random@{}ms", time.as_millis()),
        }
    }
}

/// What a seed says.
struct Plan {
    kills: Vec<Kill>,
    partitions: i32,
    is_static: bool,
    max_in_flight_bytes: usize,
    embed_delay_ms: u64,
    commit_interval_ms: u64,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // The first kill goes round all kinds, so that as many seeds as kinds cover them.
        let n_kinds = Point::ALL.len() + 1;
        let mut kinds = vec![(seed % n_kinds as u64) as usize];
        for _ in 0..rng.random_range(0..3) {
            kinds.push(rng.random_range(0..n_kinds));
        }
        Self {
            kills: kinds.into_iter().map(|kind| Kill::new(kind, &mut rng)).collect(),
            partitions: rng.random_range(3..=4),
            is_static: rng.random_bool(0.75),
            // With the small one reading pauses now and then.
            max_in_flight_bytes: if rng.random_bool(0.3) { 64 * 1024 } else { 1024 * 1024 },
            embed_delay_ms: rng.random_range(5..40),
            commit_interval_ms: rng.random_range(20..400),
        }
    }

    fn spec(&self, case: &Case) -> WorkerSpec {
        WorkerSpec {
            // Its partitions wait for a static member, and for another until its session is over.
            instance_id: self.is_static.then(|| "one".to_owned()),
            max_in_flight_bytes: self.max_in_flight_bytes,
            embed_delay_ms: self.embed_delay_ms,
            commit_interval_ms: self.commit_interval_ms,
            ..case.spec()
        }
    }
}

/// Runs the seeds, says a line for each, and fails if one failed.
pub(crate) fn seeds(servers: &Servers) -> Result<()> {
    let first: u64 = setting("LIVEDEX_CRASH_FIRST_SEED", 0)?;
    let count: u64 = setting("LIVEDEX_CRASH_SEEDS", SEEDS)?;
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    let started = Instant::now();
    let (mut failed, mut n_kills, mut n_records, mut n_looks) = (Vec::new(), 0, 0, 0);
    for seed in first..first + count {
        let plan = Plan::new(seed);
        let kills = plan.kills.iter().map(Kill::to_string).collect::<Vec<_>>().join(" ");
        let member = if plan.is_static { "static" } else { "dynamic" };
        let began = Instant::now();
        let outcome = block_on(run(&brokers, &milvus, seed, &plan));
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok((verdict, samples)) => {
                n_kills += plan.kills.len();
                n_records += verdict.records;
                n_looks += samples.taken;
                say(&format!(
                    "seed {seed:>3}  {kills}  {member}  fired {n}/{n}  {verdict}; {} looks, {} \
                     midway  {seconds:.1} s  ok",
                    samples.taken,
                    samples.midway,
                    n = plan.kills.len(),
                ));
            }
            Err(error) => {
                say(&format!(
                    "seed {seed:>3}  {kills}  {member}  {seconds:.1} s  FAILED: {error:#}"
                ));
                failed.push(seed);
            }
        }
    }
    say(&format!(
        "{count} seeds from {first}: {} failed {failed:?}; {n_kills} kills, {n_records} records, \
         {n_looks} looks, {:.0} s",
        failed.len(),
        started.elapsed().as_secs_f32()
    ));
    ensure!(
        failed.is_empty(),
        "seeds {failed:?} failed (again: LIVEDEX_CRASH_FIRST_SEED=N LIVEDEX_CRASH_SEEDS=1)"
    );
    Ok(())
}

async fn run(brokers: &str, milvus: &str, seed: u64, plan: &Plan) -> Result<(Verdict, Samples)> {
    let what = format!("kill-{seed}");
    let case = open(brokers, milvus, &what, plan.partitions, Group::default()).await?;
    let sampler = Sampler::start(&case);
    let mut load = Load::new(&case, seed);
    load.create(24).await?;
    for kill in &plan.kills {
        match kill {
            Kill::At(fault) => killed_at(&case, plan, &mut load, *fault).await,
            Kill::After(time) => killed_after(&case, plan, &mut load, *time).await,
        }
        .with_context(|| kill.to_string())?;
    }
    let mut workers = [Worker::start(&plan.spec(&case))?];
    load.step().await?;
    let (verdict, samples) = verdict(&case, sampler, &mut workers).await?;
    // A check of nothing is no check.
    ensure!(verdict.report.rows > 0 && verdict.look.letters > 0, "{verdict}");
    ensure!(samples.taken > 0, "{samples:?}");
    finish(case, workers).await?;
    Ok((verdict, samples))
}

/// Runs a worker until its fault kills it, while records come.
async fn killed_at(case: &Case, plan: &Plan, load: &mut Load, fault: Fault) -> Result<()> {
    let mut worker = Worker::start(&WorkerSpec { faults: vec![fault], ..plan.spec(case) })?;
    load.step().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = worker.ended() {
            return worker.has_killed_itself(status);
        }
        ensure!(Instant::now() < deadline, "it did not come to the point; {}", worker.log());
        // While it waits for its partitions nothing more is piled up.
        if worker.passes(Point::AfterFetch) > 0 {
            load.step().await?;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Runs a worker, and kills it when `time` has passed since it read its first records, while
/// records come.
async fn killed_after(case: &Case, plan: &Plan, load: &mut Load, time: Duration) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let mut worker = Worker::start(&plan.spec(case))?;
        load.step().await?;
        let deadline = Instant::now() + PATIENCE;
        while worker.passes(Point::AfterFetch) == 0 {
            ensure!(Instant::now() < deadline, "it reads nothing; {}", worker.log());
            worker.still_runs()?;
            tokio::time::sleep(PACE).await;
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            load.step().await?;
            tokio::time::sleep(PACE.min(end.saturating_duration_since(Instant::now()))).await;
        }
        worker.kill()?;
        // Nobody else commits: what is behind now was unfinished when it died.
        let (_, behind) = case.committed().await?;
        if behind > 0 {
            return Ok(());
        }
    }
    bail!("{ATTEMPTS} times everything was committed when the worker was killed")
}
