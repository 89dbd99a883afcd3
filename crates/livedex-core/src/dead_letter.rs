//! The header names of a dead letter.
//!
//! A dead letter is the record as it came (key, value, headers) with these headers added.
//! The names that start with `__connect.` are Kafka Connect's own
//! (`org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`), so that tools made for
//! its dead-letter queues read ours. Every value is UTF-8 text, numbers in decimal.

/// Topic the record came from.
pub const TOPIC: &str = "__connect.errors.topic";

/// Partition the record came from.
pub const PARTITION: &str = "__connect.errors.partition";

/// The record's offset.
pub const OFFSET: &str = "__connect.errors.offset";

/// The component that refused the record: Connect writes the connector's name here, Livedex
/// the consumer group.
pub const CONNECTOR_NAME: &str = "__connect.errors.connector.name";

/// The step that refused the record: [`crate::record::Stage::as_str`].
pub const STAGE: &str = "__connect.errors.stage";

/// The class of the component that failed; Connect writes a Java class here, Livedex the stage's
/// module.
pub const CLASS_NAME: &str = "__connect.errors.class.name";

/// The kind of the error: [`crate::record::DeadLetterReason::class`].
pub const EXCEPTION_CLASS_NAME: &str = "__connect.errors.exception.class.name";

/// The error for people: [`crate::record::DeadLetterReason::message`].
pub const EXCEPTION_MESSAGE: &str = "__connect.errors.exception.message";

/// The record's own timestamp in milliseconds since 1970, absent if it had none: a dead letter
/// gets a new one from the broker. Connect has no header for it.
pub const TIMESTAMP_MS: &str = "livedex.errors.timestamp_ms";

/// Bytes of the record's value, if it was too large for the dead-letter topic and was left out:
/// the dead letter then has no value, and is no tombstone. Connect has no header for it.
pub const VALUE_DROPPED_BYTES: &str = "livedex.errors.value_dropped_bytes";

/// What [`CLASS_NAME`] holds.
pub const CLASS_NAME_VALUE: &str = "livedex";

/// All of the above: a replay takes them off again.
pub const ALL: [&str; 10] = [
    TOPIC,
    PARTITION,
    OFFSET,
    CONNECTOR_NAME,
    STAGE,
    CLASS_NAME,
    EXCEPTION_CLASS_NAME,
    EXCEPTION_MESSAGE,
    TIMESTAMP_MS,
    VALUE_DROPPED_BYTES,
];
