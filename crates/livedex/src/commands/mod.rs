//! What each command does.

use std::process::ExitCode;

use crate::{
    catch_up,
    cli::{Cli, Command, DocumentsCommand, ModelsCommand},
    config,
    worker::{self, Roles},
};

mod answer;
mod check;
mod dlq;
mod documents;
mod eval;
mod files;
mod models;
mod publish;
mod query;
mod refusal;
mod sample;
mod schema;
mod scoring;
mod status;

impl Command {
    /// Whether the command runs until it is stopped, and so logs its progress.
    pub(crate) fn is_worker(&self) -> bool {
        matches!(self, Self::Run | Self::Ingest(_) | Self::Serve | Self::Eval(_))
    }
}

/// Runs the command and returns the process's exit code.
pub(crate) async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let read = || config::read(&cli.global);
    match &cli.command {
        Command::Run => worker::run(read()?, Roles { ingest: true, serve: true }).await,
        Command::Ingest(args) if args.until_caught_up => catch_up::run(read()?, args).await,
        Command::Ingest(_) => worker::run(read()?, Roles { ingest: true, serve: false }).await,
        Command::Serve => worker::run(read()?, Roles { ingest: false, serve: true }).await,
        Command::Publish(args) => publish::run(&read()?, args).await,
        Command::Query(args) => query::run(&read()?, args).await,
        Command::Documents(DocumentsCommand::Get(args)) => documents::get(&read()?, args).await,
        Command::Rerank(args) => scoring::rerank(&read()?, args).await,
        Command::Embed(args) => scoring::embed(&read()?, args).await,
        Command::Status(args) => status::run(&read()?, args).await,
        Command::Dlq(command) => dlq::run(&read()?, command).await,
        Command::Eval(args) => eval::run(read()?, args).await,
        Command::Check(args) if args.print_config => {
            print(&config::effective(&cli.global)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(args) if args.sample.is_some() => sample::run(&read()?, args).await,
        Command::Check(_) => check::run(&cli.global).await,
        Command::Models(ModelsCommand::Check(args)) => models::check(&read()?, args).await,
        Command::Schema(args) => schema::run(args),
    }
}

/// Prints an answer to standard output. A reader that went away (`livedex schema | head`) is no
/// error.
pub(crate) fn print(text: &str) {
    write(text.as_bytes());
    if !text.ends_with('\n') {
        write(b"\n");
    }
}

/// Writes bytes to standard output as they are; false if nobody reads it any more.
fn write(bytes: &[u8]) -> bool {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// Tells a person something on standard error, which is no answer.
fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
