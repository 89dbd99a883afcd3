//! The metrics of this crate: every name, once. Each has the label `stream`.

use std::sync::Arc;

use livedex_core::record::Depth;
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// Records read from the topic.
pub const RECORDS: &str = "livedex_kafka_records_total";
/// Records between what is committed and the end of a partition (labels topic, partition).
pub const LAG: &str = "livedex_kafka_lag";
/// Bytes read and not yet finished.
pub const IN_FLIGHT_BYTES: &str = "livedex_kafka_in_flight_bytes";
/// Records read and not yet taken by the pipeline.
pub const WAITING_RECORDS: &str = "livedex_kafka_waiting_records";
/// Bytes of those records.
pub const WAITING_BYTES: &str = "livedex_kafka_waiting_bytes";
/// 1 while reading is paused for back-pressure.
pub const PAUSED: &str = "livedex_kafka_paused";
/// Offset commits by result (ok, error).
pub const COMMITS: &str = "livedex_kafka_commits_total";
/// Dead letters by result (ok, without_value, error).
pub const DEAD_LETTERS: &str = "livedex_kafka_dead_letters_total";
/// Rebalances by event (assigned, revoked, lost, or expired: given up after standing still).
pub const REBALANCES: &str = "livedex_kafka_rebalances_total";
/// Partitions that this member owns.
pub const PARTITIONS: &str = "livedex_kafka_assigned_partitions";

const STREAM: &str = "stream";

/// Tells the recorder what the metrics mean. To be called once, after a recorder is installed.
pub fn describe() {
    describe_counter!(RECORDS, "Records read from the topic");
    describe_gauge!(LAG, "Records between what is committed and the end of the partition");
    describe_gauge!(IN_FLIGHT_BYTES, Unit::Bytes, "Bytes read and not yet finished");
    describe_gauge!(WAITING_RECORDS, "Records read and not yet taken by the pipeline");
    describe_gauge!(WAITING_BYTES, Unit::Bytes, "Bytes of records read and not yet taken");
    describe_gauge!(PAUSED, "1 while reading is paused for back-pressure");
    describe_counter!(COMMITS, "Offset commits by result");
    describe_counter!(DEAD_LETTERS, "Dead letters by result");
    describe_counter!(REBALANCES, "Rebalances by event");
    describe_gauge!(PARTITIONS, "Partitions that this member owns");
}

/// The source's metrics, looked up once.
pub(crate) struct SourceMeters {
    pub(crate) records: Counter,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) paused: Gauge,
    pub(crate) partitions: Gauge,
    waiting_records: Gauge,
    waiting_bytes: Gauge,
}

impl SourceMeters {
    pub(crate) fn new(stream: &Arc<str>) -> Self {
        let gauge = |name: &'static str| gauge!(name, STREAM => Arc::clone(stream));
        Self {
            records: counter!(RECORDS, STREAM => Arc::clone(stream)),
            in_flight_bytes: gauge(IN_FLIGHT_BYTES),
            paused: gauge(PAUSED),
            partitions: gauge(PARTITIONS),
            waiting_records: gauge(WAITING_RECORDS),
            waiting_bytes: gauge(WAITING_BYTES),
        }
    }

    /// Sets what waits for the pipeline.
    pub(crate) fn waiting(&self, depth: Depth) {
        self.waiting_records.set(depth.records as f64);
        self.waiting_bytes.set(depth.bytes as f64);
    }
}

/// Counts a commit.
pub(crate) fn committed(stream: &Arc<str>, is_ok: bool) {
    let result = if is_ok { "ok" } else { "error" };
    counter!(COMMITS, STREAM => Arc::clone(stream), "result" => result).increment(1);
}

/// Counts a rebalance.
pub(crate) fn rebalanced(stream: &Arc<str>, event: &'static str) {
    counter!(REBALANCES, STREAM => Arc::clone(stream), "event" => event).increment(1);
}

/// Counts a dead letter.
pub(crate) fn dead_letter(stream: &str, result: &'static str) {
    counter!(DEAD_LETTERS, STREAM => stream.to_owned(), "result" => result).increment(1);
}

/// Sets the lag of a partition, in records. A partition that was given away has lag 0 here: its
/// new owner reports it.
pub(crate) fn lag(stream: &Arc<str>, topic: &Arc<str>, partition: i32, records: i64) {
    gauge!(
        LAG,
        STREAM => Arc::clone(stream),
        "topic" => Arc::clone(topic),
        "partition" => partition.to_string()
    )
    .set(f64::from(i32::try_from(records).unwrap_or(i32::MAX)));
}
