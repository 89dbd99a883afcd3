//! A worker that can be made to die at a named point: see `livedex_testkit::crash`. Its only
//! argument is the path of its specification.

use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{crash::run, specified::specification};
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
    run::run(&specification()?).await
}
