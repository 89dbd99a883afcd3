//! The bar, and the first answer while it moves.

use std::time::{Duration, Instant};

use livedex_local::{LocalError, Progress, Stack, Stop, config};

use super::http::metric;
use super::livedex::{Livedex, Worker, ask};

const RECORDS: &str = "livedex_ingest_records_total";
const CHUNKS: &str = "livedex_ingest_chunks_total";

/// How often the worker and the broker are asked.
const EVERY: Duration = Duration::from_millis(150);

/// What ingestion did.
#[derive(Debug)]
pub(super) struct Ingested {
    /// Records finished.
    pub(super) records: u64,
    /// Chunks that were embedded and written.
    pub(super) embedded: u64,
    /// Chunks that were there already, unchanged.
    pub(super) unchanged: u64,
    /// From the start of publishing to no lag.
    pub(super) time: Duration,
    /// From the start of the demo.
    pub(super) first_answer: Option<Duration>,
}

impl Ingested {
    /// What it did, and how fast.
    pub(super) fn rate(&self) -> String {
        let seconds = self.time.as_secs_f64();
        if self.embedded == 0 {
            return format!(
                "{} documents compared in {seconds:.1} s: {} chunks unchanged, none embedded",
                self.records, self.unchanged
            );
        }
        let embedded = format!("{} documents, {} chunks embedded", self.records, self.embedded);
        if self.unchanged > 0 {
            // Chunks a second would mix both, and say nothing about either.
            return format!("{embedded}, {} unchanged, in {seconds:.1} s", self.unchanged);
        }
        let rate = self.embedded as f64 / seconds.max(0.001);
        format!("{embedded}, in {seconds:.1} s: {rate:.0} chunks/s")
    }
}

/// How far ingestion was, in words.
fn when(records: u64, total: u64) -> String {
    match records {
        0 => format!("Before any of the {total} documents is finished"),
        all if all == total => format!("With all {total} documents in"),
        some => format!("With {some} of {total} documents in"),
    }
}

/// What was on the topic before the worker started.
#[derive(Debug)]
pub(super) struct Before {
    records: u64,
    lag: u64,
}

impl Before {
    /// To be taken while no worker runs.
    pub(super) fn worker(stack: &Stack) -> anyhow::Result<Self> {
        let records = stack.kafka().records(&stack.addresses().topic)?;
        Ok(Self { records, lag: lag(stack)? })
    }
}

/// How many records the worker's group has not committed.
fn lag(stack: &Stack) -> anyhow::Result<u64> {
    let group = config::get(&stack.data().config(), "kafka", "group")?;
    let group = group.as_deref().unwrap_or("livedex");
    Ok(stack.kafka().lag(group, &stack.addresses().topic)?)
}

/// The moments that times are counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// The start of the demo.
    pub(super) start: Instant,
    /// The start of publishing.
    pub(super) publish: Instant,
}

/// Shows ingestion until the group has no lag, and one answer as soon as there is one. Publishing is
/// over, so what is on the topic is all there is.
pub(super) fn watch(
    livedex: &Livedex,
    (stack, worker): (&Stack, &mut Worker),
    question: &str,
    before: &Before,
    since: Since,
    progress: &Progress,
    stop: &Stop,
) -> anyhow::Result<Ingested> {
    let on_topic = stack.kafka().records(&stack.addresses().topic)?;
    let total = on_topic - before.records + before.lag;
    let step = progress.begin("ingesting", Some(total));
    let mut first_answer = None;
    loop {
        worker.check()?;
        let metrics = worker.metrics();
        let records = metric(&metrics, RECORDS, "");
        let embedded = metric(&metrics, CHUNKS, "action=\"embedded\"");
        let unchanged = metric(&metrics, CHUNKS, "action=\"unchanged\"");
        let behind = lag(stack)?;
        step.position(records);
        step.detail(&format!("{} chunks searchable, lag {behind}", embedded + unchanged));
        if first_answer.is_none() {
            let asked = Instant::now();
            let reply = livedex.reply(question, &["--top-k", "3"], stop)?;
            if !reply.hits.is_empty() {
                let took = asked.elapsed();
                first_answer = Some(since.start.elapsed());
                // Counted after the answer, so that it is never said to have come earlier than it did.
                let records = metric(&worker.metrics(), RECORDS, "");
                let args = ask(question, &["--top-k", "3"]);
                let table = livedex.output(&args, stop)?;
                progress.line(&format!(
                    "  {}, an answer in {:.1} s:\n\n  $ {}\n{}\n",
                    when(records, total),
                    took.as_secs_f64(),
                    livedex.typed(&args),
                    table.trim_end()
                ));
            }
        }
        if behind == 0 {
            let time = since.publish.elapsed();
            let done = Ingested { records, embedded, unchanged, time, first_answer };
            step.done_as(&done.rate());
            return Ok(done);
        }
        if stop.wait(EVERY) {
            return Err(LocalError::Stopped.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingested(embedded: u64, unchanged: u64) -> Ingested {
        let time = Duration::from_secs(2);
        Ingested { records: 10, embedded, unchanged, time, first_answer: None }
    }

    #[test]
    fn the_moment_of_the_first_answer_is_said_as_it_was() {
        assert_eq!(when(0, 5), "Before any of the 5 documents is finished");
        assert_eq!(when(2, 5), "With 2 of 5 documents in");
        assert_eq!(when(5, 5), "With all 5 documents in");
    }

    #[test]
    fn the_rate_says_what_was_done() {
        assert_eq!(
            ingested(100, 0).rate(),
            "10 documents, 100 chunks embedded, in 2.0 s: 50 chunks/s"
        );
        assert_eq!(
            ingested(1, 99).rate(),
            "10 documents, 1 chunks embedded, 99 unchanged, in 2.0 s"
        );
        assert_eq!(
            ingested(0, 100).rate(),
            "10 documents compared in 2.0 s: 100 chunks unchanged, none embedded"
        );
    }
}
