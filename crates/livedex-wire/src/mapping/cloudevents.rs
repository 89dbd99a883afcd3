//! CloudEvents 1.0 in Kafka records: attributes and data, in structured and in binary mode.
//!
//! - Structured: the value is the event in JSON. The header `content-type` says so
//!   (`application/cloudevents+json`); an object with `specversion` is believed without it.
//! - Binary: the attributes are headers (`ce_type`), the value is the data, and the header
//!   `content-type` says what it is.
//!
//! Data that is JSON, or that does not say what it is, is parsed; any other must be UTF-8 and is one
//! string, which the empty pointer names.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>

use base64::{Engine, engine::general_purpose::STANDARD};
use livedex_core::record::Header;
use serde_json::{Map, Value};

use super::{error::MappingError, opened::Opened, text::media_type};
use crate::{
    document::last_header,
    fields::{kind, parse, quote},
};

/// The header that names a media type, in binary mode that of the data.
const CONTENT_TYPE: &str = "content-type";

/// In front of an attribute's name in binary mode.
const PREFIX: &str = "ce_";

/// The attribute that says what the data is.
const DATA_CONTENT_TYPE: &str = "datacontenttype";

/// What media types of events in structured mode begin with.
const EVENT: &str = "application/cloudevents";

/// The one format of events that is read.
const EVENT_JSON: &str = "application/cloudevents+json";

/// Why a record is no CloudEvent that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Nothing says that it is one.
    #[error(
        "no CloudEvent: neither is the header content-type {EVENT_JSON}, nor is there a header \
         ce_specversion, nor is the value a JSON object with \"specversion\""
    )]
    NoEvent,
    /// An event in another format than JSON.
    #[error("the CloudEvent is {media_type}; structured events are read as {EVENT_JSON}")]
    Format {
        /// The media type, cut.
        media_type: String,
    },
    /// The event is not an object.
    #[error("no CloudEvent: the value is {found}, expected an object")]
    NotAnObject {
        /// What kind of value it is.
        found: &'static str,
    },
    /// Another version of CloudEvents.
    #[error("the CloudEvent's specversion is {found}; 1.0 is read")]
    SpecVersion {
        /// The version, cut, or what is there instead.
        found: String,
    },
    /// `data_base64` is no Base64.
    #[error("the CloudEvent's data_base64 is not a string of Base64 with padding")]
    Base64,
    /// Text that is none.
    #[error("the CloudEvent's data is {what}, which is neither JSON nor text in UTF-8")]
    NotText {
        /// The media type, cut, or that there is none.
        what: String,
    },
}

/// Opens a record.
pub(super) fn open(headers: &[Header], value: Option<&[u8]>) -> Result<Opened, MappingError> {
    let Some(value) = value else {
        // In binary mode also an event without data: for a compacted topic it is a tombstone.
        return Ok(Opened { attributes: attributes(headers)?, ..Opened::gone(None) });
    };
    let content_type = last_header(headers, CONTENT_TYPE).map(String::from_utf8_lossy);
    let media_type = content_type.as_deref().map(media_type).unwrap_or_default();
    if media_type.starts_with(EVENT) {
        return match media_type == EVENT_JSON || media_type == EVENT {
            true => structured(parse(value)?),
            false => Err(EventError::Format { media_type: quote(media_type) }.into()),
        };
    }
    if last_header(headers, "ce_specversion").is_some() {
        return binary(attributes(headers)?, value);
    }
    match parse(value) {
        Ok(event) if event.get("specversion").is_some() => structured(event),
        _ => Err(EventError::NoEvent.into()),
    }
}

fn structured(event: Value) -> Result<Opened, MappingError> {
    let mut attributes = match event {
        Value::Object(attributes) => attributes,
        other => return Err(EventError::NotAnObject { found: kind(&other) }.into()),
    };
    check_version(&attributes)?;
    let text = attributes.remove("data");
    let binary = attributes.remove("data_base64").filter(|data| !data.is_null());
    let body = match (text, binary) {
        (_, Some(Value::String(base64))) => {
            let bytes = STANDARD.decode(base64).map_err(|_| EventError::Base64)?;
            data(&attributes, &bytes)?
        }
        (_, Some(_)) => return Err(EventError::Base64.into()),
        (text, None) => text.unwrap_or_default(),
    };
    Ok(Opened { attributes, ..Opened::body(body) })
}

fn binary(attributes: Map<String, Value>, value: &[u8]) -> Result<Opened, MappingError> {
    check_version(&attributes)?;
    let body = data(&attributes, value)?;
    Ok(Opened { attributes, ..Opened::body(body) })
}

/// Data of bytes: parsed if it is JSON, or else one string.
fn data(attributes: &Map<String, Value>, bytes: &[u8]) -> Result<Value, MappingError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let declared = attributes.get(DATA_CONTENT_TYPE).and_then(Value::as_str);
    if declared.is_none_or(is_json) {
        return Ok(parse(bytes)?);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Value::from(text)),
        Err(_) => {
            let what = quote(declared.unwrap_or_default());
            Err(EventError::NotText { what }.into())
        }
    }
}

/// `*/json` and `*/*+json`.
fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    let subtype = media_type.split_once('/').map(|(_, subtype)| subtype).unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

/// The attributes that stand in headers.
fn attributes(headers: &[Header]) -> Result<Map<String, Value>, MappingError> {
    let mut attributes = Map::new();
    for (header, value) in headers {
        let name = match header.strip_prefix(PREFIX) {
            Some(name) => name,
            None if header == CONTENT_TYPE => DATA_CONTENT_TYPE,
            None => continue,
        };
        let Some(value) = value else { continue };
        let text = std::str::from_utf8(value)
            .map_err(|_| MappingError::HeaderNotUtf8 { name: header.clone() })?;
        attributes.insert(name.to_owned(), Value::from(text));
    }
    Ok(attributes)
}

fn check_version(attributes: &Map<String, Value>) -> Result<(), EventError> {
    match attributes.get("specversion") {
        Some(Value::String(version)) if version == "1.0" => Ok(()),
        Some(Value::String(version)) => Err(EventError::SpecVersion { found: quote(version) }),
        Some(other) => Err(EventError::SpecVersion { found: kind(other).to_owned() }),
        None => Err(EventError::SpecVersion { found: "not there".to_owned() }),
    }
}
