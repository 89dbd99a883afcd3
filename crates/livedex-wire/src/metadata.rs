//! A document's metadata: a flat object of scalars and lists of strings.

use std::collections::BTreeMap;

use livedex_core::{
    document::{Metadata, MetadataValue},
    limits::{MAX_METADATA_BYTES, MAX_METADATA_KEY_BYTES, MAX_METADATA_KEYS},
};
use serde_json::{Number, Value};

use crate::fields::{FieldError, Problem, quote, type_error};

/// Reads and checks metadata; keys with `null` are left out.
pub(crate) fn decode(json: Value) -> Result<Metadata, FieldError> {
    let map = match json {
        Value::Object(map) => map,
        other => return Err(type_error("metadata", "an object", &other)),
    };
    let mut metadata: Metadata = BTreeMap::new();
    for (key, value) in map {
        if key.is_empty() {
            return Err(FieldError::new("metadata", Problem::Other("has an empty key".to_owned())));
        }
        let path = format!("metadata.{}", quote(&key));
        if key.len() > MAX_METADATA_KEY_BYTES {
            let (length, limit) = (key.len(), MAX_METADATA_KEY_BYTES);
            let problem = Problem::TooLong { length, limit, unit: "bytes in its name" };
            return Err(FieldError::new(path, problem));
        }
        if let Some(value) = decode_value(&path, value)? {
            metadata.insert(key, value);
        }
    }
    if metadata.len() > MAX_METADATA_KEYS {
        let (length, limit) = (metadata.len(), MAX_METADATA_KEYS);
        return Err(FieldError::new("metadata", Problem::TooLong { length, limit, unit: "keys" }));
    }
    let length = crate::reply::to_json(&metadata).len();
    if length > MAX_METADATA_BYTES {
        let limit = MAX_METADATA_BYTES;
        let problem = Problem::TooLong { length, limit, unit: "bytes as JSON" };
        return Err(FieldError::new("metadata", problem));
    }
    Ok(metadata)
}

/// `None` for null.
fn decode_value(path: &str, json: Value) -> Result<Option<MetadataValue>, FieldError> {
    Ok(Some(match json {
        Value::Null => return Ok(None),
        Value::Bool(value) => MetadataValue::Bool(value),
        Value::String(text) => MetadataValue::String(text),
        Value::Number(number) => match decode_number(path, &number)? {
            Numeric::Int(value) => MetadataValue::Int(value),
            Numeric::Float(value) => MetadataValue::Float(value),
        },
        Value::Array(items) => {
            let strings = items.into_iter().enumerate().map(|(i, item)| match item {
                Value::String(text) => Ok(text),
                other => Err(type_error(&format!("{path}[{i}]"), "a string", &other)),
            });
            MetadataValue::Strings(strings.collect::<Result<_, _>>()?)
        }
        other => {
            let expected = "a string, a number, true, false or a list of strings";
            return Err(type_error(path, expected, &other));
        }
    }))
}

/// A number of metadata or of a filter.
pub(crate) enum Numeric {
    /// Without a fraction or an exponent.
    Int(i64),
    /// With one.
    Float(f64),
}

/// A whole number beyond 64 bits is an error: as a float it would equal its neighbours.
pub(crate) fn decode_number(path: &str, number: &Number) -> Result<Numeric, FieldError> {
    match (number.as_i64(), number.as_f64()) {
        (Some(value), _) => Ok(Numeric::Int(value)),
        (None, Some(value)) if number.is_f64() => Ok(Numeric::Float(value)),
        _ => {
            let (least, limit) = (i128::from(i64::MIN), i128::from(i64::MAX));
            let problem = Problem::Range { value: number.to_string(), least, limit };
            Err(FieldError::new(path, problem))
        }
    }
}
