//! The metrics of the pipeline, all in one place.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livedex_core::record::RawRecord;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const RECORDS: &str = "livedex_ingest_records_total";
const CHUNKS: &str = "livedex_ingest_chunks_total";
const WAVE_SECONDS: &str = "livedex_ingest_wave_seconds";
const FRESHNESS_SECONDS: &str = "livedex_ingest_freshness_seconds";
const RETRIES: &str = "livedex_ingest_retries_total";
const WAVES_IN_FLIGHT: &str = "livedex_ingest_waves_in_flight";

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
    describe_gauge!(WAVES_IN_FLIGHT, "Waves being worked on");
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
    counter!(RECORDS, "outcome" => outcome).increment(1);
}

pub(crate) fn chunks(action: &'static str, n: u64) {
    if n > 0 {
        counter!(CHUNKS, "action" => action).increment(n);
    }
}

pub(crate) fn retry(step: &'static str) {
    counter!(RETRIES, "step" => step).increment(1);
}

pub(crate) fn waves_in_flight(n: usize) {
    gauge!(WAVES_IN_FLIGHT).set(n as f64);
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
        histogram!(WAVE_SECONDS, "step" => self.step).record(self.start.elapsed());
    }
}

/// Records how old a record is now that its document is searchable. A record from the future (a
/// producer's clock that is ahead) counts as 0.
pub(crate) fn freshness(record: &RawRecord) {
    let Some(timestamp_ms) = record.timestamp_ms.and_then(|ms| u64::try_from(ms).ok()) else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    histogram!(FRESHNESS_SECONDS).record(now.saturating_sub(Duration::from_millis(timestamp_ms)));
}
