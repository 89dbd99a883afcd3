//! The metrics of this crate: every name, once.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Records read from the topic.
pub const RECORDS: &str = "livedex_kafka_records_total";
/// Records between the watermark and the end of a partition (labels topic, partition).
pub const LAG: &str = "livedex_kafka_lag";
/// Bytes read and not yet finished.
pub const IN_FLIGHT_BYTES: &str = "livedex_kafka_in_flight_bytes";
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

/// Tells the recorder what the metrics mean. To be called once, after a recorder is installed.
pub fn describe() {
    describe_counter!(RECORDS, "Records read from the topic");
    describe_gauge!(LAG, "Records between the watermark and the end of the partition");
    describe_gauge!(IN_FLIGHT_BYTES, metrics::Unit::Bytes, "Bytes read and not yet finished");
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
}

impl SourceMeters {
    pub(crate) fn new() -> Self {
        Self {
            records: counter!(RECORDS),
            in_flight_bytes: gauge!(IN_FLIGHT_BYTES),
            paused: gauge!(PAUSED),
            partitions: gauge!(PARTITIONS),
        }
    }
}

/// Counts a commit.
pub(crate) fn committed(is_ok: bool) {
    counter!(COMMITS, "result" => if is_ok { "ok" } else { "error" }).increment(1);
}

/// Counts a rebalance.
pub(crate) fn rebalanced(event: &'static str) {
    counter!(REBALANCES, "event" => event).increment(1);
}

/// Counts a dead letter.
pub(crate) fn dead_letter(result: &'static str) {
    counter!(DEAD_LETTERS, "result" => result).increment(1);
}

/// Sets the lag of a partition, in records. A partition that was given away has lag 0 here: its
/// new owner reports it.
pub(crate) fn lag(topic: &str, partition: i32, records: i64) {
    gauge!(LAG, "topic" => topic.to_owned(), "partition" => partition.to_string())
        .set(f64::from(i32::try_from(records).unwrap_or(i32::MAX)));
}
