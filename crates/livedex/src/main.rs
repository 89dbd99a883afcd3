//! `livedex`: keeps a Milvus collection in step with Kafka topics and answers two-stage
//! queries on it over NATS.
//!
//! # Layout
//! - [`cli`]: what can be typed
//! - [`config`]: file, environment and flags to a validated configuration
//! - [`telemetry`]: log lines and metrics
//! - [`models`]: loading the models
//! - [`decoding`]: what records are read by
//! - [`worker`]: the long-running roles, wired and stopped
//! - [`stream`]: one topic on its way into one collection
//! - [`catch_up`]: ingestion that ends by itself, its progress and its summary
//! - [`signals`]: SIGTERM and Ctrl-C
//! - [`http`]: liveness, readiness and metrics
//! - [`commands`]: the commands that answer and end

use std::process::ExitCode;

use clap::Parser;

mod catch_up;
mod cli;
mod commands;
mod config;
mod decoding;
mod http;
mod models;
mod signals;
mod stream;
mod telemetry;
mod worker;

/// A forward pass frees large activations with every layer and asks for as large ones again. This
/// allocator keeps the pages, where the system's gives them back and faults them in anew, which
/// took a fifth of a pass.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::init_logs(cli.global.log_format, cli.command.is_worker());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = runtime.block_on(commands::dispatch(cli));
    // A blocking call that outlives its deadline (a hung resolver, say) must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// One line: what was wrong and what to do, from the outermost cause to the innermost.
#[allow(clippy::print_stderr, reason = "the error of a command goes to standard error")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("livedex: {error:#}");
    ExitCode::FAILURE
}
