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
fn texts_are_queries_if_nothing_is_said() {
    let request = |texts: &[&str], kind, instruction: Option<&str>| EmbedRequest {
        texts: texts.iter().map(ToString::to_string).collect(),
        kind,
        instruction: instruction.map(str::to_owned),
    };
    assert_eq!(decode(br#"{"texts": ["a"]}"#), Ok(request(&["a"], TextKind::Query, None)));
    assert_eq!(
        decode(br#"{"texts": ["a", "a"], "kind": "query", "instruction": "i"}"#),
        Ok(request(&["a", "a"], TextKind::Query, Some("i")))
    );
    assert_eq!(
        decode(br#"{"texts": ["a"], "kind": "document"}"#),
        Ok(request(&["a"], TextKind::Document, None))
    );
}

#[test]
fn refusals_name_field_value_and_limit() {
    check("{}", "texts", "`texts` is missing");
    check(r#"{"texts": []}"#, "texts", "`texts` is empty");
    check(r#"{"texts": "x"}"#, "texts", "`texts` is a string, expected a list");
    check(r#"{"texts": ["x", ""]}"#, "texts[1]", "`texts[1]` is empty");
    check(
        r#"{"texts": [{"text": "x"}]}"#,
        "texts[0]",
        "`texts[0]` is an object, expected a string",
    );
    check(
        r#"{"texts": ["x"], "kind": "passage"}"#,
        "kind",
        "`kind` is passage, it must be query or document",
    );
    check(
        r#"{"texts": ["x"], "kind": "document", "instruction": "i"}"#,
        "instruction",
        "`instruction` is for queries only: documents are embedded without one",
    );
    let many = vec![r#""a""#; MAX_EMBED_TEXTS + 1].join(",");
    check_limit(
        &format!(r#"{{"texts": [{many}]}}"#),
        ErrorCode::TooLarge,
        "texts",
        64,
        "`texts` has 65 entries, the limit is 64",
    );
    let long = "x".repeat(MAX_CHUNK_TEXT_BYTES + 1);
    check_limit(
        &format!(r#"{{"texts": ["{long}"]}}"#),
        ErrorCode::TooLarge,
        "texts[0]",
        65_535,
        "`texts[0]` has 65536 bytes, the limit is 65535",
    );
}

#[test]
fn embeddings_arrive_to_the_last_bit() {
    let reply = EmbedReplyV1 {
        embeddings: vec![vec![0.1, -1.0 / 3.0, f32::MIN_POSITIVE, 0.999_999_94]],
        dimension: 4,
        timings_ms: EmbedTimings { embed: 1.5, total: 2.0 },
        model: Model { name: "n".to_owned(), fingerprint: "f".to_owned() },
    };
    assert_eq!(EmbedReplyV1::from_json(&reply.to_json()), Ok(reply));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        texts in prop::collection::vec("\\PC{0,40}x", 1..5),
        instruction in prop::option::of("\\PC{0,40}x"),
        is_query in any::<bool>(),
    ) {
        let kind = if is_query { TextKind::Query } else { TextKind::Document };
        let request = EmbedRequest { texts, kind, instruction: instruction.filter(|_| is_query) };
        prop_assert_eq!(decode(&encode(&request)), Ok(request));
    }
}
