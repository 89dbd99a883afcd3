//! What Milvus answers when it has enough, when it does not want a row, and when it has done what
//! was asked and the answer does not come.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Case, MilvusProxy, Sampler,
    case::Group,
    crash::{Worker, WorkerSpec},
    milvus_proxy::{Answer, Code, Rpc, Rule},
    poison::{Poison, UNSTORABLE},
    wait::until,
};

use crate::load::Load;
use crate::support::{COMMITTED, PATIENCE, Servers, block_on, finish, judge, open, say, stop};

/// How long writes are refused in one way.
const LIMITED: Duration = Duration::from_secs(4);

/// Waves that a worker has in flight at once, each with one request at a time
/// (`PipelineConfig::waves_in_flight`).
const WAVES: u32 = 2;

/// How often a wave asks within [`LIMITED`] at most: five times in the first 750 ms, as waits of
/// 50, 100, 200 and 400 ms at least lie between (`Backoff::default`), then every 500 ms, half of
/// the most that `WorkerSpec::pipeline` lets it wait.
const ATTEMPTS: u32 = 5 + (LIMITED.as_millis() as u32 - 750) / 500 + 1;

/// Every n-th write is applied and fails.
const LOSE_EVERY: u64 = 3;

/// Writes that must have failed so before it is enough, of each kind of write and failure.
const ENOUGH: u64 = 3;

/// How long there is load before a worker is killed.
const LOAD: Duration = Duration::from_secs(4);

/// A rate limit, a quota, and gRPC's own words for both: nothing is given up and nothing is lost,
/// and the server is left in peace meanwhile.
pub(crate) fn rate_limit_and_quota(servers: &Servers) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    let proxy = MilvusProxy::start(&milvus)?;
    block_on(async {
        let case = open(&brokers, &milvus, "limits", 2, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 71);
        load.create(40).await?;
        let mut workers = [Worker::start(&behind(&case, &proxy))?];
        let load = load.run(Duration::from_millis(100));
        let mut refused = Vec::new();
        for answer in [
            Answer::RateLimit,
            Answer::WritesDenied,
            Answer::Grpc(Code::ResourceExhausted),
            Answer::Grpc(Code::Unavailable),
        ] {
            until_answered(&proxy, 1).await?;
            let before = n_refused(&proxy);
            proxy.set(Rule::Refuse(answer));
            tokio::time::sleep(LIMITED).await;
            let n = n_refused(&proxy) - before;
            let (_, behind) = case.committed().await?;
            ensure!(behind > 0, "{answer:?}: nothing was left to do");
            // A wave that began just before has one more request, the next wave's.
            let most = u64::from(WAVES * (ATTEMPTS + 1));
            ensure!((3..=most).contains(&n), "{answer:?}: {n} requests, {most} at most");
            refused.push(n);
            proxy.set(Rule::Forward);
        }
        load.finish().await?;
        judge(&case, sampler, &mut workers).await?;
        say(&format!("requests refused within {} s each: {refused:?}", LIMITED.as_secs()));
        finish(case, workers).await
    })
}

/// One document of a wave is refused for good, and one new version of another: they are found, and
/// become dead letters, and nothing else does.
pub(crate) fn one_document(servers: &Servers) -> Result<()> {
    const OTHERS: usize = 7;
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    let proxy = MilvusProxy::start(&milvus)?;
    proxy.set(Rule::Reject(UNSTORABLE.to_owned()));
    block_on(async {
        let case = open(&brokers, &milvus, "refused", 1, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 73);
        let spec = behind(&case, &proxy);
        load.create(OTHERS).await?;
        let live = load.workload.any().context("no document")?;
        let mut worker = Worker::start(&spec)?;
        case.until_committed(COMMITTED, || worker.still_runs()).await?;
        stop([worker])?;
        ensure!(proxy.counts(Rpc::Upsert).rejected == 0, "a document is refused without a reason");

        // All of it is there before the next worker is: whole waves.
        load.create(OTHERS).await?;
        case.produce_poison(Poison::Unstorable, None, None).await?;
        load.create(2 * OTHERS).await?;
        case.produce_poison(Poison::Unstorable, Some(&live), None).await?;
        load.create(OTHERS).await?;
        let mut workers = [Worker::start(&spec)?];
        judge(&case, sampler, &mut workers).await?;
        let verdict = case.verdict().await?;
        ensure!(verdict.look.letters == 2, "{verdict}");
        // Two of eight documents in one group each: with seven others, three others, one, alone.
        let rejected = proxy.counts(Rpc::Upsert).rejected;
        ensure!(rejected >= 6, "{rejected} requests were rejected: no group was halved");
        let log = workers[0].log();
        ensure!(!log.contains(UNSTORABLE), "a document's text is in the log: {log}");
        say(&format!("{rejected} requests rejected to find 2 documents"));
        finish(case, workers).await
    })
}

/// Writes are applied, and their answers are lost: by the deadline, and with the connection.
/// `kill`: both workers are killed meanwhile, one after the other.
pub(crate) fn applies_and_fails(servers: &Servers, kill: bool) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    let proxy = MilvusProxy::start(&milvus)?;
    proxy.set(Rule::LoseAnswers(LOSE_EVERY));
    block_on(async {
        let case = open(&brokers, &milvus, "lost-answers", 4, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 79);
        load.create(40).await?;
        let spec = behind(&case, &proxy);
        let mut workers = [Worker::start(&spec)?, Worker::start(&spec)?];
        let load = load.run(Duration::from_millis(100));
        if kill {
            for worker in &mut workers {
                tokio::time::sleep(LOAD).await;
                worker.kill()?;
                let (_, behind) = case.committed().await?;
                ensure!(behind > 0, "everything was committed when the worker was killed");
                *worker = Worker::start(&spec)?;
            }
        }
        until("answers are lost", PATIENCE, || {
            let runs = workers.iter_mut().try_for_each(Worker::still_runs);
            let counts = [Rpc::Upsert, Rpc::Delete].map(|rpc| proxy.counts(rpc));
            async move {
                runs?;
                let is_enough =
                    counts.iter().all(|n| n.lost_to_deadline.min(n.lost_with_connection) >= ENOUGH);
                Ok(if is_enough { Ok(()) } else { Err(format!("{counts:?}")) })
            }
        })
        .await?;
        load.finish().await?;
        judge(&case, sampler, &mut workers).await?;
        for rpc in [Rpc::Upsert, Rpc::Delete] {
            say(&format!("{rpc:?}: {:?}", proxy.counts(rpc)));
        }
        finish(case, workers).await
    })
}

fn behind(case: &Case, proxy: &MilvusProxy) -> WorkerSpec {
    WorkerSpec { milvus: proxy.uri(), ..case.spec() }
}

fn n_refused(proxy: &MilvusProxy) -> u64 {
    proxy.counts(Rpc::Upsert).refused + proxy.counts(Rpc::Delete).refused
}

/// Waits for `more` rows to be written through the proxy.
async fn until_answered(proxy: &MilvusProxy, more: u64) -> Result<()> {
    let before = proxy.counts(Rpc::Upsert).answered;
    until("writes pass", PATIENCE, || async {
        let answered = proxy.counts(Rpc::Upsert).answered;
        Ok(if answered >= before + more { Ok(()) } else { Err(format!("{answered} passed")) })
    })
    .await
}
