//! A query worker that costs what one says: see `livedex_testkit::query`. Its only argument is the
//! path of its specification.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use livedex_testkit::query::{WorkerSpec, worker};

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
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.context("the only argument is the path of the specification")?;
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let spec: WorkerSpec = toml::from_str(&text)?;
    worker::run(&spec).await
}
