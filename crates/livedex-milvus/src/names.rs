//! The metrics of this crate.

use metrics::{Unit, describe_counter, describe_histogram};

/// Histogram, seconds: one RPC, by `rpc`, whether it succeeded or not.
pub const RPC_SECONDS: &str = "livedex_milvus_rpc_seconds";
/// Counter: rows that Milvus acknowledged.
pub const ROWS_WRITTEN: &str = "livedex_milvus_rows_written_total";
/// Counter: primary keys whose deletion Milvus acknowledged (absent ones count as well).
pub const ROWS_DELETED: &str = "livedex_milvus_rows_deleted_total";
/// Counter: failed RPCs, by `class`: `retry`, `reject`, `unknown`.
pub const ERRORS: &str = "livedex_milvus_errors_total";

/// Gives the metrics their units and help texts.
pub fn describe() {
    describe_histogram!(RPC_SECONDS, Unit::Seconds, "Time of one RPC to Milvus");
    describe_counter!(ROWS_WRITTEN, Unit::Count, "Rows written to Milvus");
    describe_counter!(ROWS_DELETED, Unit::Count, "Rows deleted from Milvus");
    describe_counter!(ERRORS, Unit::Count, "Failed RPCs to Milvus by class");
}
