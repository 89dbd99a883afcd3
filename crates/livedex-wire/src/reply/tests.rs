#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    document::MetadataValue,
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    record::SourcePosition,
    row::ChunkFields,
};

use super::*;

fn hit() -> query::Hit {
    let fields = ChunkFields {
        id: ChunkId::from_stored("00112233445566778899aabbccddeeff"),
        document: DocumentKey {
            tenant: Tenant::new("n").unwrap(),
            id: DocumentId::new("a").unwrap(),
        },
        ordinal: 3,
        text: "text".to_owned(),
        heading: "A > B".to_owned(),
        title: "T".to_owned(),
        url: String::new(),
        metadata: Arc::new([("k".to_owned(), MetadataValue::Int(1))].into()),
        version: String::new(),
        updated_at_ms: 0,
        content_hash: ContentHash::from_stored("c"),
        attributes_hash: ContentHash::from_stored("a"),
        position: SourcePosition { topic: "t".into(), partition: 1, offset: 2 },
    };
    query::Hit {
        fields,
        score: 0.75,
        retrieve_rank: 4,
        retrieve_score: 0.5,
        rerank_rank: Some(1),
        rerank_score: Some(0.75),
    }
}

#[test]
fn a_hit_is_sent_without_what_it_does_not_have() {
    let json = String::from_utf8(to_json(&Hit::new(hit(), true, true))).unwrap();
    assert_eq!(
        json,
        r#"{"chunk_id":"00112233445566778899aabbccddeeff","document_id":"a","tenant":"n","title":"T","heading":"A > B","ordinal":3,"text":"text","metadata":{"k":1},"score":0.75,"retrieve":{"rank":4,"score":0.5},"rerank":{"rank":1,"score":0.75},"source":{"topic":"t","partition":1,"offset":2}}"#
    );
    let bare =
        Hit::new(query::Hit { rerank_rank: None, rerank_score: None, ..hit() }, false, false);
    assert_eq!((bare.text, bare.metadata, bare.rerank), (None, None, None));
    let mut timed = hit();
    timed.fields.updated_at_ms = -1;
    let timed = Hit::new(timed, false, false);
    assert_eq!(timed.updated_at.as_deref(), Some("1969-12-31T23:59:59.999Z"));
}

#[test]
fn clients_ignore_fields_they_do_not_know_and_quote_nothing() {
    let json = r#"{"hits":[],"candidates":0,"timings_ms":{"embed":1,"search":2,"total":3,"new":4},
        "models":{"embedder":{"name":"n","fingerprint":"f"}},"new":{}}"#;
    assert_eq!(ReplyV1::from_json(json.as_bytes()).unwrap().timings_ms.total, 3.0);
    let broken = json.replace("[]", r#"["the secret sauce"]"#);
    let error = ReplyV1::from_json(broken.as_bytes()).unwrap_err();
    assert_eq!(error.line, 1);
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn durations_become_milliseconds() {
    assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.234);
    assert_eq!(millis(Duration::ZERO), 0.0);
}
