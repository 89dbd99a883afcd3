#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    document::{Change, ContentType, Document, MetadataValue},
    ids::{DocumentId, DocumentKey, Tenant},
    lease::Lease,
    record::{Header, RawRecord, SourcePosition},
};
use serde_json::{Value, json};

use super::*;

mod cloudevents;
mod debezium;
mod json;
mod plain;
mod properties;
mod spec;

const LIMIT: usize = 100_000;

fn mapping(spec: Value) -> MappingDecoder {
    let spec: MappingSpec = serde_json::from_value(spec).unwrap();
    Mapping::new(&spec).unwrap().decoder(LIMIT)
}

fn record(key: Option<&str>, value: Option<&str>, headers: &[(&str, &str)]) -> RawRecord {
    let header = |(name, value): &(&str, &str)| -> Header {
        ((*name).to_owned(), Some(value.as_bytes().to_vec()))
    };
    RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: headers.iter().map(header).collect(),
        timestamp_ms: None,
        lease: Lease::new(),
    }
}

fn key_of(tenant: &str, id: &str) -> DocumentKey {
    DocumentKey { tenant: Tenant::new(tenant).unwrap(), id: DocumentId::new(id).unwrap() }
}

fn deleted(id: &str) -> Result<Change, MappingError> {
    Ok(Change::Delete(key_of("", id)))
}

/// The document that a record becomes.
fn document(decoder: &MappingDecoder, record: &RawRecord) -> Document {
    match decoder.change(record).unwrap() {
        Change::Upsert(document) => *document,
        Change::Delete(key) => panic!("a deletion of {key}"),
    }
}

/// Class and message of the dead letter that a record becomes.
fn refused(decoder: &MappingDecoder, record: &RawRecord) -> (String, String) {
    let Err(Undecoded::Never(reason)) = decoder.decode(record) else { panic!("it is decoded") };
    (reason.class, reason.message)
}

/// A document of nothing but these.
fn plain(id: &str, text: &str) -> Document {
    Document {
        key: key_of("", id),
        title: None,
        text: text.to_owned(),
        content_type: ContentType::Plain,
        url: None,
        metadata: Default::default(),
        version: None,
        updated_at_ms: None,
    }
}

fn strings(values: &[&str]) -> MetadataValue {
    MetadataValue::Strings(values.iter().map(|&value| value.to_owned()).collect())
}

fn string(value: &str) -> MetadataValue {
    MetadataValue::String(value.to_owned())
}
