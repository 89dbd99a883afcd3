//! Names and descriptions of the metrics that the runtime reports through the `metrics`
//! facade.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Gauge, label `lane`: requests (query) or texts (ingest) accepted and not yet answered.
pub const QUEUE_DEPTH: &str = "livedex_model_queue_depth";
/// Histogram, label `lane`: tokens of a batch; a prefix that pairs share counts once.
pub const BATCH_TOKENS: &str = "livedex_model_batch_tokens";
/// Histogram, label `lane`: seconds that the device took for a batch.
pub const BATCH_SECONDS: &str = "livedex_model_batch_seconds";
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

/// Describes the metrics to the installed recorder.
pub(crate) fn describe() {
    describe_gauge!(QUEUE_DEPTH, "Requests (query lane) or texts (ingest lane) not yet answered");
    describe_histogram!(BATCH_TOKENS, "Tokens of a batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Time the device took for a batch");
    describe_counter!(TOKENS_TOTAL, "Tokens the device has processed");
    describe_counter!(DROPPED_TOTAL, "Requests dropped before they cost the device more");
    describe_counter!(TRUNCATED_TOTAL, "Texts cut because they are longer than the model reads");
    describe_gauge!(TOKEN_BUDGET, "Token budget in force, lower after running out of memory");
}
