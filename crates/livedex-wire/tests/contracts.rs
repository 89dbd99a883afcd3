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
    error::{ErrorBody, ErrorCode},
    query,
    reply::ReplyV1,
    schemas,
    status::StatusV1,
    worker_status::WorkerStatusV1,
};
use serde_json::{Value, json};

/// The Rust type's reading and writing of a contract; an error is its message.
type RoundTrip = fn(&[u8]) -> Result<Vec<u8>, String>;

const ROUND_TRIPS: [(&str, RoundTrip); 7] = [
    ("document.v1", document),
    ("query.v1", |json| {
        query::decode(json).map(|request| query::encode(&request)).map_err(|e| e.to_string())
    }),
    ("reply.v1", |json| {
        ReplyV1::from_json(json).map(|reply| reply.to_json()).map_err(|e| e.to_string())
    }),
    ("error.v1", |json| {
        ErrorBody::from_json(json).map(|error| error.to_json()).map_err(|e| e.to_string())
    }),
    ("status.v1", |json| {
        StatusV1::from_json(json).map(|status| status.to_json()).map_err(|e| e.to_string())
    }),
    ("worker_status.v1", |json| {
        WorkerStatusV1::from_json(json).map(|status| status.to_json()).map_err(|e| e.to_string())
    }),
    ("dead_letter.v1", |json| {
        DeadLetterV1::from_json(json).map(|letter| letter.to_json()).map_err(|e| e.to_string())
    }),
];

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
    for (name, round_trip) in ROUND_TRIPS.into_iter().take(2) {
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
fn the_limits_in_the_schemas_are_those_of_the_code() {
    let check = |name: &str, pointer: &str, limit: usize| {
        let schema = schema(name);
        let at = schema.pointer(pointer).unwrap_or_else(|| panic!("{name}{pointer}"));
        assert_eq!(at, &json!(limit), "{name}{pointer}");
    };
    let text = |name: &str, pointer: &str, limit: usize| {
        check(name, &format!("{pointer}/maxLength"), limit);
        check(name, &format!("{pointer}/x-maxBytes"), limit);
    };
    text("document.v1", "/properties/id", limits::MAX_DOCUMENT_ID_BYTES);
    text("document.v1", "/properties/title", limits::MAX_TITLE_BYTES);
    text("document.v1", "/properties/url", limits::MAX_URL_BYTES);
    text("document.v1", "/properties/tenant", limits::MAX_TENANT_BYTES);
    text("document.v1", "/properties/version/anyOf/0", limits::MAX_VERSION_BYTES);
    check("document.v1", "/properties/metadata/maxProperties", limits::MAX_METADATA_KEYS);
    check("document.v1", "/properties/metadata/x-maxBytes", limits::MAX_METADATA_BYTES);
    let key = "/properties/metadata/propertyNames";
    text("document.v1", key, limits::MAX_METADATA_KEY_BYTES);

    text("query.v1", "/properties/query", limits::MAX_QUERY_BYTES);
    text("query.v1", "/properties/tenant", limits::MAX_TENANT_BYTES);
    text("query.v1", "/properties/instruction", limits::MAX_INSTRUCTION_BYTES);
    check("query.v1", "/properties/top_k/maximum", limits::MAX_TOP_K);
    check("query.v1", "/properties/candidates/maximum", limits::MAX_CANDIDATES);
    check(
        "query.v1",
        "/$defs/filter/properties/in/properties/values/maxItems",
        limits::MAX_FILTER_VALUES,
    );
    text("query.v1", "/$defs/text", limits::MAX_FILTER_STRING_BYTES);
    let field = "metadata.".len() + limits::MAX_FILTER_STRING_BYTES;
    check("query.v1", "/$defs/field/maxLength", field);
    check("query.v1", "/$defs/metadataField/maxLength", field);

    check("reply.v1", "/properties/hits/maxItems", limits::MAX_TOP_K);
    check("reply.v1", "/properties/candidates/maximum", limits::MAX_CANDIDATES);
    let hit = "/$defs/hit/properties";
    text("reply.v1", &format!("{hit}/document_id"), limits::MAX_DOCUMENT_ID_BYTES);
    text("reply.v1", &format!("{hit}/tenant"), limits::MAX_TENANT_BYTES);
    text("reply.v1", &format!("{hit}/title"), limits::MAX_TITLE_BYTES);
    text("reply.v1", &format!("{hit}/url"), limits::MAX_URL_BYTES);
    text("reply.v1", &format!("{hit}/heading"), limits::MAX_HEADING_BYTES);
    text("reply.v1", &format!("{hit}/text"), limits::MAX_CHUNK_TEXT_BYTES);
    text("reply.v1", &format!("{hit}/version"), limits::MAX_VERSION_BYTES);
    check("reply.v1", &format!("{hit}/ordinal/maximum"), limits::MAX_CHUNKS_PER_DOCUMENT - 1);
    check("reply.v1", &format!("{hit}/metadata/maxProperties"), limits::MAX_METADATA_KEYS);
    check("reply.v1", &format!("{hit}/retrieve/properties/rank/maximum"), limits::MAX_CANDIDATES);
    check("reply.v1", &format!("{hit}/rerank/properties/rank/maximum"), limits::MAX_CANDIDATES);

    // Limits and defaults that stand in words.
    let words = |name: &str, pointer: &str, words: &[String]| {
        let schema = schema(name);
        let text = schema.pointer(pointer).unwrap().as_str().unwrap().replace(',', "");
        for word in words {
            assert!(text.contains(word), "{name}{pointer}: {word} is not in {text:?}");
        }
    };
    let tree = [
        format!("{} nodes", limits::MAX_FILTER_NODES),
        format!("{} levels", limits::MAX_FILTER_DEPTH),
    ];
    words("query.v1", "/properties/filter/description", &tree);
    let default = |n: usize| [format!("({n} as it comes)")];
    words("query.v1", "/properties/top_k/description", &default(limits::DEFAULT_TOP_K));
    words("query.v1", "/properties/candidates/description", &default(limits::DEFAULT_CANDIDATES));
    let bytes = [format!("{} bytes", limits::MAX_METADATA_BYTES)];
    words("document.v1", "/properties/metadata/description", &bytes);
    let mebibytes = [format!("{} MiB", limits::DEFAULT_MAX_DOCUMENT_BYTES >> 20)];
    words("document.v1", "/description", &mebibytes);
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
