//! `livedex-local up`: the stack, until Ctrl-C.

use std::time::Duration;

use livedex_local::{DataDir, Progress, Stack, Stop};

use crate::cli::UpArgs;
use crate::{console, telemetry};

/// How often the children are looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Runs it. Fails as soon as one of the servers ends by itself.
pub(crate) fn up(args: &UpArgs, stop: &Stop) -> anyhow::Result<()> {
    let data = DataDir::open(&args.data)?;
    telemetry::to_file(&data.logs())?;
    let progress = Progress::console();
    let mut stack = Stack::start(data, &args.servers.options(false), &progress, stop)?;
    if stack.partitions() != args.servers.partitions {
        progress.line(&format!(
            "  the topic {} is there already and keeps its {} partitions",
            args.servers.topic,
            stack.partitions()
        ));
    }
    introduce(&stack);
    while !stop.wait(EVERY) {
        if let Some(error) = stack.failed() {
            return Err(error.into());
        }
    }
    let step = progress.begin("stopping", None);
    let data = console::short(stack.data().root());
    drop(stack);
    step.done(&format!("stopped, the data stays in {data}"));
    Ok(())
}

/// Prints where everything is and what to type next.
pub(crate) fn introduce(stack: &Stack) {
    let at = stack.addresses();
    let data = stack.data();
    console::line("");
    console::line(&format!("  Kafka    {}", at.brokers));
    console::line(&format!(
        "           topics {} ({} partitions) and {}",
        at.topic,
        stack.partitions(),
        at.dead_letter_topic
    ));
    console::line(&format!("  NATS     {}", at.nats));
    console::line(&format!("  Milvus   {}", at.milvus));
    console::line(&format!("  data     {}", console::short(data.root())));
    console::line(&format!("  logs     {}", console::short(&data.logs())));
    console::line("");
    console::line("  Next, in another terminal (Ctrl-C here ends all of it):");
    console::line("");
    console::line(&format!("    livedex run --config {}", console::short(&data.config())));
    console::line("");
}
