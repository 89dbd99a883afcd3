//! A query worker that costs what one says: see `livedex_testkit::query`. Its only argument is the
//! path of its specification.

use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{query::worker, specified::specification};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    match work().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<()> {
    worker::run(&specification()?).await
}
