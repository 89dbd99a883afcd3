#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use livedex_core::{
    document::MetadataValue,
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    query,
    record::SourcePosition,
    row::ChunkFields,
};

use super::*;

pub(crate) fn hit() -> query::Hit {
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
        vector: Some(vec![0.5, -0.5]),
        score: 0.75,
        retrieve_rank: 4,
        retrieve_score: 0.5,
        routes: vec![query::RouteRank { route: 1, rank: 4, score: 0.5 }],
        rerank_rank: Some(1),
        rerank_score: Some(0.75),
    }
}

/// What a query has if it says nothing.
const DEFAULT: Include = Include { text: true, metadata: true, vectors: false, explain: false };

fn json<T: Serialize>(value: &T) -> String {
    String::from_utf8(to_json(value)).unwrap()
}

#[test]
fn a_hit_is_sent_without_what_it_does_not_have() {
    assert_eq!(
        json(&Hit::new(hit(), DEFAULT)),
        r#"{"chunk_id":"00112233445566778899aabbccddeeff","document_id":"a","tenant":"n","title":"T","heading":"A > B","ordinal":3,"text":"text","metadata":{"k":1},"score":0.75,"retrieve":{"rank":4,"score":0.5},"rerank":{"rank":1,"score":0.75},"source":{"topic":"t","partition":1,"offset":2}}"#
    );
    let mut bare = hit();
    (bare.rerank_rank, bare.rerank_score) = (None, None);
    bare.fields.updated_at_ms = -1;
    let bare = Hit::new(bare, Include::default());
    assert_eq!((bare.text, bare.metadata, bare.rerank), (None, None, None));
    assert_eq!((bare.vector, bare.routes), (None, vec![]));
    assert_eq!(bare.updated_at.as_deref(), Some("1969-12-31T23:59:59.999Z"));
}

#[test]
fn a_hit_carries_what_was_asked_for() {
    assert_eq!(Include::from(&query::QueryRequest::new("q")), DEFAULT);
    let request = query::QueryRequest {
        include_text: false,
        include_metadata: false,
        include_vectors: true,
        explain: true,
        ..query::QueryRequest::new("q")
    };
    let asked = Include::from(&request);
    let full = Hit::new(hit(), asked);
    assert_eq!(full.vector, Some(vec![0.5, -0.5]));
    assert_eq!(full.routes, [RouteRank { route: 1, rank: 4, score: 0.5 }]);
    assert_eq!((full.text, full.metadata), (None, None));
    // Asked for, and not brought by the search.
    assert_eq!(Hit::new(query::Hit { vector: None, ..hit() }, asked).vector, None);
}

#[test]
fn chunks_and_passages_are_flat() {
    let vectors = Include { vectors: true, ..DEFAULT };
    let chunk = Chunk::new(query::Passage { fields: hit().fields, vector: hit().vector }, vectors);
    let fields = r#""chunk_id":"00112233445566778899aabbccddeeff","ordinal":3,"heading":"A > B","text":"text","vector":[0.5,-0.5]"#;
    assert_eq!(json(&chunk), format!("{{{fields}}}"));
    let passage = Passage::new(hit(), vectors);
    assert_eq!(passage.chunk, chunk);
    assert_eq!(
        json(&passage),
        format!(
            r#"{{{fields},"score":0.75,"retrieve":{{"rank":4,"score":0.5}},"rerank":{{"rank":1,"score":0.75}}}}"#
        )
    );
    let bare = Chunk::of(hit().fields, hit().vector, Include::default());
    assert_eq!((bare.text, bare.vector), (None, None));
}

#[test]
fn a_watermark_knows_its_lag_by_its_end() {
    let lag = |watermark, end| Watermark::new("t", 0, watermark, end, 5).lag;
    assert_eq!(lag(7, Some(10)), Some(3));
    assert_eq!(lag(10, Some(10)), Some(0));
    assert_eq!(lag(11, Some(10)), Some(0), "the end is the older of both");
    assert_eq!(lag(7, None), None);
}

#[test]
fn clients_ignore_fields_they_do_not_know_and_quote_nothing() {
    let json = r#"{"collection":"c","hits":[],"candidates":0,"consistency":"bounded",
        "timings_ms":{"embed":1,"search":2,"total":3,"new":4},
        "models":{"embedder":{"name":"n","fingerprint":"f"}},"new":{}}"#;
    assert_eq!(ReplyV1::from_json(json.as_bytes()).unwrap().timings_ms.total, 3.0);
    let broken = json.replace("[]", r#"["the secret sauce"]"#);
    let error = ReplyV1::from_json(broken.as_bytes()).unwrap_err();
    assert_eq!(error.line, 1, "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn durations_become_milliseconds() {
    assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.234);
    assert_eq!(millis(Duration::ZERO), 0.0);
}
