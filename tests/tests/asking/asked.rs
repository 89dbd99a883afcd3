//! One stack for all cases: a worker, and a few documents that it has ingested.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use livedex_testkit::{Broker, Livedex, Stack, binary::Running, stack::runtime, wait::until};
use serde_json::{Value, json};

/// For one command, and a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// For a worker to load its models and ingest a few documents.
const START: Duration = Duration::from_secs(90);

/// The stack, started by the case that needs it first, and stopped with the last one.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Option<Arc<Asked>>>>);

impl Shared {
    pub(crate) fn get(&self) -> Result<Arc<Asked>> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = &*started {
            return Ok(asked.clone());
        }
        let asked = Arc::new(Asked::start().context("starting the stack")?);
        *started = Some(asked.clone());
        Ok(asked)
    }
}

/// A running worker and the commands that ask it.
pub(crate) struct Asked {
    pub(crate) livedex: Livedex,
    // Before the servers: it ends while they still answer.
    _worker: Running,
    _stack: Stack,
}

impl Asked {
    fn start() -> Result<Self> {
        let stack = Stack::start(Broker::start_embedded()?)?;
        let livedex = Livedex::new(&stack.config())?;
        let mut worker = livedex.start(&["run"])?;
        let runtime = runtime()?;
        runtime.block_on(async {
            for (id, lang, text) in DOCUMENTS {
                let metadata = json!({ "lang": lang });
                publish(&stack, id, None, text, metadata).await?;
            }
            let long: Vec<String> =
                (1..=9).map(|n| format!("# Part {n}\n\n{}", "Herons wait. ".repeat(20))).collect();
            publish(&stack, "long.md", None, &long.join("\n\n"), json!({ "lang": "en" })).await?;
            let text = "A heron of another house.";
            publish(&stack, "of-acme.md", Some("acme"), text, json!({ "lang": "fr" })).await
        })?;
        runtime.block_on(stack.until_committed(START)).with_context(|| log(&worker))?;
        // What is committed is in the collection; the service answers once its models are loaded.
        runtime.block_on(until("an answer", START, || async {
            let finished = livedex.run(&["query", "herons", "--strong"], SOON)?;
            Ok(finished.success().map(drop).map_err(|error| error.to_string()))
        }))?;
        worker.still_runs()?;
        Ok(Self { livedex, _worker: worker, _stack: stack })
    }

    /// The reply to the question that all cases ask, with these flags.
    pub(crate) fn json(&self, flags: &[&str]) -> Result<Value> {
        let arguments = [&["query", "herons by the water", "--json"], flags].concat();
        let finished = self.livedex.run(&arguments, SOON)?.success()?;
        serde_json::from_str(&finished.stdout).with_context(|| finished.stdout.clone())
    }
}

const DOCUMENTS: [(&str, &str, &str); 5] = [
    ("a.md", "en", "A heron stands in the shallow water and waits."),
    ("b.md", "de", "Ein Reiher steht im flachen Wasser und wartet."),
    ("c.md", "en", "The lighthouse at the end of the pier."),
    ("d.md", "de", "Der Leuchtturm am Ende der Mole."),
    ("e.md", "en", "Trains leave on the hour."),
];

async fn publish(
    stack: &Stack,
    id: &str,
    tenant: Option<&str>,
    text: &str,
    metadata: Value,
) -> Result<()> {
    let document = json!({
        "id": id, "tenant": tenant, "text": text, "content_type": "text/markdown",
        "metadata": metadata,
    });
    stack.publish_raw(Some(id.as_bytes()), document.to_string().as_bytes()).await?;
    Ok(())
}

fn log(worker: &Running) -> String {
    worker.stderr().unwrap_or_default()
}
