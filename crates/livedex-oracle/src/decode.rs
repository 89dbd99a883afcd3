//! Any bytes, as a record of any format.

use std::sync::LazyLock;

use livedex_core::{
    document::{Change, Document},
    lease::Lease,
    limits::{
        MAX_DOCUMENT_ID_BYTES, MAX_METADATA_BYTES, MAX_METADATA_KEYS, MAX_TENANT_BYTES,
        MAX_TITLE_BYTES, MAX_URL_BYTES,
    },
    ports::{Decoder as _, Undecoded},
    record::{RawRecord, SourcePosition},
};
use livedex_wire::{
    document::{NativeDecoder, encode},
    mapping::{Mapping, MappingDecoder, MappingSpec},
};
use serde_json::{Value, json};

/// What stands between value, key and headers, and between two headers.
const SEPARATOR: u8 = 0x1e;

/// The largest value, so small that inputs of a fuzzer exceed it.
const LIMIT: usize = 1000;

/// The longest message of a dead letter, in bytes: it quotes names of fields, cut, never texts.
const MAX_MESSAGE: usize = 2000;

/// A mapping of each format, in which places that are common and places that are not take turns.
static DECODERS: LazyLock<Vec<MappingDecoder>> = LazyLock::new(|| {
    let rich = |more: Value| {
        let mut spec = json!({
            "title": "/title", "url": "/url", "version": "/version", "updated_at": "/updated_at",
            "metadata_object": "/metadata", "metadata": {"key": "key:/id", "header": "header:h"},
            "deleted": {"pointer": "/gone", "equals": true},
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        spec
    };
    [
        json!({}),
        rich(json!({"format": "json", "id": "/id", "text": ["/text", "/title"]})),
        rich(json!({"format": "json", "key_id": "/id", "template": "{/title}{{}}{/text}{key:}"})),
        rich(json!({"format": "debezium", "text": "/text"})),
        rich(json!({"format": "debezium", "id": "/id", "tenant": "/tenant", "text": "/text"})),
        rich(json!({"format": "cloudevents", "text": "/text", "deleted_types": ["*deleted"]})),
        json!({"format": "cloudevents", "id": "ce:id", "text": ""}),
        json!({"format": "text"}),
        json!({"format": "markdown", "title": "header:h"}),
        json!({"format": "html", "title": "header:h", "key_id": "/id"}),
    ]
    .into_iter()
    .map(|spec| {
        let spec: MappingSpec = serde_json::from_value(spec).expect("a section of a configuration");
        Mapping::new(&spec).expect("a mapping without mistakes").decoder(LIMIT)
    })
    .collect()
});

/// Reads the bytes as value, key and headers (`name=value`), with 0x1e between them, by every kind
/// of mapping. What follows the value may be left out.
///
/// # Panics
/// If a document exceeds a limit or is another one when it is written and read as `document.v1`, if
/// the same record is decoded in two ways, or if a record is refused without a reason of one line.
pub fn decoding(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == SEPARATOR);
    let value = parts.next().map(<[u8]>::to_vec);
    let key = parts.next().map(<[u8]>::to_vec);
    let headers = parts.map(|header| {
        let at = header.iter().position(|byte| *byte == b'=');
        let (name, value) = header.split_at(at.unwrap_or(header.len()));
        (String::from_utf8_lossy(name).into_owned(), value.get(1..).map(<[u8]>::to_vec))
    });
    let mut record = RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        headers: headers.collect(),
        key,
        value,
        timestamp_ms: None,
        lease: Lease::new(),
    };
    decode_all(&record);
    record.value = None;
    decode_all(&record);
}

fn decode_all(record: &RawRecord) {
    for decoder in &*DECODERS {
        let decoded = decoder.decode(record);
        assert_eq!(decoded, decoder.decode(record), "decoded in another way");
        match decoded {
            Ok(Change::Upsert(document)) => {
                assert!(record.value.as_ref().is_some_and(|value| value.len() <= LIMIT));
                check(&document);
            }
            Ok(Change::Delete(key)) => assert!(!key.id.as_str().is_empty()),
            Err(Undecoded::Never(reason)) => {
                let message = &reason.message;
                assert!(!reason.class.is_empty() && !message.is_empty());
                assert!(!message.contains(['\n', '\r']), "more than one line: {message:?}");
                assert!(message.len() <= MAX_MESSAGE, "{} bytes: {message}", message.len());
            }
            Err(Undecoded::NotYet(problem)) => panic!("nothing can change that: {problem}"),
        }
    }
}

/// The limits of a document, and that it says the same when it is written and read again.
fn check(document: &Document) {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    assert!((1..=MAX_DOCUMENT_ID_BYTES).contains(&document.key.id.as_str().len()));
    assert!(document.key.tenant.as_str().len() <= MAX_TENANT_BYTES);
    assert!(length(&document.title) <= MAX_TITLE_BYTES && length(&document.url) <= MAX_URL_BYTES);
    assert!(document.metadata.len() <= MAX_METADATA_KEYS);
    let metadata = serde_json::to_vec(&document.metadata).expect("metadata is JSON");
    assert!(metadata.len() <= MAX_METADATA_BYTES);

    let outgoing = encode(document);
    let record = RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        headers: outgoing.headers,
        key: Some(outgoing.key),
        value: outgoing.value,
        timestamp_ms: None,
        lease: Lease::new(),
    };
    let again = NativeDecoder::new(usize::MAX).decode(&record);
    assert_eq!(again, Ok(Change::Upsert(Box::new(document.clone()))));
}
