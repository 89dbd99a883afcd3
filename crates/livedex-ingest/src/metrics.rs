//! The metrics of the pipeline, all in one place. Each has the label `stream`.
//!
//! The stream's name goes with the task that works for it (`for_stream`) rather than through
//! every function that counts something.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use livedex_core::record::{Depth, RawRecord};
use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::progress::Depths;

const RECORDS: &str = "livedex_ingest_records_total";
const CHUNKS: &str = "livedex_ingest_chunks_total";
const WAVE_SECONDS: &str = "livedex_ingest_wave_seconds";
/// Histogram: seconds from a record's timestamp to its document being searchable.
pub const FRESHNESS_SECONDS: &str = "livedex_ingest_freshness_seconds";
const RETRIES: &str = "livedex_ingest_retries_total";
const UNCONFIRMED: &str = "livedex_ingest_unconfirmed_documents_total";
const WAVES_IN_FLIGHT: &str = "livedex_ingest_waves_in_flight";
const QUEUE_RECORDS: &str = "livedex_ingest_queue_records";
const QUEUE_BYTES: &str = "livedex_ingest_queue_bytes";

const STREAM: &str = "stream";

tokio::task_local! {
    static NAME: Arc<str>;
}

/// Runs `work` with every metric of its task labelled with this stream's name. A task that it
/// spawns is another task.
pub(crate) fn for_stream<F: Future>(
    name: Arc<str>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    NAME.scope(name, work)
}

/// The name of the stream that this task works for.
fn stream() -> SharedString {
    NAME.try_with(|name| SharedString::from(name.clone())).unwrap_or_default()
}

/// Tells the recorder what the metrics mean. Call it once, after a recorder is installed.
pub fn describe() {
    describe_counter!(
        RECORDS,
        "Records by outcome: applied, superseded by a later one of their wave, replay, dead_letter, \
         dropped because their partition was revoked"
    );
    describe_counter!(
        CHUNKS,
        "Chunks by action: embedded, unchanged, rewritten with their stored vector, deleted"
    );
    describe_histogram!(WAVE_SECONDS, Unit::Seconds, "Time of each step of a wave");
    describe_histogram!(
        FRESHNESS_SECONDS,
        Unit::Seconds,
        "From a record's timestamp to its document being searchable"
    );
    describe_counter!(RETRIES, "Attempts that a server did not answer well, by step");
    describe_counter!(
        UNCONFIRMED,
        "Documents whose write was given up with their partition and may still reach the collection"
    );
    describe_gauge!(WAVES_IN_FLIGHT, "Waves being worked on");
    describe_gauge!(
        QUEUE_RECORDS,
        "Records by stage: queue (decoded, waiting for a wave), waves (being worked on)"
    );
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes of those records, by stage");
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Superseded,
    Replay,
    DeadLetter,
    Dropped,
}

pub(crate) fn record(outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Applied => "applied",
        Outcome::Superseded => "superseded",
        Outcome::Replay => "replay",
        Outcome::DeadLetter => "dead_letter",
        Outcome::Dropped => "dropped",
    };
    counter!(RECORDS, STREAM => stream(), "outcome" => outcome).increment(1);
}

pub(crate) fn chunks(action: &'static str, n: u64) {
    if n > 0 {
        counter!(CHUNKS, STREAM => stream(), "action" => action).increment(n);
    }
}

pub(crate) fn retry(step: &'static str) {
    counter!(RETRIES, STREAM => stream(), "step" => step).increment(1);
}

pub(crate) fn unconfirmed(step: &'static str, documents: usize) {
    counter!(UNCONFIRMED, STREAM => stream(), "step" => step).increment(documents as u64);
}

pub(crate) fn depths(depths: &Depths) {
    gauge!(WAVES_IN_FLIGHT, STREAM => stream()).set(depths.waves_in_flight as f64);
    for (stage, Depth { records, bytes }) in [("queue", depths.queue), ("waves", depths.waves)] {
        gauge!(QUEUE_RECORDS, STREAM => stream(), "stage" => stage).set(records as f64);
        gauge!(QUEUE_BYTES, STREAM => stream(), "stage" => stage).set(bytes as f64);
    }
}

/// Takes the time of a step of a wave, from its making to its drop.
pub(crate) struct StepTimer {
    step: &'static str,
    start: Instant,
}

impl StepTimer {
    pub(crate) fn start(step: &'static str) -> Self {
        Self { step, start: Instant::now() }
    }
}

impl Drop for StepTimer {
    fn drop(&mut self) {
        histogram!(WAVE_SECONDS, STREAM => stream(), "step" => self.step)
            .record(self.start.elapsed());
    }
}

/// Records how old a record is now that its document is searchable, and returns it. A record from
/// the future (a producer's clock that is ahead) counts as 0; one without a timestamp does not
/// count.
pub(crate) fn freshness(record: &RawRecord) -> Option<Duration> {
    let timestamp_ms = record.timestamp_ms.and_then(|ms| u64::try_from(ms).ok())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_millis(timestamp_ms));
    histogram!(FRESHNESS_SECONDS, STREAM => stream()).record(age);
    Some(age)
}
