//! JSON scalars as text.
//!
//! A string is itself, true and false are `true` and `false`, and a number is what JSON prints: a
//! whole number in decimal, any other with as many digits as tell it from its neighbours (`1.10` is
//! `1.1`, a whole number beyond 64 bits is rounded).

use livedex_core::document::ContentType;
use serde_json::Value;

use super::location::Location;

/// What [`scalar`] takes.
pub(super) const SCALAR: &str = "a string, a number, true or false";

/// What [`name`] takes.
pub(super) const NAME: &str = "a string, a whole number of 64 bits, true or false";

/// Any scalar as text; `None` for a list and an object.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A scalar that names something: as [`scalar`], but for numbers whose text could be another
/// number's.
pub(super) fn name(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.is_f64() => None,
        other => scalar(other),
    }
}

/// Where the text of a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextRule {
    /// The value itself is the text.
    Whole,
    /// One place, or several whose texts are joined by a blank line.
    Parts(Vec<Location>),
    /// A template.
    Template(super::template::Template),
}

/// What the text of a document is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContentTypeRule {
    /// Always this.
    Fixed(ContentType),
    /// What a place says; plain text if it says nothing.
    At(Location),
    /// What the CloudEvent says of its data, where that is one of ours; else plain text.
    Data,
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
