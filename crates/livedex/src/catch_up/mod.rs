//! `livedex ingest --until-caught-up`: ingestion that ends by itself.
//!
//! It ends with exit code 0 once everything that its partitions held when they were assigned is
//! in Milvus (or in the dead-letter topic), and the broker has confirmed that it is committed. A
//! signal stops it at any moment: what is in flight is finished and committed within the drain,
//! and the exit code says that it was not done, so that whoever started it starts it again.
//!
//! # Layout
//! - `pace`: speed over the last while, and the time that is left
//! - `show`: bars on a terminal, log lines elsewhere
//! - `report`: what was done, in a line or as JSON

use std::{process::ExitCode, time::Instant};

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    cli::IngestArgs,
    commands::print,
    config::Config,
    stream::Until,
    worker::{Roles, Worker},
};

mod pace;
mod report;
mod show;

use report::Report;
pub(crate) use show::show;

/// The exit code if records became dead letters and that was to be a failure.
const DEAD_LETTERS: u8 = 3;

/// Runs until everything is caught up, and returns the process's exit code.
pub(crate) async fn run(config: Config, args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let mut worker = Worker::new(config)?;
    if let Err(error) = worker.listen().await {
        // A worker of the same configuration may run beside it and have the port.
        info!("no metrics from this process: {error:#}");
    }
    let roles = Roles { ingest: true, serve: false };
    let Some(started) = worker.start(roles, Until::CaughtUp).await? else {
        return Ok(unfinished(&worker));
    };
    let (began, over) = (Instant::now(), CancellationToken::new());
    let shown = tokio::spawn(show(started.streams.clone(), over.clone()));
    let is_well = worker.supervise(&started).await;
    over.cancel();
    let _ = shown.await;

    let report = Report::new(&started.streams, began.elapsed());
    print(&if args.json { report.json().to_string() } else { report.text() });
    Ok(match (is_well, report.has_caught_up()) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => unfinished(&worker),
        (true, true) if args.fail_on_dead_letters && report.dead_letters() > 0 => {
            ExitCode::from(DEAD_LETTERS)
        }
        (true, true) => ExitCode::SUCCESS,
    })
}

/// The exit code of a run that was stopped before it was done.
fn unfinished(worker: &Worker) -> ExitCode {
    worker.signals.exit_code().map_or(ExitCode::FAILURE, ExitCode::from)
}
