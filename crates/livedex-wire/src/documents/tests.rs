#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::record::SourcePosition;
use proptest::prelude::*;

use super::*;
use crate::{
    error::ErrorCode,
    request::tests::{is_bad, is_refused},
};

fn check(json: &str, field: &str, message: &str) {
    is_bad(decode(json.as_bytes()), field, message);
}

fn check_limit(json: &str, code: ErrorCode, field: &str, limit: u64, message: &str) {
    is_refused(decode(json.as_bytes()), code, field, Some(limit), message);
}

#[test]
fn every_field_arrives() {
    let id = |id: &str| DocumentId::new(id).unwrap();
    assert_eq!(decode(br#"{"document_id": "a"}"#), Ok(DocumentRequest::new(id("a"))));
    let json = br#"{"collection": "c", "document_id": "a/b.md", "tenant": "n", "from": 16383,
        "limit": 1000, "consistency": "strong", "include": ["vectors"],
        "after": [{"topic": "t", "partition": 1, "offset": 2}]}"#;
    let expect = DocumentRequest {
        collection: Some("c".to_owned()),
        document: id("a/b.md"),
        tenant: Some(Tenant::new("n").unwrap()),
        from: 16_383,
        limit: Some(1000),
        consistency: Some(Consistency::Strong),
        after: vec![SourcePosition { topic: "t".into(), partition: 1, offset: 2 }],
        include_text: false,
        include_metadata: false,
        include_vectors: true,
    };
    assert_eq!(decode(json), Ok(expect));
}

#[test]
fn refusals_name_field_value_and_limit() {
    check("{}", "document_id", "`document_id` is missing");
    check(r#"{"document_id": ""}"#, "document_id", "`document_id` is empty");
    check(
        r#"{"document_id": "a\tb"}"#,
        "document_id",
        "`document_id` is not valid: document id holds the control character U+0009 at byte 1",
    );
    check(
        r#"{"document_id": "a", "tenant": "\u0085"}"#,
        "tenant",
        "`tenant` is not valid: tenant holds the control character U+0085 at byte 0",
    );
    check(
        r#"{"document_id": "a", "consistency": "bounded",
            "after": [{"topic": "t", "partition": 0, "offset": 0}]}"#,
        "consistency",
        "`consistency` is bounded, with `after` it must be strong: only a strong read is sure to \
         see the records that were waited for",
    );
    check(
        r#"{"document_id": "a", "include": ["scores"]}"#,
        "include[0]",
        "`include[0]` is scores, it must be text, metadata or vectors",
    );
    check_limit(
        r#"{"document_id": "a", "from": 16384}"#,
        ErrorCode::BadRequest,
        "from",
        16_383,
        "`from` is 16384, it must be 0 to 16383",
    );
    check_limit(
        r#"{"document_id": "a", "limit": 0}"#,
        ErrorCode::BadRequest,
        "limit",
        1000,
        "`limit` is 0, it must be 1 to 1000",
    );
    check_limit(
        &format!(r#"{{"document_id": "{}"}}"#, "a".repeat(1025)),
        ErrorCode::TooLarge,
        "document_id",
        1024,
        "`document_id` has 1025 bytes, the limit is 1024",
    );
}

/// A chunk at `ordinal` that the record at `offset` wrote; the version is the offset.
fn passage(ordinal: u32, offset: i64) -> Passage {
    let mut fields = crate::reply::tests::hit().fields;
    fields.ordinal = ordinal;
    fields.position.offset = offset;
    fields.version = offset.to_string();
    Passage { fields, vector: Some(vec![1.0, 0.0]) }
}

#[test]
fn a_document_is_what_its_newest_chunk_says() {
    let include = Include::from(&DocumentRequest::new(DocumentId::new("a").unwrap()));
    let passages = vec![passage(4, 10), passage(2, 12), passage(3, 11)];
    let reply = DocumentReplyV1::new("c", passages, Some(5), include, Consistency::Strong).unwrap();
    assert_eq!(reply.chunks.iter().map(|chunk| chunk.ordinal).collect::<Vec<_>>(), [2, 3, 4]);
    let source = Source { topic: "t".to_owned(), partition: 1, offset: 12 };
    assert_eq!((reply.source, reply.version.as_deref()), (source, Some("12")));
    assert_eq!((reply.document_id.as_str(), reply.tenant.as_deref()), ("a", Some("n")));
    assert_eq!((reply.title.as_deref(), reply.url), (Some("T"), None));
    assert_eq!((reply.consistency.as_str(), reply.next), ("strong", Some(5)));
    assert_eq!(reply.metadata.unwrap().len(), 1);
    assert_eq!(reply.chunks[0].text.as_deref(), Some("text"));
    assert_eq!(reply.chunks[0].vector, None);

    let none = Include { vectors: true, ..Include::default() };
    let bare = DocumentReplyV1::new("c", vec![passage(0, 1)], None, none, Consistency::Bounded);
    let bare = bare.unwrap();
    assert_eq!((bare.metadata, &bare.chunks[0].text), (None, &None));
    assert_eq!(bare.chunks[0].vector, Some(vec![1.0, 0.0]));
    assert_eq!(DocumentReplyV1::new("c", vec![], None, include, Consistency::Strong), None);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        collection in prop::option::of("[a-z_]{1,9}"),
        id in "[^\\pC]{1,40}",
        tenant in prop::option::of("[a-z]{0,9}"),
        from in 0..16_384_u32,
        limit in prop::option::of(1..=MAX_PAGE_CHUNKS),
        is_strong in any::<bool>(),
        offsets in prop::collection::vec(0..=i64::MAX, 0..3),
        include in any::<[bool; 3]>(),
    ) {
        let after: Vec<SourcePosition> = offsets
            .into_iter()
            .map(|offset| SourcePosition { topic: "t".into(), partition: 3, offset })
            .collect();
        let request = DocumentRequest {
            collection,
            document: DocumentId::new(id).unwrap(),
            tenant: tenant.map(|name| Tenant::new(name).unwrap()),
            from,
            limit,
            consistency: is_strong.then_some(Consistency::Strong),
            after,
            include_text: include[0],
            include_metadata: include[1],
            include_vectors: include[2],
        };
        prop_assert_eq!(decode(&encode(&request)), Ok(request));
    }
}
