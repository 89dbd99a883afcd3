//! The schemas, their examples and the Rust types say the same.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use livedex_core::{
    lease::Lease,
    limits,
    record::{RawRecord, SourcePosition},
};
use livedex_wire::{
    dead_letter::DeadLetterV1,
    document::{DocumentV1, NativeDecoder},
    documents::{self, DocumentReplyV1},
    embed::{self, EmbedReplyV1},
    error::{ErrorBody, ErrorCode},
    query,
    reply::ReplyV1,
    rerank::{self, RerankReplyV1},
    room::RoomV1,
    schemas,
    status::StatusV1,
    watermarks::WatermarksV1,
    worker_status::WorkerStatusV1,
};
use serde_json::{Value, json};

/// The Rust type's reading and writing of a contract; an error is its message.
type RoundTrip = fn(&[u8]) -> Result<Vec<u8>, String>;

/// A type with `from_json` and `to_json`.
macro_rules! typed {
    ($type:ty) => {
        |json| <$type>::from_json(json).map(|value| value.to_json()).map_err(|e| e.to_string())
    };
}

/// A request: a module with `decode` and `encode`.
macro_rules! request {
    ($module:ident) => {
        |json| $module::decode(json).map(|value| $module::encode(&value)).map_err(|e| e.to_string())
    };
}

/// Those that are checked field by field, and have invalid examples, first.
const ROUND_TRIPS: [(&str, RoundTrip); 15] = [
    ("document.v1", document),
    ("query.v1", request!(query)),
    ("rerank.v1", request!(rerank)),
    ("embed.v1", request!(embed)),
    ("documents_get.v1", request!(documents)),
    ("reply.v1", typed!(ReplyV1)),
    ("rerank_reply.v1", typed!(RerankReplyV1)),
    ("embed_reply.v1", typed!(EmbedReplyV1)),
    ("documents_reply.v1", typed!(DocumentReplyV1)),
    ("error.v1", typed!(ErrorBody)),
    ("status.v1", typed!(StatusV1)),
    ("worker_status.v1", typed!(WorkerStatusV1)),
    ("dead_letter.v1", typed!(DeadLetterV1)),
    ("watermarks.v1", typed!(WatermarksV1)),
    ("room.v1", typed!(RoomV1)),
];

/// How many of them are checked field by field.
const CHECKED: usize = 5;

/// Through the decoder, as a record whose key is the id.
fn document(json: &[u8]) -> Result<Vec<u8>, String> {
    let value = DocumentV1::from_json(json).map_err(|error| error.to_string())?;
    let record = RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        key: Some(value.id.clone().unwrap_or_else(|| "key".to_owned()).into_bytes()),
        value: Some(json.to_vec()),
        headers: Vec::new(),
        timestamp_ms: None,
        lease: Lease::new(),
    };
    let decoder = NativeDecoder::new(limits::DEFAULT_MAX_DOCUMENT_BYTES);
    decoder.change(&record).map_err(|error| error.to_string())?;
    Ok(value.to_json())
}

fn schema(name: &str) -> Value {
    let (_, text) = schemas::all().iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::options().should_validate_formats(true).build(&schema(name)).unwrap()
}

fn examples(folder: &str) -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples").join(folder);
    let files = fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

#[test]
fn schemas_are_valid_and_say_who_they_are() {
    assert_eq!(schemas::all().len(), ROUND_TRIPS.len());
    for (name, text) in schemas::all() {
        let schema: Value = serde_json::from_str(text).unwrap();
        jsonschema::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(schema["$schema"], json!("https://json-schema.org/draft/2020-12/schema"));
        assert_eq!(schema["$id"], json!(format!("https://livedex.dev/schemas/{name}.json")));
        assert_eq!(schema["title"], json!(name));
        assert!(schema["description"].as_str().unwrap().len() > 40, "{name}");
    }
}

#[test]
fn examples_are_valid_and_go_through_the_types_unchanged() {
    for (name, round_trip) in ROUND_TRIPS {
        let validator = validator(name);
        let examples = examples(name);
        assert!(examples.len() >= 2, "{name}");
        for (path, text) in examples {
            let path = path.display();
            let value: Value = serde_json::from_str(&text).unwrap();
            if let Err(error) = validator.validate(&value) {
                panic!("{path}: {error} at {}", error.instance_path());
            }
            let back = round_trip(text.as_bytes()).unwrap_or_else(|e| panic!("{path}: {e}"));
            let back: Value = serde_json::from_slice(&back).unwrap();
            assert_eq!(back, without_nulls(value), "{path}");
            assert!(validator.is_valid(&back), "{path}");
        }
    }
}

#[test]
fn invalid_examples_are_refused_by_schema_and_type() {
    for (name, round_trip) in ROUND_TRIPS.into_iter().take(CHECKED) {
        let validator = validator(name);
        let examples = examples(&format!("invalid/{name}"));
        assert!(examples.len() >= 10, "{name}");
        for (path, text) in examples {
            let path = path.display();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(!validator.is_valid(&value), "the schema takes {path}");
            let error = round_trip(text.as_bytes()).expect_err(&format!("{path} is taken"));
            assert!(error.len() > 10, "{path}: {error}");
        }
    }
}

#[test]
fn a_query_may_be_the_first_of_queries() {
    let validator = validator("query.v1");
    for (json, is_valid) in [
        (json!({ "queries": ["a", "b"] }), true),
        (json!({ "query": null, "queries": ["a"] }), true),
        (json!({ "query": "a", "queries": null }), true),
        (json!({ "queries": null }), false),
        (json!({ "query": "a", "queries": vec!["b"; limits::MAX_QUERIES - 1] }), true),
        (json!({ "queries": vec!["b"; limits::MAX_QUERIES] }), true),
    ] {
        assert_eq!(validator.is_valid(&json), is_valid, "schema: {json}");
        assert_eq!(query::decode(json.to_string().as_bytes()).is_ok(), is_valid, "type: {json}");
    }
}

#[test]
fn error_codes_and_statuses_stand_in_the_schema() {
    let schema = schema("error.v1");
    let names: Vec<Value> = ErrorCode::ALL.iter().map(|code| json!(code.as_str())).collect();
    assert_eq!(schema["properties"]["code"]["enum"], json!(names));
    let description = schema["description"].as_str().unwrap();
    for code in ErrorCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), json!(code.as_str()));
        let words = format!("{} ({})", code.status(), code.as_str());
        assert!(description.contains(&words), "{words}");
    }
}
