//! `livedex-local`: Kafka, NATS and Milvus on this machine, for trying Livedex out.

mod cli;
mod console;
mod demo;
mod eval;
mod signals;
mod telemetry;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use livedex_local::{LocalError, Progress, Stop, venv};

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let stop = Stop::new();
    let result = signals::forward_to(&stop).and_then(|()| run(cli, &stop));
    match result {
        Ok(code) => code,
        Err(error) if matches!(error.downcast_ref(), Some(LocalError::Stopped)) => {
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            console::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli, stop: &Stop) -> anyhow::Result<ExitCode> {
    match cli.command {
        cli::Command::Up(args) => up::up(&args, stop)?,
        cli::Command::Demo(args) => demo::demo(&args, stop)?,
        cli::Command::Eval(args) => return eval::eval(&args, stop),
        cli::Command::Install => {
            let venv = venv::ensure_until(&Progress::console(), stop)?;
            console::line(&format!("servers  {}", venv.bin().display()));
            console::line(&format!("model    {}", venv.minilm().display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
