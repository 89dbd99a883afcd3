//! Any producer's records to documents, by a configured mapping.
//!
//! A [`MappingSpec`] is what the configuration says, a [`Mapping`] what it means once every mistake in
//! it is gone, and a [`MappingDecoder`] applies it. What comes out has passed the same limits as a
//! `document.v1`, because it is one: the mapping gathers its fields, and [`DocumentV1`] checks them.
//!
//! # Rules
//! - `null` is nothing, wherever it stands. A field that is not needed and not there is absent.
//! - Numbers and booleans are taken as text where text is needed; lists and objects are not.
//!   Metadata keeps its types.
//! - A null value is a tombstone for the document that the key names, whatever the format.
//! - An error names where it looked and what kind of value is there instead, never the value.
//!
//! # Layout
//! - `spec`: the section of the configuration
//! - `check`: from there to a mapping, with every mistake at once
//! - `location`: how a place in a record is written
//! - `template`: a text with values in it
//! - `text`: scalars as text, and where the text stands
//! - `timestamp`: times
//! - `opened`: a value, opened by its format
//! - `debezium`: change events
//! - `cloudevents`: CloudEvents
//! - `key`: the record's key
//! - `scope`: a record as locations see it
//! - `identity`: which document a record speaks of
//! - `deleted`: what marks a document as gone
//! - `gather`: the fields of a document
//! - `error`: why a record cannot be mapped

use livedex_core::{
    document::{Change, Document},
    ports::{Decoder, Undecoded},
    record::{DeadLetterReason, RawRecord},
};
use serde_json::Value;

use crate::document::{DocumentV1, NativeDecoder, check_size};

mod check;
mod cloudevents;
mod debezium;
mod deleted;
mod error;
mod gather;
mod identity;
mod key;
mod location;
mod opened;
mod scope;
mod spec;
mod template;
mod text;
mod timestamp;

use deleted::Deleted;
use identity::Identity;
use key::Key;
use location::Location;
use scope::Scope;
use text::{ContentTypeRule, TextRule};

pub use cloudevents::EventError;
pub use debezium::EnvelopeError;
pub use error::MappingError;
pub use spec::{DeletedSpec, Encoding, Format, MappingSpec, OneOrMore, SpecProblem};
pub use timestamp::TimeFormat;

/// How records become documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    format: Format,
    key_encoding: Encoding,
    value_encoding: Encoding,
    identity: Identity,
    text: TextRule,
    content_type: ContentTypeRule,
    title: Option<Location>,
    url: Option<Location>,
    version: Option<Location>,
    updated_at: Option<(Location, TimeFormat)>,
    metadata_object: Option<Location>,
    metadata: Vec<(String, Location)>,
    deleted: Deleted,
}

impl Default for Mapping {
    /// Records are `document.v1`.
    fn default() -> Self {
        Self {
            format: Format::DocumentV1,
            key_encoding: Encoding::Plain,
            value_encoding: Encoding::Plain,
            identity: Identity::new(Format::DocumentV1, None, None, None),
            text: TextRule::Whole,
            content_type: ContentTypeRule::Fixed(Default::default()),
            title: None,
            url: None,
            version: None,
            updated_at: None,
            metadata_object: None,
            metadata: Vec::new(),
            deleted: Deleted::default(),
        }
    }
}

/// Decodes records by a mapping.
#[derive(Debug, Clone)]
pub struct MappingDecoder {
    mapping: Mapping,
    max_document_bytes: usize,
}

impl Mapping {
    /// Checks `spec`; the error holds every problem.
    pub fn new(spec: &MappingSpec) -> Result<Self, Vec<SpecProblem>> {
        check::check(spec)
    }

    /// What the records are.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How keys and values are written: what is not plain is brought to JSON by the registry's
    /// decoder before this mapping's sees it.
    pub fn encodings(&self) -> (Encoding, Encoding) {
        (self.key_encoding, self.value_encoding)
    }

    /// A decoder that refuses values of more than `max_document_bytes` bytes.
    pub fn decoder(&self, max_document_bytes: usize) -> MappingDecoder {
        MappingDecoder { mapping: self.clone(), max_document_bytes }
    }

    /// The fields that are mapped and that `document` lacks, as they are configured
    /// (`title = "/titel"`): one that every document lacks is probably mistyped.
    pub fn absent(&self, document: &Document) -> Vec<String> {
        let named = |name: &String| self.metadata.iter().any(|(known, _)| known == name);
        let fields = [
            ("title", &self.title, document.title.is_none()),
            ("url", &self.url, document.url.is_none()),
            ("version", &self.version, document.version.is_none()),
            ("metadata_object", &self.metadata_object, document.metadata.keys().all(named)),
        ];
        let fields = fields.into_iter().filter_map(|(field, location, is_absent)| {
            location.as_ref().filter(|_| is_absent).map(|at| (field.to_owned(), at))
        });
        let updated_at = self.updated_at.iter().filter(|_| document.updated_at_ms.is_none());
        let updated_at = updated_at.map(|(at, _)| ("updated_at".to_owned(), at));
        let metadata =
            self.metadata.iter().filter(|(name, _)| !document.metadata.contains_key(name));
        let metadata = metadata.map(|(name, at)| (format!("metadata.{name}"), at));
        fields
            .chain(updated_at)
            .chain(metadata)
            .map(|(field, at)| format!("{field} = {at}"))
            .collect()
    }

    /// What the record says.
    fn change(&self, record: &RawRecord) -> Result<Change, MappingError> {
        let opened = opened::open(self.format, record)?;
        let scope = Scope {
            record,
            key: Key::new(record, self.format == Format::Debezium),
            body: opened.body.as_ref(),
            body_name: opened::body_name(self.format),
            attributes: &opened.attributes,
            is_debezium: self.format == Format::Debezium,
        };
        let key = self.identity.of(&scope)?;
        if opened.is_gone || self.deleted.says(&scope)? {
            return Ok(Change::Delete(key));
        }
        let value = DocumentV1::from_value(Value::Object(gather::fields(self, &scope, &opened)?))?;
        let (id, tenant) = (key.id.as_str(), key.tenant.as_str());
        Ok(Change::Upsert(Box::new(value.into_document(Some(id), Some(tenant))?)))
    }
}

impl MappingDecoder {
    /// What the record says.
    pub fn change(&self, record: &RawRecord) -> Result<Change, MappingError> {
        if self.mapping.format == Format::DocumentV1 {
            return Ok(NativeDecoder::new(self.max_document_bytes).change(record)?);
        }
        if let Some(value) = &record.value {
            check_size(value, self.max_document_bytes)?;
        }
        self.mapping.change(record)
    }
}

impl Decoder for MappingDecoder {
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded> {
        self.change(record).map_err(|error| DeadLetterReason::from(error).into())
    }
}

#[cfg(test)]
mod tests;
