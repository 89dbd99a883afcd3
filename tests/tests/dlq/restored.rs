//! The whole way of a dead letter: refused by a worker, listed, replayed once the cause is gone,
//! and in the collection, unless a newer version is there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Broker, Livedex, Stack, binary::Running, stack::runtime, workload::Workload,
};

/// For a stream of some hundred records through a debug build on two busy cores.
const STREAM: Duration = Duration::from_secs(120);

/// For a command, or a worker's end.
const SOON: Duration = Duration::from_secs(60);

/// Between the generated documents' sizes: some are above it, some below.
const LIMIT: usize = 2000;

const DOCUMENTS: usize = 60;

pub(crate) fn what_was_too_large_is_searchable(broker: Broker) -> Result<()> {
    // Dropped last, outside of the runtime: stopping servers blocks.
    let stack = Stack::start(broker)?;
    let tight = format!("{}[ingest]\nmax_document_bytes = {LIMIT}\n", stack.config());
    let livedex = Livedex::new(&tight)?;
    let mut workload = Workload::new(7);
    runtime()?.block_on(async {
        let worker = livedex.start(&["ingest"])?;
        stack.publish(&workload.create(DOCUMENTS)?).await?;
        // New versions of half of them: a large one behind a small one, a small one behind a
        // large one, several large ones. Some are deleted then, of which some were never small.
        for _ in 0..3 {
            stack.publish(&workload.update(DOCUMENTS / 2)).await?;
        }
        stack.publish(&workload.delete(DOCUMENTS / 6)).await?;
        stack.until_committed(STREAM).await.with_context(|| log(&worker))?;
        let n_letters = stack.dead_letters().await?.len();
        ensure!(n_letters > 20, "{n_letters} dead letters");
        let report = stack.report(&workload.expected()).await?;
        ensure!(!report.lost.is_empty(), "nothing is missing: {report}");

        let listed = run(&livedex, &["dlq", "list", "--reason", "DecodeError.TooLarge"])?;
        ensure!(listed.contains(&format!("{n_letters} dead letters\n")), "{listed}");
        ensure!(listed.contains(&format!("the limit is {LIMIT} (ingest.max_document_bytes)")));

        // Replayed too early, they are refused again.
        let replayed = run(&livedex, &["dlq", "replay"])?;
        ensure!(replayed.starts_with(&format!("replayed {n_letters} to ")), "{replayed}");
        stack.until_committed(STREAM).await.with_context(|| log(&worker))?;
        ensure!(stack.dead_letters().await?.len() == 2 * n_letters);
        stop(worker).await?;

        // The cause goes: what the letters' headers say still counts, though each has been
        // replayed before.
        std::fs::write(livedex.config(), stack.config())?;
        let worker = livedex.start(&["ingest"])?;
        let replayed = run(&livedex, &["dlq", "replay"])?;
        ensure!(replayed.starts_with(&format!("replayed {n_letters} to ")), "{replayed}");
        stack.until_committed(STREAM).await.with_context(|| log(&worker))?;
        assert_clean(&stack, &workload).await?;

        // A newer version after the replay, and everything once more: the newest stays.
        stack.publish(&workload.update(DOCUMENTS / 4)).await?;
        let replayed = run(&livedex, &["dlq", "replay", "--all"])?;
        ensure!(replayed.starts_with(&format!("replayed {} to ", 2 * n_letters)), "{replayed}");
        stack.until_committed(STREAM).await.with_context(|| log(&worker))?;
        assert_clean(&stack, &workload).await?;
        ensure!(stack.dead_letters().await?.len() == 2 * n_letters, "nothing is refused any more");
        stop(worker).await
    })
}

fn run(livedex: &Livedex, arguments: &[&str]) -> Result<String> {
    Ok(tokio::task::block_in_place(|| livedex.run(arguments, SOON))?.success()?.stdout)
}

async fn stop(worker: Running) -> Result<()> {
    let finished = tokio::task::spawn_blocking(move || worker.terminate(SOON)).await??.success()?;
    ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    Ok(())
}

async fn assert_clean(stack: &Stack, workload: &Workload) -> Result<()> {
    let report = stack.report(&workload.expected()).await?;
    ensure!(report.is_clean(), "{report}");
    ensure!(report.rows > DOCUMENTS, "{report}");
    Ok(())
}

fn log(worker: &Running) -> String {
    format!("the worker's log:\n{}", worker.stderr().unwrap_or_default())
}
