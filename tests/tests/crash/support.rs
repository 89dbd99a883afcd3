//! What the crash cases share: servers, names, deadlines, lines of output.

use std::future::Future;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use livedex_testkit::{
    Case, Kafka, MilvusLite, Sampler,
    case::{Group, Verdict},
    crash::Worker,
    sampler::Samples,
    stack::runtime,
};

/// For everything produced to be committed, on a busy machine of two cores.
pub(crate) const COMMITTED: Duration = Duration::from_secs(180);

/// For something to happen that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// For a worker to end after SIGTERM: it finishes its waves within 20 s, and leaves within 5 s.
const STOP: Duration = Duration::from_secs(40);

/// A broker and a Milvus Lite that are started when the first case asks for them and serve all:
/// each case has topics, a group and a collection of its own.
#[derive(Clone, Default)]
pub(crate) struct Servers {
    kafka: Arc<Mutex<Option<Kafka>>>,
    milvus: Arc<Mutex<Option<MilvusLite>>>,
}

impl Servers {
    /// `host:port` of Kafka.
    pub(crate) fn brokers(&self) -> Result<String> {
        let mut kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kafka {
            Some(kafka) => Ok(kafka.brokers()),
            None => Ok(kafka.insert(Kafka::start()?).brokers()),
        }
    }

    /// The URI of Milvus Lite.
    pub(crate) fn milvus(&self) -> Result<String> {
        let mut milvus = self.milvus.lock().unwrap_or_else(PoisonError::into_inner);
        match &*milvus {
            Some(milvus) => Ok(milvus.uri()),
            None => Ok(milvus.insert(MilvusLite::start_serial()?).uri()),
        }
    }

    /// Ends them.
    pub(crate) fn stop(&self) {
        self.kafka.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.milvus.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Runs the asynchronous part of a case.
pub(crate) fn block_on<T>(case: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(case)
}

/// A case of its own on these servers, with its dead-letter topic.
pub(crate) async fn open(
    brokers: &str,
    milvus: &str,
    what: &str,
    partitions: i32,
    group: Group,
) -> Result<Case> {
    let case = open_without_letters(brokers, milvus, what, partitions, group).await?;
    case.create_dead_letters().await?;
    Ok(case)
}

/// As [`open`], without a dead-letter topic.
pub(crate) async fn open_without_letters(
    brokers: &str,
    milvus: &str,
    what: &str,
    partitions: i32,
    group: Group,
) -> Result<Case> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{what}-{}-{n}", std::process::id());
    Case::open(brokers, milvus, &name, partitions, group).await
}

/// Waits until everything is committed, and judges it. Fails if a worker has ended meanwhile.
pub(crate) async fn verdict(
    case: &Case,
    sampler: Sampler,
    workers: &mut [Worker],
) -> Result<(Verdict, Samples)> {
    case.until_committed(COMMITTED, || workers.iter_mut().try_for_each(Worker::still_runs))
        .await
        .with_context(|| logs(workers))?;
    let verdict = case.verdict().await?;
    verdict.ensure_clean().with_context(|| logs(workers))?;
    let samples = sampler.finish().await.with_context(|| logs(workers))?;
    Ok((verdict, samples))
}

/// As [`verdict`], with a line about it.
pub(crate) async fn judge(
    case: &Case,
    sampler: Sampler,
    workers: &mut [Worker],
) -> Result<(Verdict, Samples)> {
    let (verdict, samples) = verdict(case, sampler, workers).await?;
    say(&format!(
        "{verdict}; {} looks, {} midway, {} unanswered",
        samples.taken, samples.midway, samples.failed
    ));
    Ok((verdict, samples))
}

/// Stops workers (SIGTERM), one after the other.
pub(crate) fn stop(workers: impl IntoIterator<Item = Worker>) -> Result<()> {
    workers
        .into_iter()
        .try_for_each(|worker| tokio::task::block_in_place(|| worker.terminate(STOP)))
}

/// Stops the workers and ends the case.
pub(crate) async fn finish(case: Case, workers: impl IntoIterator<Item = Worker>) -> Result<()> {
    stop(workers)?;
    case.close().await
}

/// The ends of the workers' logs.
pub(crate) fn logs(workers: &[Worker]) -> String {
    workers.iter().map(Worker::log).collect::<Vec<_>>().join("\n")
}

/// The value of an environment variable, or a default.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(value) => Ok(value.parse()?),
        Err(_) => Ok(default),
    }
}

/// Prints a line at once. Not by `println!`, which a harness may capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
