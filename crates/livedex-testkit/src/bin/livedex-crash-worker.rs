//! A worker that can be made to die at a named point: see `livedex_testkit::crash`. Its only
//! argument is the path of its specification.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use livedex_testkit::crash::{WorkerSpec, run};
use tracing_subscriber::EnvFilter;

/// Our own progress, others' warnings.
const FILTER: &str = "warn,livedex_crash_worker=info,livedex_testkit=info,livedex_ingest=info,\
    livedex_kafka=info,livedex_milvus=info";

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .compact()
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
    run::run(&spec).await
}
