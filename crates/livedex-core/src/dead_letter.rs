//! Dead letters: their header names, what is read back of them, and which of them are meant.
//!
//! A dead letter is the record as it came (key, value, headers) with these headers added.
//! The names that start with `__connect.` are Kafka Connect's own
//! (`org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`), so that tools made for
//! its dead-letter queues read ours, and ours read its. Every value is UTF-8 text, numbers in
//! decimal.

mod letter;
mod selection;

pub use letter::{DeadLetter, ForeignRecord};
pub use selection::Selection;

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

/// What the names of Kafka Connect's headers begin with. It writes more than Livedex does (a task's
/// number, a stack trace).
pub const CONNECT_PREFIX: &str = "__connect.errors.";

/// Whether a header of this name was added by whoever refused the record: a replay takes it off
/// again.
pub fn is_added(name: &str) -> bool {
    name.starts_with(CONNECT_PREFIX) || ALL.contains(&name)
}

/// All that Livedex writes.
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
