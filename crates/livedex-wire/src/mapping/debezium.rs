//! Debezium's change events: an envelope around a row before and after.
//!
//! The envelope may stand in another one, Kafka Connect's own of schema and payload
//! (`schemas.enable`); both forms are told apart by what is there. Created, updated and
//! snapshotted rows (`c`, `u`, `r`) are read from `after`, deleted ones (`d`) from `before`, which
//! PostgreSQL fills with the key's columns only unless the table's replica identity is full.
//! Tombstones follow deletions and have nothing but the key.
//!
//! Events of no single row are errors: a truncated table (`t`) leaves documents in the collection
//! that nobody names, and a logical decoding message (`m`) belongs on another topic. Debezium
//! sends neither unless it is told to.
//!
//! <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>

use serde_json::{Map, Value};

use super::{error::MappingError, opened::Opened};
use crate::{
    fields::{kind, parse, quote},
    time::format_millis,
};

/// What stands in place of a value that PostgreSQL did not send, unless
/// `unavailable.value.placeholder` says otherwise.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Bytes of an unknown operation that are shown: all known ones have one.
const MAX_OPERATION_BYTES: usize = 8;

/// Why a value is no change of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// There is no envelope.
    #[error(
        "no Debezium change event: {found}; an event has \"op\" and \"after\" (a topic flattened by \
         ExtractNewRecordState is read by mapping.format = \"json\")"
    )]
    NoEnvelope {
        /// What is there instead.
        found: String,
    },
    /// The operation needs a row that is not there.
    #[error("the Debezium event (op {op}) has no row: \"after\" is {found}, expected an object")]
    NoRow {
        /// The operation.
        op: &'static str,
        /// What is there instead.
        found: &'static str,
    },
    /// The whole table is gone.
    #[error(
        "the table was truncated (Debezium's op t): which documents are gone is not said; delete \
         them by tombstones, and keep such events off the topic by skipped.operations"
    )]
    Truncated,
    /// A message in the database's log.
    #[error("a logical decoding message (Debezium's op m) is no row; it belongs on another topic")]
    Message,
    /// None that Debezium documents.
    #[error("the Debezium event has the unknown operation {op}; known are c, u, r, d, t and m")]
    Operation {
        /// The operation, or how long it is.
        op: String,
    },
}

/// Opens a value.
pub(super) fn open(value: &[u8]) -> Result<Opened, MappingError> {
    let mut envelope = match payload(parse(value)?) {
        Value::Object(envelope) => envelope,
        // What Kafka Connect's converter once made of a tombstone.
        Value::Null => return Ok(Opened::gone(None)),
        other => return Err(no_envelope(format!("the value is {}", kind(&other))).into()),
    };
    let updated_at_ms = changed_at(&envelope);
    let op = match envelope.get("op") {
        Some(Value::String(op)) => op.as_str(),
        Some(other) => return Err(no_envelope(format!("\"op\" is {}", kind(other))).into()),
        None => return Err(no_envelope("the value is an object without \"op\"".into()).into()),
    };
    let op = match op {
        "c" => "c",
        "u" => "u",
        "r" => "r",
        "d" => {
            let row = row(envelope.remove("before"))?.filter(Value::is_object);
            return Ok(Opened { updated_at_ms, ..Opened::gone(row) });
        }
        "t" => return Err(EnvelopeError::Truncated.into()),
        "m" => return Err(EnvelopeError::Message.into()),
        other if other.len() <= MAX_OPERATION_BYTES => {
            return Err(EnvelopeError::Operation { op: quote(other) }.into());
        }
        other => {
            let op = format!("of {} bytes", other.len());
            return Err(EnvelopeError::Operation { op }.into());
        }
    };
    match row(envelope.remove("after"))? {
        Some(row @ Value::Object(_)) => Ok(Opened { updated_at_ms, ..Opened::body(row) }),
        other => {
            let found = other.as_ref().map_or("not there", kind);
            Err(EnvelopeError::NoRow { op, found }.into())
        }
    }
}

/// What stands in Kafka Connect's envelope of schema and payload, if it is one.
pub(super) fn payload(json: Value) -> Value {
    match json {
        Value::Object(mut envelope)
            if envelope.len() == 2
                && envelope.contains_key("schema")
                && envelope.contains_key("payload") =>
        {
            envelope.remove("payload").unwrap_or_default()
        }
        other => other,
    }
}

/// Whether the string, or the first of a list, stands for a value that was not sent.
pub(super) fn is_unavailable(value: &Value) -> bool {
    match value {
        Value::String(text) => text == UNAVAILABLE,
        Value::Array(items) => items.first().is_some_and(|item| item == UNAVAILABLE),
        _ => false,
    }
}

/// A row. MongoDB's connector writes its documents as JSON in a string.
fn row(row: Option<Value>) -> Result<Option<Value>, MappingError> {
    Ok(match row {
        Some(Value::String(text)) => Some(parse(text.as_bytes())?),
        other => other,
    })
}

/// When the database changed the row, or else when Debezium saw it.
fn changed_at(envelope: &Map<String, Value>) -> Option<i64> {
    let source = envelope.get("source").and_then(|source| source.get("ts_ms"));
    // Some connectors write 0 for the rows of a snapshot.
    let source = source.and_then(Value::as_i64).filter(|millis| *millis > 0);
    let millis = source.or_else(|| envelope.get("ts_ms").and_then(Value::as_i64));
    millis.filter(|millis| format_millis(*millis).is_some())
}

fn no_envelope(found: String) -> EnvelopeError {
    EnvelopeError::NoEnvelope { found }
}
