//! `livedex-local demo`: the whole of Livedex on real documents, told step by step.
//!
//! It brings up the stack, runs the real `livedex` beside it, and does what a person would type: so
//! every line it shows can be typed again.
//!
//! - [`input`]: what is published, asked, changed and deleted
//! - [`livedex`]: the `livedex` binary: the worker and the commands
//! - [`ingestion`]: the bar, and the first answer while it moves
//! - [`change`]: an edit and a deletion, and how long until answers follow
//! - [`http`]: just enough of HTTP to ask the worker how it is

mod change;
mod http;
mod ingestion;
mod input;
pub(crate) mod livedex;

use std::time::{Duration, Instant};

use livedex_local::{DataDir, Progress, Stack, Stop, config};

use crate::cli::DemoArgs;
use crate::{console, telemetry};
use change::Searchable;
use ingestion::{Before, Ingested, Since};
use input::Input;
use livedex::{Livedex, Worker};

/// How often the children are looked at while nothing else happens.
const EVERY: Duration = Duration::from_millis(200);

/// What took how long, for the end.
struct Times {
    started: Instant,
    stack: Duration,
    worker: Duration,
    ingested: Ingested,
    edited: Searchable,
    deleted: Searchable,
}

/// Runs it.
pub(crate) fn demo(args: &DemoArgs, stop: &Stop) -> anyhow::Result<()> {
    let started = Instant::now();
    let input = Input::choose(args.input.as_deref(), &args.ask)?;
    let livedex = Livedex::find()?;
    let data = DataDir::open(&args.data)?;
    telemetry::to_file(&data.logs())?;
    let progress = Progress::console();

    console::line(&format!("\nLivedex on {}", input.name));
    heading("1. Kafka, NATS and Milvus on this machine");
    let mut stack = Stack::start(data, &args.servers.options(true), &progress, stop)?;
    addresses(&stack);
    let up = started.elapsed();
    let livedex = livedex.with_config(stack.data().config());

    let before = Before::worker(&stack)?;
    heading("2. The worker: Kafka to Milvus, and answers over NATS");
    let mut worker = Worker::start(&livedex, stack.data(), &progress, stop)?;
    let ready = started.elapsed();

    heading("3. Documents onto the Kafka topic");
    let since = Since { start: started, publish: Instant::now() };
    livedex.show(&input.publish(), &input.publish_shown(), stop)?;

    heading("4. Ingestion, and an answer meanwhile");
    let question = &input.questions[0];
    let both = (&stack, &mut worker);
    let ingested = ingestion::watch(&livedex, both, question, &before, since, &progress, stop)?;

    heading("5. Three questions, in two stages");
    if let Some(why) = &input.about_questions {
        console::line(why);
    }
    for question in &input.questions {
        livedex.ask(question, &["--top-k", "5"], stop)?;
    }

    heading("6. One document changes");
    let copies = stack.data().root().join("demo");
    let edited = change::edit(&livedex, &input.changed, &copies, stop)?;
    heading("7. Another one is deleted");
    let question = input.questions.last().unwrap_or(question);
    let deleted = change::delete(&livedex, question, &input.changed, stop)?;
    worker.check()?;

    let times = Times { started, stack: up, worker: ready, ingested, edited, deleted };
    summary(&times);
    if !args.exit {
        next(&livedex, question, &stack);
        while !stop.wait(EVERY) {
            worker.check()?;
            if let Some(error) = stack.failed() {
                return Err(error.into());
            }
        }
    }
    let step = progress.begin("stopping", None);
    let folder = console::short(stack.data().root());
    drop(worker);
    drop(stack);
    step.done(&format!("stopped, the data stays in {folder}"));
    Ok(())
}

fn heading(text: &str) {
    console::line(&format!("\n{text}\n"));
}

fn addresses(stack: &Stack) {
    let at = stack.addresses();
    console::line(&format!(
        "    Kafka {}, NATS {}, Milvus {}\n    data, logs and livedex.toml in {}",
        at.brokers,
        at.nats,
        at.milvus,
        console::short(stack.data().root())
    ));
}

fn summary(times: &Times) {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let done = &times.ingested;
    heading("What took how long");
    let row = |what: &str, value: String| console::line(&format!("    {what:<34}{value}"));
    row("Kafka, NATS and Milvus answer", format!("after {}", seconds(times.stack)));
    row("models loaded, worker ready", format!("after {}", seconds(times.worker)));
    if let Some(first) = done.first_answer {
        row("first answer", format!("after {}", seconds(first)));
    }
    row("ingestion", done.rate());
    row("an edit shows in answers", times.edited.text());
    row("a deletion shows in answers", times.deleted.text());
    row("all of it", seconds(times.started.elapsed()));
}

fn next(livedex: &Livedex, question: &str, stack: &Stack) {
    console::line("\nAll of it goes on running. In another terminal:\n");
    console::line(&format!("    {}\n", livedex.typed(&["query", question])));
    if let Ok(Some(listen)) = config::get(&stack.data().config(), "http", "listen") {
        console::line(&format!("Metrics: http://{listen}/metrics. Ctrl-C here ends everything."));
    }
}
