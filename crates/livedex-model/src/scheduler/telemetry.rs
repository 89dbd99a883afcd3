//! Names and descriptions of the metrics that the runtime reports through the `metrics`
//! facade.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use crate::backend::Memory;

/// Gauge, label `lane`: requests (query) or texts (ingest) accepted and not yet answered.
pub const QUEUE_DEPTH: &str = "livedex_model_queue_depth";
/// Histogram, label `lane`: tokens of a batch; a prefix that pairs share counts once.
pub const BATCH_TOKENS: &str = "livedex_model_batch_tokens";
/// Histogram, label `lane`: seconds that the device took for a batch.
pub const BATCH_SECONDS: &str = "livedex_model_batch_seconds";
/// Histogram, label `lane`: a batch's tokens as a part of the lane's budget; above 1 for a single
/// sequence that is longer. Ingest beside queries fills half of it on an asynchronous device.
pub const BATCH_FILL: &str = "livedex_model_batch_fill";
/// Seconds in which at least one batch was on the device: its rate is the utilisation. Only grows; a
/// gauge, since counters of this facade are whole numbers.
pub const BUSY_SECONDS_TOTAL: &str = "livedex_model_device_busy_seconds_total";
/// Gauge, label `kind` (`used`, `total`): the device's own memory. Absent where it has none.
pub const MEMORY_BYTES: &str = "livedex_model_device_memory_bytes";
/// Counter, label `lane`: tokens that the device has processed; as in [`BATCH_TOKENS`].
pub const TOKENS_TOTAL: &str = "livedex_model_tokens_total";
/// Counter, label `reason` (`cancelled`, `deadline`, `overloaded`): requests that ended
/// without costing the device anything more.
pub const DROPPED_TOTAL: &str = "livedex_model_dropped_total";
/// Gauge: the token budget in force, below the configured one after running out of memory.
pub const TOKEN_BUDGET: &str = "livedex_model_token_budget";
/// Counter, label `role` (`embedder`, `reranker`): texts that lost tokens because they are longer
/// than the model reads.
pub const TRUNCATED_TOTAL: &str = "livedex_model_truncated_total";

/// Label of the lane: `query` or `ingest`.
pub const LANE: &str = "lane";
/// Label of the reason a request was dropped.
pub const REASON: &str = "reason";
/// Label of the kind of memory.
pub const KIND: &str = "kind";
/// Label of the model's role.
pub const ROLE: &str = "role";
/// The role of stage 1.
pub(crate) const EMBEDDER: &str = "embedder";
/// The role of stage 2.
pub(crate) const RERANKER: &str = "reranker";

/// Counts a text that lost tokens.
pub(crate) fn truncated(role: &'static str) {
    metrics::counter!(TRUNCATED_TOTAL, ROLE => role).increment(1);
}

/// Reports a batch that is over.
pub(crate) fn batch(lane: &'static str, tokens: usize, budget: usize, took: Duration) {
    metrics::histogram!(BATCH_SECONDS, LANE => lane).record(took.as_secs_f64());
    metrics::histogram!(BATCH_TOKENS, LANE => lane).record(tokens as f64);
    metrics::histogram!(BATCH_FILL, LANE => lane).record(tokens as f64 / budget.max(1) as f64);
    metrics::counter!(TOKENS_TOTAL, LANE => lane).increment(tokens as u64);
}

/// Adds to the time in which the device was busy.
pub(crate) fn busy(time: Duration) {
    metrics::gauge!(BUSY_SECONDS_TOTAL).increment(time.as_secs_f64());
}

/// Reports the device's memory.
pub(crate) fn memory(memory: Memory) {
    metrics::gauge!(MEMORY_BYTES, KIND => "used").set(memory.used as f64);
    metrics::gauge!(MEMORY_BYTES, KIND => "total").set(memory.total as f64);
}

/// Describes the metrics to the installed recorder.
pub(crate) fn describe() {
    describe_gauge!(QUEUE_DEPTH, "Requests (query lane) or texts (ingest lane) not yet answered");
    describe_histogram!(BATCH_TOKENS, "Tokens of a batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Time the device took for a batch");
    describe_histogram!(BATCH_FILL, "Tokens of a batch over its lane's budget");
    describe_gauge!(BUSY_SECONDS_TOTAL, "Seconds with at least one batch on the device");
    describe_gauge!(MEMORY_BYTES, Unit::Bytes, "The device's own memory");
    describe_counter!(TOKENS_TOTAL, "Tokens the device has processed");
    describe_counter!(DROPPED_TOTAL, "Requests dropped before they cost the device more");
    describe_counter!(TRUNCATED_TOTAL, "Texts cut because they are longer than the model reads");
    describe_gauge!(TOKEN_BUDGET, "Token budget in force, lower after running out of memory");
}
