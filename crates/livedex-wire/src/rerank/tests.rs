#![allow(clippy::unwrap_used, reason = "tests may panic")]

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
fn documents_are_texts_or_have_names() {
    let json = br#"{"query": "q", "documents": ["a", {"id": "n", "text": "b"}, {"text": "c"}],
        "top_k": 2, "instruction": "i", "include": ["text"]}"#;
    let document = |id: Option<&str>, text: &str| RerankDocument {
        id: id.map(str::to_owned),
        text: text.to_owned(),
    };
    let expect = RerankRequest {
        query: "q".to_owned(),
        documents: vec![document(None, "a"), document(Some("n"), "b"), document(None, "c")],
        top_k: Some(2),
        instruction: Some("i".to_owned()),
        include_text: true,
    };
    assert_eq!(decode(json), Ok(expect));
    let bare = decode(br#"{"query": "q", "documents": ["a"], "include": []}"#).unwrap();
    assert_eq!((bare.top_k, bare.instruction, bare.include_text), (None, None, false));
}

#[test]
fn refusals_name_field_value_and_limit() {
    check("{}", "query", "`query` is missing");
    check(r#"{"query": "x"}"#, "documents", "`documents` is missing");
    check(r#"{"query": "x", "documents": []}"#, "documents", "`documents` is empty");
    check(r#"{"query": "x", "documents": ["a", " "]}"#, "documents[1]", "`documents[1]` is empty");
    check(
        r#"{"query": "x", "documents": [null]}"#,
        "documents[0]",
        "`documents[0]` is null, expected a string or an object",
    );
    check(
        r#"{"query": "x", "documents": [{"id": "a"}]}"#,
        "documents[0].text",
        "`documents[0].text` is missing",
    );
    check(
        r#"{"query": "x", "documents": [{"text": "a", "title": "b"}]}"#,
        "documents[0].title",
        "`documents[0].title` is no field here; there are id, text",
    );
    check(
        r#"{"query": "x", "documents": [{"id": 7, "text": "a"}]}"#,
        "documents[0].id",
        "`documents[0].id` is a whole number, expected a string",
    );
    check(
        r#"{"query": "x", "documents": ["a"], "include": ["metadata"]}"#,
        "include[0]",
        "`include[0]` is metadata, it must be text",
    );
    check_limit(
        r#"{"query": "x", "documents": ["a"], "top_k": 501}"#,
        ErrorCode::BadRequest,
        "top_k",
        500,
        "`top_k` is 501, it must be 1 to 500",
    );
    let many = vec![r#""a""#; MAX_RERANK_DOCUMENTS + 1].join(",");
    check_limit(
        &format!(r#"{{"query": "x", "documents": [{many}]}}"#),
        ErrorCode::TooLarge,
        "documents",
        500,
        "`documents` has 501 entries, the limit is 500",
    );
    let long = "x".repeat(MAX_CHUNK_TEXT_BYTES + 1);
    check_limit(
        &format!(r#"{{"query": "x", "documents": ["a", {{"text": "{long}"}}]}}"#),
        ErrorCode::TooLarge,
        "documents[1].text",
        65_535,
        "`documents[1].text` has 65536 bytes, the limit is 65535",
    );
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        query in "\\PC{0,40}x",
        documents in prop::collection::vec((prop::option::of("\\PC{0,9}x"), "\\PC{0,40}x"), 1..5),
        top_k in prop::option::of(1..=MAX_RERANK_DOCUMENTS),
        instruction in prop::option::of("\\PC{0,40}x"),
        include_text in any::<bool>(),
    ) {
        let documents =
            documents.into_iter().map(|(id, text)| RerankDocument { id, text }).collect();
        let request = RerankRequest { query, documents, top_k, instruction, include_text };
        prop_assert_eq!(decode(&encode(&request)), Ok(request));
    }
}
