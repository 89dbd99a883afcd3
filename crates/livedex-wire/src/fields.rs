//! JSON objects field by field, with typed errors.
//!
//! serde's own errors quote the value they stumble over, which may be a document's text; these
//! name the field, what was expected, and what kind of value was found.

use std::{fmt, ops::RangeInclusive};

use serde_json::{Map, Number, Value};

/// Characters of a name that is quoted in an error.
const MAX_QUOTED_CHARS: usize = 64;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct FieldError {
    /// Its path (`filter.and[1].eq.field`).
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is needed and not there.
    #[error("is missing")]
    Missing,
    /// No field has this name.
    #[error("is no field here; there are {known}")]
    Unknown {
        /// The fields there are.
        known: String,
    },
    /// It has the wrong type.
    #[error("is {found}, expected {expected}")]
    Type {
        /// What it should be.
        expected: &'static str,
        /// What kind of value it is.
        found: &'static str,
    },
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is longer than its limit.
    #[error("has {length} {unit}, the limit is {limit}")]
    TooLong {
        /// How long it is.
        length: usize,
        /// The limit, inclusive.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// A number outside its range.
    #[error("is {value}, it must be {least} to {limit}")]
    Range {
        /// The number.
        value: String,
        /// The least, inclusive.
        least: i128,
        /// The limit, inclusive.
        limit: i128,
    },
    /// None of the values there are.
    #[error("is {value}, it must be {allowed}")]
    NotAllowed {
        /// The value, cut.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Any other rule.
    #[error("{0}")]
    Other(String),
}

impl FieldError {
    /// An error of the field at `field`.
    pub fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self { field: field.into(), problem }
    }

    /// The limit that was passed, if it is one.
    pub fn limit(&self) -> Option<u64> {
        match self.problem {
            Problem::TooLong { limit, .. } => u64::try_from(limit).ok(),
            Problem::Range { limit, .. } => u64::try_from(limit).ok(),
            _ => None,
        }
    }
}

/// JSON that cannot be parsed at all: where, and what the parser says, which quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {what}")]
pub struct SyntaxError {
    what: String,
}

/// Parses JSON without looking at what it says.
pub fn parse(json: &[u8]) -> Result<Value, SyntaxError> {
    serde_json::from_slice(json).map_err(|error| SyntaxError { what: error.to_string() })
}

/// A JSON object whose fields are taken out one by one. `null` counts as not there.
pub struct Fields {
    map: Map<String, Value>,
    path: String,
    known: &'static [&'static str],
}

impl Fields {
    /// The object at `path` (empty for the whole), with these fields and no others.
    pub fn new(
        value: Value,
        path: &str,
        known: &'static [&'static str],
    ) -> Result<Self, FieldError> {
        let map = match value {
            Value::Object(map) => map,
            other => {
                let field = if path.is_empty() { "the value" } else { path };
                return Err(type_error(field, "an object", &other));
            }
        };
        if let Some(name) = map.keys().find(|name| !known.contains(&name.as_str())) {
            let problem = Problem::Unknown { known: known.join(", ") };
            return Err(FieldError::new(join(path, &quote(name)), problem));
        }
        Ok(Self { map, path: path.to_owned(), known })
    }

    /// The path of a field.
    pub fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// A field that may be absent.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        debug_assert!(self.known.contains(&name), "{name} is not among the known fields");
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn need(&mut self, name: &'static str) -> Result<Value, FieldError> {
        self.take(name).ok_or_else(|| FieldError::new(self.path(name), Problem::Missing))
    }

    /// A string of at most `limit` bytes.
    pub fn string(
        &mut self,
        name: &'static str,
        limit: usize,
    ) -> Result<Option<String>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => string(&self.path(name), value, limit).map(Some),
        }
    }

    /// A count from `least` to `limit`.
    pub fn count(
        &mut self,
        name: &'static str,
        least: usize,
        limit: usize,
    ) -> Result<Option<usize>, FieldError> {
        let Some(whole) = self.whole(name, least as i128..=limit as i128)? else {
            return Ok(None);
        };
        Ok(usize::try_from(whole).ok())
    }

    /// A whole number in a range.
    pub fn whole(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i128>,
    ) -> Result<Option<i128>, FieldError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Number(number) = &value else {
            return Err(type_error(&self.path(name), "a whole number", &value));
        };
        if !number.is_i64() && !number.is_u64() {
            return Err(type_error(&self.path(name), "a whole number", &value));
        }
        let whole = number.as_i128().filter(|n| range.contains(n));
        whole.map(Some).ok_or_else(|| self.out_of_range(name, number, range))
    }

    /// A number from 0 to 1, both inclusive.
    pub fn share(&mut self, name: &'static str) -> Result<Option<f32>, FieldError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Number(number) = &value else {
            return Err(type_error(&self.path(name), "a number", &value));
        };
        let share = number.as_f64().filter(|share| (0.0..=1.0).contains(share));
        share.map(|share| Some(share as f32)).ok_or_else(|| self.out_of_range(name, number, 0..=1))
    }

    fn out_of_range(&self, name: &str, number: &Number, range: RangeInclusive<i128>) -> FieldError {
        let (least, limit) = range.into_inner();
        let problem = Problem::Range { value: number.to_string(), least, limit };
        FieldError::new(self.path(name), problem)
    }

    /// A list of at most `limit` entries.
    pub fn list(
        &mut self,
        name: &'static str,
        limit: usize,
    ) -> Result<Option<Vec<Value>>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) if list.len() > limit => {
                let problem = Problem::TooLong { length: list.len(), limit, unit: "entries" };
                Err(FieldError::new(self.path(name), problem))
            }
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(type_error(&self.path(name), "a list", &other)),
        }
    }

    /// One of these names, or what it stands for. `allowed` names them for the error.
    pub fn choice<T>(
        &mut self,
        name: &'static str,
        choose: impl FnOnce(&str) -> Option<T>,
        allowed: &'static str,
    ) -> Result<Option<T>, FieldError> {
        let Some(value) = self.string(name, usize::MAX)? else {
            return Ok(None);
        };
        choose(&value).map(Some).ok_or_else(|| {
            let problem = Problem::NotAllowed { value: quote(value), allowed };
            FieldError::new(self.path(name), problem)
        })
    }

    /// A boolean.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(type_error(&self.path(name), "true or false", &other)),
        }
    }
}

/// A string of at most `limit` bytes.
pub fn string(path: &str, value: Value, limit: usize) -> Result<String, FieldError> {
    match value {
        Value::String(text) if text.len() > limit => {
            let problem = Problem::TooLong { length: text.len(), limit, unit: "bytes" };
            Err(FieldError::new(path, problem))
        }
        Value::String(text) => Ok(text),
        other => Err(type_error(path, "a string", &other)),
    }
}

/// A text of 1 to `limit` bytes that is not only white space.
pub fn text(path: &str, value: Value, limit: usize) -> Result<String, FieldError> {
    let text = string(path, value, limit)?;
    if text.trim().is_empty() {
        return Err(FieldError::new(path, Problem::Empty));
    }
    Ok(text)
}

/// The field at `path` is not of the kind that is expected.
pub fn type_error(path: &str, expected: &'static str, found: &Value) -> FieldError {
    FieldError::new(path, Problem::Type { expected, found: kind(found) })
}

/// What kind of value it is, for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A name from outside, cut and with control characters escaped.
pub fn quote(name: impl fmt::Display) -> String {
    let name = name.to_string();
    let mut quoted: String =
        name.chars().take(MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().count() > MAX_QUOTED_CHARS {
        quoted.push('…');
    }
    quoted
}
