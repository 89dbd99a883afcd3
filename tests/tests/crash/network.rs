//! A network that is slow, silent or broken, between workers and both servers. The test itself goes
//! past the proxies.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Case, Kafka, Sampler, TcpProxy,
    case::Group,
    crash::{Point, Worker, WorkerSpec},
    proxy::Traffic,
    wait::until,
};

use crate::load::Load;
use crate::support::{COMMITTED, PATIENCE, Servers, block_on, finish, judge, logs, open, say};

/// How long the network is bad: two and a half sessions, and five deadlines of an RPC to Milvus.
const FAULT: Duration = Duration::from_secs(15);

/// How long there is load before a fault and after it.
const LOAD: Duration = Duration::from_secs(4);

/// What a chunk of bytes takes in a slow network.
const SLOW: Traffic =
    Traffic::Delay { min: Duration::from_millis(100), max: Duration::from_millis(300) };

/// The pause between two broken connections.
const CUT_EVERY: Duration = Duration::from_millis(500);

/// Bytes of an answer that pass before the connection breaks, in turns: nothing, a part of a
/// frame's head, a head (9 bytes in HTTP/2), some of what it announces.
const KEEP: [usize; 4] = [0, 4, 9, 30];

/// Documents that one worker is cut off with.
const DOCUMENTS: usize = 200;

/// What a wave's embedding takes there.
const SLOW_EMBEDDING: Duration = Duration::from_secs(2);

/// The pause between new documents that a worker may read once it is back.
const PACE: Duration = Duration::from_millis(200);

/// Both servers are slow.
pub(crate) fn latency(servers: &Servers) -> Result<()> {
    under_load(servers, "slow", async |network, _| {
        for proxy in [&network.kafka, &network.milvus] {
            proxy.set(SLOW);
        }
        tokio::time::sleep(FAULT).await;
        for proxy in [&network.kafka, &network.milvus] {
            proxy.set(Traffic::Pass);
            ensure!(proxy.counts().delayed_bytes > 0, "nothing was delayed");
        }
        Ok(())
    })
}

/// Milvus is silent, to both workers.
pub(crate) fn silent_milvus(servers: &Servers) -> Result<()> {
    under_load(servers, "silent-milvus", async |network, case| {
        network.milvus.set(Traffic::Hold);
        tokio::time::sleep(FAULT / 2).await;
        let (before, _) = case.committed().await?;
        tokio::time::sleep(FAULT / 2).await;
        let (committed, _) = case.committed().await?;
        ensure!(committed == before, "{committed:?} committed without Milvus, {before:?} before");
        ensure!(network.milvus.counts().held_bytes > 0, "nothing was held");
        network.milvus.set(Traffic::Pass);
        Ok(())
    })
}

/// Connections break in the middle of an RPC again and again: those to Milvus, then those to Kafka.
pub(crate) fn resets(servers: &Servers) -> Result<()> {
    under_load(servers, "resets", async |network, _| {
        for proxy in [&network.milvus, &network.kafka] {
            let before = proxy.counts();
            let end = Instant::now() + FAULT;
            for keep in KEEP.into_iter().cycle().take_while(|_| Instant::now() < end) {
                let cuts = proxy.counts().cut_answers;
                proxy.cut_next_answer(keep);
                until("an answer is cut", PATIENCE, || async {
                    Ok(if proxy.counts().cut_answers > cuts { Ok(()) } else { Err("none".into()) })
                })
                .await?;
                tokio::time::sleep(CUT_EVERY).await;
            }
            let n_cut = proxy.counts().cut_answers - before.cut_answers;
            ensure!(n_cut >= 5, "{n_cut} answers were cut");
        }
        Ok(())
    })
}

/// The way of workers to both servers.
struct Network {
    kafka: TcpProxy,
    milvus: TcpProxy,
}

impl Network {
    /// Nothing is wrong with it yet, and nothing behind its way to Kafka.
    fn new(milvus: &str) -> Result<Self> {
        let network = Self { kafka: TcpProxy::bind()?, milvus: TcpProxy::bind()? };
        let address = milvus.strip_prefix("http://").context("not a URI of Milvus Lite")?;
        network.milvus.forward_to(address.parse()?);
        Ok(network)
    }

    /// What a worker on it is told.
    fn spec(&self, case: &Case) -> WorkerSpec {
        WorkerSpec {
            brokers: self.kafka.address(),
            milvus: format!("http://{}", self.milvus.address()),
            ..case.spec()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka: {:?}; milvus: {:?}", self.kafka.counts(), self.milvus.counts())
    }
}

/// Two workers on a bad network, with load before, meanwhile and afterwards.
fn under_load(
    servers: &Servers,
    what: &str,
    fault: impl AsyncFnOnce(&Network, &Case) -> Result<()>,
) -> Result<()> {
    let milvus = servers.milvus()?;
    block_on(async {
        let network = Network::new(&milvus)?;
        let kafka = tokio::task::block_in_place(|| Kafka::start_behind(&network.kafka))?;
        let case = open(&kafka.brokers(), &milvus, what, 4, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 83);
        load.create(60).await?;
        let spec = WorkerSpec { embed_delay_ms: 60, ..network.spec(&case) };
        let mut workers = [Worker::start(&spec)?, Worker::start(&spec)?];
        let load = load.run(Duration::from_millis(50));
        for worker in &workers {
            until_passed(worker, Point::AfterFetch, 0).await?;
        }
        tokio::time::sleep(LOAD).await;
        let (_, behind) = case.committed().await?;
        ensure!(behind > 0, "the workers have nothing to do");
        fault(&network, &case).await?;
        workers.iter_mut().try_for_each(Worker::still_runs)?;
        let (before, behind) = case.committed().await?;
        ensure!(behind > 0, "everything was done in spite of the fault");
        tokio::time::sleep(LOAD).await;
        load.finish().await?;
        let (verdict, _) = judge(&case, sampler, &mut workers).await?;
        ensure!(verdict.look.committed > before.values().sum(), "nothing was done after it");
        say(&network.to_string());
        finish(case, workers).await
    })
}

/// One of two workers does not hear of Kafka any more, or of Kafka and Milvus (`both`), with much
/// in its hands, until the other has done all of it and more. Then everything that it had sent
/// comes late.
pub(crate) fn silent_for_one(servers: &Servers, both: bool) -> Result<()> {
    let milvus = servers.milvus()?;
    block_on(async {
        let network = Network::new(&milvus)?;
        let kafka = tokio::task::block_in_place(|| Kafka::start_behind(&network.kafka))?;
        let case = open(&kafka.brokers(), &milvus, "cut-off", 4, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 89);
        load.create(DOCUMENTS).await?;
        // So slow that what it has read lasts for longer than its session.
        let embed_delay_ms = u64::try_from(SLOW_EMBEDDING.as_millis())?;
        let spec = WorkerSpec { embed_delay_ms, ..network.spec(&case) };
        let mut workers = [Worker::start(&spec)?, Worker::start(&case.spec())?];
        for worker in [0, 1] {
            until_it_reads(&mut load, &mut workers, worker, Some(8)).await?;
        }
        let mark = workers[0].passes(Point::AfterFetch);
        load.update(DOCUMENTS).await?;
        until_passed(&workers[0], Point::AfterFetch, mark).await?;
        // When it has just embedded one wave, it writes that and reads for the next; half of the
        // delay later it embeds again, and the first that the fault meets is a write.
        let mark = workers[0].passes(Point::AfterEmbed);
        until_passed(&workers[0], Point::AfterEmbed, mark).await?;
        tokio::time::sleep(SLOW_EMBEDDING / 2).await;

        let mut held = vec![&network.kafka];
        if both {
            held.push(&network.milvus);
        }
        let mark = [Point::AfterEmbed, Point::BeforeUpsert].map(|point| workers[0].passes(point));
        held.iter().for_each(|proxy| proxy.set(Traffic::Hold));
        load.update(DOCUMENTS).await?;
        load.delete(DOCUMENTS / 4).await?;
        let (_, behind) = case.committed().await?;
        ensure!(behind > 0, "everything was done before the fault");
        // A part of it only the other one can do, once the broker has given up the first.
        case.until_committed(COMMITTED, || workers.iter_mut().try_for_each(Worker::still_runs))
            .await
            .with_context(|| logs(&workers))?;
        for proxy in &held {
            ensure!(proxy.counts().held_bytes > 0, "nothing was held");
        }
        let n_embedded = workers[0].passes(Point::AfterEmbed) - mark[0];
        let n_written = workers[0].passes(Point::BeforeUpsert) - mark[1];
        ensure!(n_embedded.min(n_written) > 0, "nothing was in its hands; {}", workers[0].log());
        case.verdict().await?.ensure_clean().context("while one is cut off")?;

        held.iter().for_each(|proxy| proxy.set(Traffic::Pass));
        // New documents only: a new version of an old one would repair what it did.
        until_it_reads(&mut load, &mut workers, 0, None).await?;
        judge(&case, sampler, &mut workers).await?;
        say(&format!(
            "{behind} records behind when one was cut off, which embedded {n_embedded} times more and wrote {n_written} times; {network}"
        ));
        finish(case, workers).await
    })
}

/// Waits for a worker to read, with more and more to read: new versions of some documents, or new
/// documents.
async fn until_it_reads(
    load: &mut Load,
    workers: &mut [Worker],
    which: usize,
    updates: Option<usize>,
) -> Result<()> {
    let before = workers[which].passes(Point::AfterFetch);
    let deadline = Instant::now() + PATIENCE;
    while workers[which].passes(Point::AfterFetch) == before {
        workers.iter_mut().try_for_each(Worker::still_runs)?;
        ensure!(Instant::now() < deadline, "worker {which} reads nothing; {}", logs(workers));
        match updates {
            Some(updates) => load.update(updates).await?,
            None => load.create(4).await?,
        }
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

/// Waits for a worker to have passed a point more than `mark` times.
async fn until_passed(worker: &Worker, point: Point, mark: usize) -> Result<()> {
    until("it goes on", PATIENCE, || async {
        Ok(if worker.passes(point) > mark { Ok(()) } else { Err(worker.log()) })
    })
    .await
}
