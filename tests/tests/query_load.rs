//! Query workers as processes under load: killed, stopped, restarted one after the other, overloaded.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use livedex_query::{NatsConfig, QueryClient};
use livedex_testkit::{
    Nats, Need, Suite,
    query::{Load, Outcome, QueryWorker, Report, WorkerSpec},
    wait::until,
};

const SERVERS: &[Need] = &[Need::LocalServers];
const LONG: &[Need] = &[Need::LocalServers, Need::Time];

/// How long a worker may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// Of each reranking: one worker answers 100 requests a second.
const RERANK_US: u64 = 10_000;

/// Below the capacity of two workers.
const RATE: f64 = 120.0;

fn main() -> ExitCode {
    Suite::new()
        .test("one_killed_and_one_stopped", SERVERS, || block_on(killed_and_stopped(1_200)))
        .test("one_killed_and_one_stopped_in_10000", LONG, || block_on(killed_and_stopped(10_000)))
        .test("a_rolling_restart_by_sigterm_loses_nothing", SERVERS, || block_on(by_sigterm()))
        .test("a_rolling_restart_by_sigkill_needs_one_retry", SERVERS, || block_on(by_sigkill()))
        .test("overload_has_typed_outcomes_only", SERVERS, || block_on(overload()))
        .run()
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(test)
}

/// Three workers, and a client of theirs.
struct Fleet {
    spec: WorkerSpec,
    workers: Vec<QueryWorker>,
    client: QueryClient,
    // After the workers: they end before it does.
    _nats: Nats,
}

impl Fleet {
    async fn start(max_slowdown: f64) -> Result<Self> {
        let nats = Nats::start()?;
        let spec = WorkerSpec { max_slowdown, ..WorkerSpec::new(&nats.url(), RERANK_US) };
        let workers = (0..3).map(|_| QueryWorker::start(&spec)).collect::<Result<_>>()?;
        let config = NatsConfig { url: nats.url(), ..NatsConfig::default() };
        let client = QueryClient::connect(&config).await?;
        let fleet = Self { spec, workers, client, _nats: nats };
        fleet.until_members(3).await?;
        Ok(fleet)
    }

    async fn until_members(&self, n: usize) -> Result<()> {
        let counted = || async {
            let found = self.client.status(Duration::from_secs(5)).await.unwrap_or_default();
            let members = found.iter().filter(|status| status.is_member).count();
            Ok(if members == n { Ok(()) } else { Err(format!("{members} members")) })
        };
        until("all workers are members", Duration::from_secs(30), counted).await
    }

    async fn replace(&mut self) -> Result<()> {
        self.workers.push(QueryWorker::start(&self.spec)?);
        self.until_members(3).await
    }

    /// Kills the oldest worker, and starts another in its place.
    async fn kill(&mut self) -> Result<()> {
        self.workers.remove(0).kill();
        self.replace().await
    }

    /// Stops the oldest worker, and starts another in its place.
    async fn stop(&mut self) -> Result<()> {
        let oldest = self.workers.remove(0);
        tokio::task::spawn_blocking(move || oldest.terminate(STOP)).await??;
        self.replace().await
    }

    /// Sends requests while `meanwhile` happens.
    async fn under(
        &mut self,
        load: Load,
        meanwhile: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<Report> {
        let client = self.client.clone();
        let asking = tokio::spawn(async move { load.run(&client).await });
        let third = Duration::from_secs_f64(load.requests as f64 / load.rate / 3.0);
        tokio::time::sleep(third).await;
        meanwhile(self).await?;
        ensure!(!asking.is_finished(), "the load ended too early");
        Ok(asking.await?)
    }
}

fn load(requests: usize, retries: usize) -> Load {
    Load { rate: RATE, requests, timeout: Duration::from_secs(5), retries, seed: 1 }
}

/// Whether every request ended, and none in a way that no caller expects.
fn check(report: &Report, requests: usize) -> Result<()> {
    let total: usize = report.outcomes.values().sum();
    ensure!(total == requests, "{total} of {requests} ended: {:?}", report.outcomes);
    for outcome in [Outcome::Broken, Outcome::NoResponders] {
        ensure!(report.count(outcome) == 0, "{:?}", report.outcomes);
    }
    Ok(())
}

async fn killed_and_stopped(requests: usize) -> Result<()> {
    let mut fleet = Fleet::start(8.0).await?;
    let report = fleet.under(load(requests / 2, 0), async |fleet| fleet.kill().await).await?;
    check(&report, requests / 2)?;
    // What the killed one had in flight, and what was on its way to it.
    ensure!(report.count(Outcome::Timeout) <= 30, "{:?}", report.outcomes);
    let killed = format!("{:?}", report.outcomes);

    let report = fleet.under(load(requests / 2, 0), async |fleet| fleet.stop().await).await?;
    check(&report, requests / 2)?;
    ensure!(report.count(Outcome::Timeout) == 0, "{:?}", report.outcomes);
    writeln!(std::io::stderr(), "killed: {killed}; stopped: {:?}", report.outcomes)?;
    Ok(())
}

async fn by_sigterm() -> Result<()> {
    // Room enough that a burst is not refused.
    let mut fleet = Fleet::start(1000.0).await?;
    let restart = async |fleet: &mut Fleet| {
        for _ in 0..3 {
            fleet.stop().await?;
        }
        Ok(())
    };
    let report = fleet.under(load(1_500, 0), restart).await?;
    check(&report, 1_500)?;
    ensure!(report.count(Outcome::Answered) == 1_500, "{:?}", report.outcomes);
    Ok(())
}

async fn by_sigkill() -> Result<()> {
    let mut fleet = Fleet::start(1000.0).await?;
    let restart = async |fleet: &mut Fleet| {
        for _ in 0..3 {
            fleet.kill().await?;
        }
        Ok(())
    };
    let report = fleet.under(load(1_500, 1), restart).await?;
    check(&report, 1_500)?;
    ensure!(report.count(Outcome::Answered) == 1_500, "{:?}", report.outcomes);
    Ok(())
}

/// Twice what three workers can answer.
async fn overload() -> Result<()> {
    let fleet = Fleet::start(8.0).await?;
    let load = Load { rate: 600.0, ..load(3_000, 0) };
    let report = load.run(&fleet.client).await;
    check(&report, 3_000)?;
    let typed = [Outcome::Answered, Outcome::Degraded, Outcome::Error(429)];
    let n_typed: usize = typed.iter().map(|outcome| report.count(*outcome)).sum();
    ensure!(n_typed == 3_000, "{:?}", report.outcomes);
    ensure!(report.count(Outcome::Error(429)) > 300, "{:?}", report.outcomes);
    ensure!(report.count(Outcome::Answered) > 300, "{:?}", report.outcomes);
    Ok(())
}
