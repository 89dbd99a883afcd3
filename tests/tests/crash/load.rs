//! Records from a seed, produced step by step: new documents, updates, deletions, documents made
//! anew, poison.

use std::time::Duration;

use anyhow::Result;
use livedex_testkit::{Case, poison::Poison, workload::Workload};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Updates of a step.
const UPDATES: usize = 6;

/// Records behind which a load waits: workers that die all the time do less than it could produce,
/// and a test would only wait for the rest at its end.
const MOST_BEHIND: i64 = 1000;

/// What produces for a case.
pub(crate) struct Load {
    case: Case,
    pub(crate) workload: Workload,
    rng: StdRng,
}

impl Load {
    /// Nothing yet.
    pub(crate) fn new(case: &Case, seed: u64) -> Self {
        let workload = Workload::new(seed);
        Self { case: case.clone(), workload, rng: StdRng::seed_from_u64(!seed) }
    }

    /// `count` new documents.
    pub(crate) async fn create(&mut self, count: usize) -> Result<()> {
        self.case.produce(&self.workload.create(count)?).await
    }

    /// A new version of `count` documents, each at most once.
    pub(crate) async fn update(&mut self, count: usize) -> Result<()> {
        self.case.produce(&self.workload.update(count)).await
    }

    /// `count` documents less.
    pub(crate) async fn delete(&mut self, count: usize) -> Result<()> {
        self.case.produce(&self.workload.delete(count)).await
    }

    /// A dozen records, each kind of event among them.
    pub(crate) async fn step(&mut self) -> Result<()> {
        self.create(2).await?;
        self.update(UPDATES).await?;
        // As many come as go, so that a long run stays as large as it is.
        self.delete(2).await?;
        if self.rng.random_bool(0.3) {
            self.case.produce(&self.workload.recreate(1)).await?;
            self.delete(1).await?;
        }
        self.poison().await
    }

    /// One record that can never be processed, half the time as a version of a live document.
    pub(crate) async fn poison(&mut self) -> Result<()> {
        let Some(&poison) = Poison::SMALL.choose(&mut self.rng) else { return Ok(()) };
        let document = if self.rng.random_bool(0.5) { self.workload.any() } else { None };
        self.case.produce_poison(poison, document.as_ref(), None).await?;
        Ok(())
    }

    /// Steps with a pause between them, on a task of its own, until it is told to stop.
    pub(crate) fn run(mut self, pause: Duration) -> Running {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                // A broker that is away counts nothing.
                if !self.case.committed().await.is_ok_and(|(_, behind)| behind > MOST_BEHIND) {
                    self.step().await?;
                }
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Ok(())
        });
        Running { stop, task }
    }
}

/// A load that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    /// Fails if it has ended by itself, which it does when a record cannot be produced.
    pub(crate) fn still_runs(&self) -> Result<()> {
        anyhow::ensure!(!self.task.is_finished(), "the load ended by itself");
        Ok(())
    }

    /// Ends it. Everything it has begun is produced.
    pub(crate) async fn finish(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}
