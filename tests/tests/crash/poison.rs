//! Records that can never be processed, of every kind and everywhere; a document at the limit; and
//! a dead-letter topic that takes none.

use anyhow::{Context as _, Result, ensure};
use livedex_core::{
    document::{Change, ContentType, Document},
    ids::{DocumentId, DocumentKey, Tenant},
};
use livedex_testkit::{
    Case, Sampler,
    case::Group,
    crash::{Action, Fault, Point, Worker, WorkerSpec},
    poison::Poison,
    wait::until,
};

use crate::load::Load;
use crate::support::{
    COMMITTED, PATIENCE, Servers, block_on, finish, judge, open, open_without_letters,
};

const PARTITIONS: i32 = 3;

/// Every kind of it, at the start, in the middle and at the end of every partition, and as a
/// version of a live document.
pub(crate) fn everywhere(servers: &Servers) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let case = open(&brokers, &milvus, "poison", PARTITIONS, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 53);
        let mut n_poison = poison_all(&case).await?;
        load.create(40).await?;
        n_poison += poison_all(&case).await?;
        let worker = Worker::start(&case.spec())?;
        for poison in Poison::ALL {
            let document = load.workload.any().context("no document")?;
            case.produce_poison(poison, Some(&document), None).await?;
        }
        // Not those that got poison last, maybe: a later version takes its place.
        load.update(20).await?;
        load.delete(5).await?;
        n_poison += poison_all(&case).await?;
        end(case, sampler, worker, n_poison).await
    })
}

/// Every kind to every partition.
async fn poison_all(case: &Case) -> Result<usize> {
    for partition in 0..PARTITIONS {
        for poison in Poison::ALL {
            let at = case.produce_poison(poison, None, Some(partition)).await?;
            ensure!(at.partition == partition);
        }
    }
    Ok(Poison::ALL.len() * PARTITIONS as usize)
}

/// A document of ten thousand chunks is no poison: it goes through, is updated, and goes.
pub(crate) fn a_large_document(servers: &Servers) -> Result<()> {
    const CHUNKS: usize = 10_000;
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let case = open(&brokers, &milvus, "large", 1, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 59);
        load.create(5).await?;
        load.poison().await?;
        let mut worker = Worker::start(&case.spec())?;
        let is_committed = async |worker: &mut Worker| {
            case.until_committed(COMMITTED, || worker.still_runs()).await?;
            let verdict = case.verdict().await?;
            verdict.ensure_clean()?;
            anyhow::Ok(verdict.report.rows)
        };
        case.produce(&[large(0..CHUNKS)?]).await?;
        let whole = is_committed(&mut worker).await.with_context(|| worker.log())?;
        ensure!(whole > CHUNKS, "{whole} rows");
        // Its first half moves to the end of another document of the same length.
        case.produce(&[large(CHUNKS / 2..CHUNKS + CHUNKS / 2)?]).await?;
        load.update(5).await?;
        let moved = is_committed(&mut worker).await.with_context(|| worker.log())?;
        ensure!(moved > CHUNKS, "{moved} rows");
        let key = large(0..1)?.key().clone();
        case.produce(&[Change::Delete(key)]).await?;
        end(case, sampler, worker, 1).await
    })
}

/// A document of one chunk a number.
fn large(sections: std::ops::Range<usize>) -> Result<Change> {
    let text: String =
        sections.map(|n| format!("## Section {n}\n\nIts text is {n}.\n\n")).collect();
    Ok(Change::Upsert(Box::new(Document {
        key: DocumentKey { tenant: Tenant::default(), id: DocumentId::new("large.md")? },
        title: Some("A large one".to_owned()),
        text,
        content_type: ContentType::Markdown,
        url: None,
        metadata: Default::default(),
        version: None,
        updated_at_ms: None,
    })))
}

/// Sending dead letters fails for a while: no record is given up meanwhile, and none later.
pub(crate) fn letters_fail(servers: &Servers) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let case = open(&brokers, &milvus, "letters", PARTITIONS, Group::default()).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 61);
        let n_poison = around_documents(&case, &mut load).await?;
        let fault =
            Fault { point: Point::BeforeDeadLetter, nth: 1, times: 10, action: Action::Fail };
        let mut worker = Worker::start(&WorkerSpec { faults: vec![fault], ..case.spec() })?;
        until("dead letters fail", PATIENCE, || async {
            Ok(if worker.fired().is_empty() { Err(worker.log()) } else { Ok(()) })
        })
        .await?;
        case.until_committed(COMMITTED, || worker.still_runs()).await?;
        ensure!(worker.passes(Point::BeforeDeadLetter) >= 10 + n_poison, "{}", worker.log());
        end(case, sampler, worker, n_poison).await
    })
}

/// There is no dead-letter topic. Documents go on; nothing behind poison is committed until the
/// topic is made.
pub(crate) fn no_topic(servers: &Servers) -> Result<()> {
    let (brokers, milvus) = (servers.brokers()?, servers.milvus()?);
    block_on(async {
        let group = Group::default();
        let case = open_without_letters(&brokers, &milvus, "no-topic", PARTITIONS, group).await?;
        let sampler = Sampler::start(&case);
        let mut load = Load::new(&case, 67);
        let n_poison = around_documents(&case, &mut load).await?;
        let mut worker = Worker::start(&case.spec())?;
        // The second time it is tried the first one has failed.
        until("dead letters fail", PATIENCE, || {
            let runs = worker.still_runs();
            let n_tried = worker.passes(Point::BeforeDeadLetter);
            async move {
                runs?;
                Ok(if n_tried > n_poison { Ok(()) } else { Err(format!("{n_tried} tried")) })
            }
        })
        .await?;
        // Every partition begins with poison.
        let (committed, _) = case.committed().await?;
        ensure!(committed.values().all(|&at| at == 0), "{committed:?} is committed");
        case.create_dead_letters().await?;
        end(case, sampler, worker, n_poison).await
    })
}

/// Poison at the start of every partition and once more behind documents. Returns how much.
async fn around_documents(case: &Case, load: &mut Load) -> Result<usize> {
    for partition in 0..PARTITIONS {
        case.produce_poison(Poison::BrokenJson, None, Some(partition)).await?;
    }
    load.create(20).await?;
    for partition in 0..PARTITIONS {
        case.produce_poison(Poison::Unembeddable, None, Some(partition)).await?;
    }
    Ok(2 * PARTITIONS as usize)
}

/// Judges the case, which has `n_poison` dead letters at least, and ends it.
async fn end(case: Case, sampler: Sampler, worker: Worker, n_poison: usize) -> Result<()> {
    let mut workers = [worker];
    let (verdict, _) = judge(&case, sampler, &mut workers).await?;
    ensure!(verdict.look.letters >= n_poison, "{verdict}");
    finish(case, workers).await
}
