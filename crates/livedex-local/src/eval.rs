//! `livedex-local eval`: a test set on the stack, by the real `livedex eval`.

use std::process::ExitCode;

use livedex_local::{DataDir, Progress, Stack, Stop};

use crate::cli::EvalArgs;
use crate::demo::livedex::Livedex;
use crate::telemetry;

/// Runs it. The exit code is that of `livedex eval`.
pub(crate) fn eval(args: &EvalArgs, stop: &Stop) -> anyhow::Result<ExitCode> {
    let livedex = Livedex::find()?;
    let data = DataDir::open(&args.data)?;
    telemetry::to_file(&data.logs())?;
    // On standard error, as all that is not the report.
    let progress = Progress::console();
    let stack = Stack::start(data, &args.servers.options(true), &progress, stop)?;
    let livedex = livedex.with_config(stack.data().config());
    let folder = args.folder.display().to_string();
    let arguments = [&["eval".to_owned(), folder], &args.more[..]].concat();
    progress.line(&format!("  $ {}", livedex.typed(&arguments)));
    // Ended here if it was told to stop, while the servers are still there to clean up on.
    let ended = livedex.run(&arguments, stop);
    drop(stack);
    let code = ended?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
