//! The examples of docs/mapping.md are what they say.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    document::Change,
    lease::Lease,
    limits,
    ports::{Decoder as _, Undecoded},
    record::{Header, RawRecord, SourcePosition},
};
use livedex_wire::{
    document::encode,
    mapping::{Mapping, MappingDecoder, MappingSpec},
};
use serde::Deserialize;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../docs/mapping.md");

/// The section of a configuration; other sections are none of ours.
#[derive(Deserialize)]
struct Config {
    mapping: MappingSpec,
}

/// The fenced blocks of a page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((info, text.join("\n")));
        }
    }
    blocks
}

fn decoder(toml: &str) -> MappingDecoder {
    let config: Config = toml::from_str(toml).unwrap();
    Mapping::new(&config.mapping).unwrap().decoder(limits::DEFAULT_MAX_DOCUMENT_BYTES)
}

/// A string as it is, anything else as JSON.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

fn record(text: &str) -> RawRecord {
    let json: Value = serde_json::from_str(text).unwrap();
    let headers = json["headers"].as_object().into_iter().flatten();
    let headers: Vec<Header> = headers.map(|(name, value)| (name.clone(), bytes(value))).collect();
    RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        key: bytes(&json["key"]),
        value: bytes(&json["value"]),
        headers,
        timestamp_ms: None,
        lease: Lease::new(),
    }
}

/// What a record becomes, as the page prints it.
fn becomes(decoder: &MappingDecoder, record: &RawRecord) -> (&'static str, Value) {
    match decoder.decode(record) {
        Ok(Change::Upsert(document)) => {
            let value = encode(&document).value.unwrap();
            ("json document", serde_json::from_slice(&value).unwrap())
        }
        Ok(Change::Delete(key)) => {
            assert_eq!(key.tenant.as_str(), "");
            ("json deletion", json!({"id": key.id.as_str()}))
        }
        Err(Undecoded::NotYet(why)) => panic!("{why}"),
        Err(Undecoded::Never(reason)) => {
            ("json dead letter", json!({"class": reason.class, "message": reason.message}))
        }
    }
}

#[test]
fn every_record_becomes_what_the_page_says() {
    let (mut mapping, mut outcome, mut n_examples) = (None, None, 0);
    for (info, text) in blocks(PAGE) {
        match info {
            "toml" => mapping = Some(decoder(&text)),
            "json record" => {
                assert!(outcome.is_none(), "nothing is said of the record before {text}");
                outcome = Some(becomes(mapping.as_ref().unwrap(), &record(&text)));
            }
            "json document" | "json deletion" | "json dead letter" => {
                let (kind, found) = outcome.take().unwrap();
                let expected: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((kind, found), (info, expected));
                n_examples += 1;
            }
            "sh" | "text" => {}
            other => panic!("an example of {other:?} that nobody checks"),
        }
    }
    assert!(outcome.is_none(), "nothing is said of the last record");
    assert!(n_examples >= 12, "{n_examples} examples");
}
