//! The key of a record: as text, as JSON, and as Kafka Connect writes it.

use std::cell::OnceCell;

use livedex_core::record::RawRecord;
use serde_json::Value;

use super::{
    debezium::payload,
    error::MappingError,
    location::Pointer,
    text::{NAME, name},
};
use crate::{
    document,
    fields::{SyntaxError, kind, parse},
};

/// Where the key has the id, or the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyRule {
    /// At a pointer; the empty one is the whole key as text.
    At(Pointer),
    /// As Debezium keys its records: see [`Key::columns`].
    Columns,
}

/// A record's key.
pub(super) struct Key<'a> {
    record: &'a RawRecord,
    /// Whether Kafka Connect may have put a schema around it.
    is_connect: bool,
    json: OnceCell<Result<Value, SyntaxError>>,
}

impl<'a> Key<'a> {
    pub(super) fn new(record: &'a RawRecord, is_connect: bool) -> Self {
        Self { record, is_connect, json: OnceCell::new() }
    }

    /// The key as text; an empty one counts as none.
    pub(super) fn text(&self) -> Result<Option<&'a str>, MappingError> {
        Ok(document::key(self.record)?)
    }

    /// The key as JSON, without the schema that Kafka Connect puts around it.
    fn json(&self) -> Result<Option<&Value>, SyntaxError> {
        let Some(bytes) = self.record.key.as_deref().filter(|key| !key.is_empty()) else {
            return Ok(None);
        };
        let parsed = self.json.get_or_init(|| {
            parse(bytes).map(|json| if self.is_connect { payload(json) } else { json })
        });
        parsed.as_ref().map(Some).map_err(Clone::clone)
    }

    /// What a pointer that is not empty names; null counts as nothing. `field` asks.
    pub(super) fn find(
        &self,
        field: &str,
        pointer: &Pointer,
    ) -> Result<Option<&Value>, MappingError> {
        let json = self.json().map_err(|source| MappingError::KeyNotJson {
            field: field.to_owned(),
            location: pointer.as_str().to_owned(),
            source,
        })?;
        Ok(json.and_then(|json| pointer.find(json)))
    }

    /// What is there instead of what a pointer names.
    pub(super) fn explain(&self, pointer: &Pointer) -> String {
        match self.json() {
            Ok(Some(json)) => pointer.explain(json, "the record's key"),
            Ok(None) => "the record has no key".to_owned(),
            Err(_) => "the record's key is not JSON".to_owned(),
        }
    }

    /// What the rule finds; `None` if there is no key. A key that lacks it is an error: it could
    /// not delete what it names.
    pub(super) fn name(
        &self,
        field: &'static str,
        rule: &KeyRule,
    ) -> Result<Option<String>, MappingError> {
        let pointer = match rule {
            KeyRule::Columns => return self.columns(field),
            KeyRule::At(pointer) => pointer,
        };
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        if pointer.is_whole() {
            return Ok(Some(text.to_owned()));
        }
        let location = || format!("key:{}", pointer.as_str());
        let value = self.find(field, pointer)?.ok_or_else(|| MappingError::Missing {
            field: field.to_owned(),
            location: location(),
            found: self.explain(pointer),
        })?;
        name(value).map(Some).ok_or_else(|| not_a_name(field, location(), value))
    }

    /// A row's primary key as an id: the value of its only column; of several columns the whole
    /// key as JSON, in the order of their names. A key that is no object is the id as it stands.
    fn columns(&self, field: &'static str) -> Result<Option<String>, MappingError> {
        let Ok(json) = self.json() else {
            return Ok(self.text()?.map(str::to_owned));
        };
        let whole = || "key:".to_owned();
        match json {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(columns)) => {
                let mut columns: Vec<_> = columns.iter().collect();
                // serde_json keeps the order that was sent, or not, by a feature of the build.
                columns.sort_unstable_by_key(|(column, _)| *column);
                if let [(column, value)] = columns[..] {
                    let location = format!("key:/{column}");
                    return name(value).map(Some).ok_or_else(|| not_a_name(field, location, value));
                }
                if let Some((column, value)) = columns.iter().find(|(_, v)| name(v).is_none()) {
                    return Err(not_a_name(field, format!("key:/{column}"), value));
                }
                let pairs = columns
                    .iter()
                    .map(|(column, value)| format!("{}:{value}", Value::String((*column).clone())));
                let id = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
                Ok((!columns.is_empty()).then_some(id))
            }
            Some(value) => name(value).map(Some).ok_or_else(|| not_a_name(field, whole(), value)),
        }
    }
}

/// The error for a value that names nothing.
pub(super) fn not_a_name(field: &str, location: String, value: &Value) -> MappingError {
    let found = kind(value);
    MappingError::Kind { field: field.to_owned(), location, found, expected: NAME }
}
