//! The value of a record, opened by its format.

use livedex_core::record::RawRecord;
use serde_json::{Map, Value};

use super::{cloudevents, debezium, error::MappingError, spec::Format};
use crate::fields::parse;

/// What a value says before any pointer leads into it.
#[derive(Debug)]
pub(super) struct Opened {
    /// Whether it says that the document is gone.
    pub(super) is_gone: bool,
    /// What pointers lead into; `None` if there is nothing but a key.
    pub(super) body: Option<Value>,
    /// The attributes of a CloudEvent.
    pub(super) attributes: Map<String, Value>,
    /// When it was changed, if the format says so.
    pub(super) updated_at_ms: Option<i64>,
}

impl Opened {
    /// A document's fields.
    pub(super) fn body(body: Value) -> Self {
        Self { is_gone: false, body: Some(body), attributes: Map::new(), updated_at_ms: None }
    }

    /// The end of a document, perhaps with its last fields.
    pub(super) fn gone(body: Option<Value>) -> Self {
        Self { is_gone: true, body, attributes: Map::new(), updated_at_ms: None }
    }
}

/// Opens a record's value. A null value, whether Kafka's own or JSON's, is a tombstone.
pub(super) fn open(format: Format, record: &RawRecord) -> Result<Opened, MappingError> {
    let value = record.value.as_deref();
    match (format, value) {
        (Format::Cloudevents, value) => cloudevents::open(&record.headers, value),
        (_, None) => Ok(Opened::gone(None)),
        (Format::Debezium, Some(value)) => debezium::open(value),
        (Format::Json, Some(value)) => Ok(match parse(value)? {
            Value::Null => Opened::gone(None),
            body => Opened::body(body),
        }),
        (Format::Text | Format::Markdown | Format::Html, Some(value)) => {
            let text = std::str::from_utf8(value).map_err(|error| MappingError::NotUtf8 {
                at: error.valid_up_to(),
                bytes: value.len(),
            })?;
            Ok(Opened::body(Value::from(text)))
        }
        // Its own decoder reads it.
        (Format::DocumentV1, Some(value)) => Ok(Opened::body(parse(value)?)),
    }
}

/// What pointers lead into, for messages.
pub(super) fn body_name(format: Format) -> &'static str {
    match format {
        Format::Debezium => "the row",
        Format::Cloudevents => "the event's data",
        Format::DocumentV1 | Format::Json | Format::Text | Format::Markdown | Format::Html => {
            "the value"
        }
    }
}
