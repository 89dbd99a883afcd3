//! One record as locations see it.

use std::borrow::Cow;

use livedex_core::record::RawRecord;
use serde_json::{Map, Value};

use super::{
    debezium::is_unavailable,
    error::MappingError,
    key::{Key, not_a_name},
    location::Location,
    text::{SCALAR, name, scalar},
};
use crate::{document::last_header, fields::kind};

/// A record, opened: what locations lead into.
pub(super) struct Scope<'a> {
    pub(super) record: &'a RawRecord,
    pub(super) key: Key<'a>,
    /// What pointers lead into; `None` if the record says nothing but that something is gone.
    pub(super) body: Option<&'a Value>,
    /// What that is called in messages (`the row`).
    pub(super) body_name: &'static str,
    /// The attributes of a CloudEvent.
    pub(super) attributes: &'a Map<String, Value>,
    /// Whether a string may stand for a value that Debezium did not send.
    pub(super) is_debezium: bool,
}

impl Scope<'_> {
    /// What stands at `location`; null counts as nothing. `field` is the mapping's key that asks.
    pub(super) fn find(
        &self,
        field: &str,
        location: &Location,
    ) -> Result<Option<Cow<'_, Value>>, MappingError> {
        let found = match location {
            Location::Value(pointer) => {
                self.body.and_then(|body| pointer.find(body)).map(Cow::Borrowed)
            }
            Location::Key(pointer) if pointer.is_whole() => {
                self.key.text()?.map(|text| Cow::Owned(Value::from(text)))
            }
            Location::Key(pointer) => self.key.find(field, pointer)?.map(Cow::Borrowed),
            Location::Header(header) => match last_header(&self.record.headers, header) {
                None => None,
                Some(bytes) => {
                    let text = std::str::from_utf8(bytes)
                        .map_err(|_| MappingError::HeaderNotUtf8 { name: header.clone() })?;
                    Some(Cow::Owned(Value::from(text)))
                }
            },
            Location::Attribute(attribute) => {
                self.attributes.get(attribute).filter(|value| !value.is_null()).map(Cow::Borrowed)
            }
        };
        match found {
            Some(value) if self.is_debezium && is_unavailable(&value) => {
                let (field, location) = (field.to_owned(), location.to_string());
                Err(MappingError::Unavailable { field, location })
            }
            found => Ok(found),
        }
    }

    /// A scalar as text.
    pub(super) fn text(
        &self,
        field: &str,
        location: &Location,
    ) -> Result<Option<String>, MappingError> {
        let Some(value) = self.find(field, location)? else {
            return Ok(None);
        };
        scalar(&value).map(Some).ok_or_else(|| self.wrong_kind(field, location, &value, SCALAR))
    }

    /// A scalar that names something, as text.
    pub(super) fn name(
        &self,
        field: &str,
        location: &Location,
    ) -> Result<Option<String>, MappingError> {
        let Some(value) = self.find(field, location)? else {
            return Ok(None);
        };
        name(&value).map(Some).ok_or_else(|| not_a_name(field, location.to_string(), &value))
    }

    /// The error for a value that is not what is expected.
    pub(super) fn wrong_kind(
        &self,
        field: &str,
        location: &Location,
        value: &Value,
        expected: &'static str,
    ) -> MappingError {
        let (field, location) = (field.to_owned(), location.to_string());
        MappingError::Kind { field, location, found: kind(value), expected }
    }

    /// The error for a value that is at none of `locations`; what is there instead is said of the
    /// first.
    pub(super) fn missing<'l>(
        &self,
        field: &str,
        locations: impl IntoIterator<Item = &'l Location>,
    ) -> MappingError {
        let locations: Vec<&Location> = locations.into_iter().collect();
        let found = locations.first().map(|first| self.explain(first)).unwrap_or_default();
        let names: Vec<String> = locations.iter().map(ToString::to_string).collect();
        MappingError::Missing { field: field.to_owned(), location: names.join(", "), found }
    }

    fn explain(&self, location: &Location) -> String {
        match (location, self.body) {
            (Location::Value(_), None) => "the record has no value".to_owned(),
            (Location::Value(pointer), Some(body)) => pointer.explain(body, self.body_name),
            (Location::Key(pointer), _) => self.key.explain(pointer),
            (Location::Header(_), _) => "the record has no such header".to_owned(),
            (Location::Attribute(_), _) => "the event has no such attribute".to_owned(),
        }
    }
}
