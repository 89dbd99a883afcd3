//! `livedex ingest --until-caught-up`: a job that ends when everything is in the collection and
//! committed, and that goes on where it was stopped. On Apache Kafka and on the embedded broker.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Broker, Livedex, Need, Stack, Suite,
    binary::{Finished, Running},
    stack::runtime,
    wait::until,
    workload::Workload,
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// For a job over a few hundred documents, in a debug build on two busy cores.
const JOB: Duration = Duration::from_secs(180);

/// For a job that has nothing to do: connect, load the models, join, see the ends, leave.
const NOTHING: Duration = Duration::from_secs(20);

/// The drain of the jobs here, in milliseconds. The default would hide a stop that hangs.
const DRAIN_MS: u64 = 5000;

/// How long a stop may take: the drain, 5 s to leave the group, and a busy machine.
const STOP: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    Suite::new()
        .test("a_job_on_apache_kafka", &[Need::ApacheKafka, Need::LocalServers], || {
            let (runtime, stack) = (runtime()?, Stack::start(Broker::start_apache()?)?);
            let mut workload = Workload::new(31);
            from_nothing_to_caught_up(&runtime, &stack, &mut workload)?;
            a_stopped_job_goes_on_where_it_was(&runtime, &stack, &mut workload)?;
            two_jobs_share_the_work(&runtime, &stack, &mut workload)
        })
        .test("a_job_on_the_embedded_broker", &[Need::LocalServers], || {
            let (runtime, stack) = (runtime()?, Stack::start(Broker::start_embedded()?)?);
            let mut workload = Workload::new(32);
            from_nothing_to_caught_up(&runtime, &stack, &mut workload)?;
            a_stopped_job_goes_on_where_it_was(&runtime, &stack, &mut workload)
        })
        .run()
}

/// A folder with the configuration of a job. Small waves, so that it is stopped between two.
fn job(stack: &Stack) -> Result<Livedex> {
    let ingest = format!("[ingest]\nwave_records = 16\ndrain_ms = {DRAIN_MS}\n");
    Livedex::new(&format!("{}{ingest}", stack.config()))
}

const CATCH_UP: [&str; 3] = ["ingest", "--until-caught-up", "--json"];

/// An empty topic, documents and a record that is none, nothing new, and dead letters as failure.
fn from_nothing_to_caught_up(
    runtime: &Runtime,
    stack: &Stack,
    workload: &mut Workload,
) -> Result<()> {
    let livedex = job(stack)?;
    let finished = livedex.run(&CATCH_UP, NOTHING)?;
    let done = summary(&finished, 0).context("an empty topic")?;
    ensure!(done["caught_up"] == true && done["records"] == 0, "{done}");

    runtime.block_on(async {
        stack.publish(&workload.create(100)?).await?;
        stack.publish_raw(Some(b"broken"), b"{\"text\": ").await
    })?;
    let finished = livedex.run(&CATCH_UP, JOB)?;
    let done = summary(&finished, 0).context("100 documents")?;
    is_caught_up(runtime, stack, workload)?;
    for (key, expected) in [("records", 101), ("documents", 100), ("dead_letters", 1)] {
        ensure!(done[key] == expected, "{key}: {done}");
    }
    ensure!(done["chunks_embedded"].as_u64() > Some(100), "{done}");
    ensure!(done["tokens_per_second"].as_f64() > Some(0.0), "{done}");

    // There is nothing left to do, which takes no time, and the summary is one line.
    let finished = livedex.run(&["ingest", "--until-caught-up"], NOTHING)?;
    ensure!(finished.status.code() == Some(0), "{}: {}", finished.status, finished.stderr);
    ensure!(finished.stdout.starts_with("caught up after "), "{}", finished.stdout);
    ensure!(finished.stdout.contains(": 0 records, 0 documents"), "{}", finished.stdout);
    ensure!(finished.stdout.lines().count() == 1, "{}", finished.stdout);

    runtime.block_on(stack.publish_raw(Some(b"broken"), b"[]"))?;
    let strict = [&CATCH_UP[..], &["--fail-on-dead-letters"]].concat();
    let done = summary(&livedex.run(&strict, NOTHING)?, 3).context("dead letters")?;
    ensure!(done["caught_up"] == true && done["dead_letters"] == 1, "{done}");
    is_caught_up(runtime, stack, workload)
}

/// SIGTERM while waves are in flight: within the drain, with an exit code that says it was not
/// done, and without a loss.
fn a_stopped_job_goes_on_where_it_was(
    runtime: &Runtime,
    stack: &Stack,
    workload: &mut Workload,
) -> Result<()> {
    let livedex = job(stack)?;
    runtime.block_on(async {
        stack.publish(&workload.create(300)?).await?;
        stack.publish(&workload.update(200)).await?;
        stack.publish(&workload.delete(50)).await
    })?;
    let behind = runtime.block_on(stack.lag())?;
    ensure!(behind == 550, "{behind}");
    let running = livedex.start(&CATCH_UP)?;
    runtime.block_on(until_it_works(stack, &running, behind))?;
    let finished = running.terminate(STOP)?;
    let stopped = summary(&finished, 143)?;
    ensure!(stopped["caught_up"] == false, "{stopped}");
    let left = runtime.block_on(stack.lag())?;
    ensure!(0 < left && left < behind, "{left} of {behind} are left: not in the middle");

    // Stopped at once, before there is anything to stop.
    let running = livedex.start(&CATCH_UP)?;
    runtime.block_on(until("it hears signals", NOTHING, || async {
        let log = running.stderr()?;
        Ok(if log.is_empty() { Err("nothing logged".to_owned()) } else { Ok(()) })
    }))?;
    let finished = running.terminate(STOP)?;
    ensure!(finished.status.code() == Some(143), "{}: {}", finished.status, finished.stderr);

    let finished = livedex.run(&CATCH_UP, JOB)?;
    let rest = summary(&finished, 0)?;
    is_caught_up(runtime, stack, workload)?;
    let n = |report: &Value| report["records"].as_i64().unwrap_or(0);
    // What was finished and not yet committed comes again, and only that.
    ensure!(n(&rest) <= left && n(&stopped) + n(&rest) >= behind, "{stopped} {rest}");
    Ok(())
}

/// Two jobs at once in one group: whoever ends first leaves the other nothing that is not done.
fn two_jobs_share_the_work(
    runtime: &Runtime,
    stack: &Stack,
    workload: &mut Workload,
) -> Result<()> {
    runtime.block_on(async {
        stack.publish(&workload.update(150)).await?;
        stack.publish(&workload.create(50)?).await
    })?;
    let (first, second) = (job(stack)?, job(stack)?);
    let [one, two] = std::thread::scope(|scope| {
        [&first, &second]
            .map(|livedex| scope.spawn(|| livedex.run(&CATCH_UP, JOB)))
            .map(|job| job.join().map_err(|_| anyhow::anyhow!("the job's thread panicked")))
    });
    let reports = [summary(&one??, 0)?, summary(&two??, 0)?];
    is_caught_up(runtime, stack, workload)?;
    let records: i64 = reports.iter().filter_map(|report| report["records"].as_i64()).sum();
    ensure!(records >= 200, "{reports:?}");
    Ok(())
}

/// Waits until some of the records are committed.
async fn until_it_works(stack: &Stack, running: &Running, behind: i64) -> Result<()> {
    until("the first commit", JOB, || async {
        Ok(match stack.lag().await? {
            lag if lag < behind => Ok(()),
            _ => Err("nothing committed".to_owned()),
        })
    })
    .await
    .with_context(|| running.stderr().unwrap_or_default())
}

/// The summary of a job that has ended with this exit code.
fn summary(finished: &Finished, code: i32) -> Result<Value> {
    ensure!(
        finished.status.code() == Some(code),
        "{}, expected {code}: {}{}",
        finished.status,
        finished.stdout,
        finished.stderr
    );
    ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).with_context(|| finished.stdout.clone())
}

/// By the broker's word nothing is left, and the collection says what it should.
fn is_caught_up(runtime: &Runtime, stack: &Stack, workload: &Workload) -> Result<()> {
    runtime.block_on(async {
        let lag = stack.lag().await?;
        ensure!(lag == 0, "{lag} records are not committed");
        let report = stack.report(&workload.expected()).await?;
        ensure!(report.is_clean() && report.rows > workload.expected().len(), "{report}");
        Ok(())
    })
}
