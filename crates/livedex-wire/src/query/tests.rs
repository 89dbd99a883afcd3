#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    filter::{Comparison, Field, Filter, Value as FilterValue},
    limits::{
        MAX_AFTER, MAX_FILTER_DEPTH, MAX_FILTER_NODES, MAX_FILTER_STRING_BYTES, MAX_FILTER_VALUES,
    },
    query::Consistency,
    record::SourcePosition,
};
use proptest::prelude::*;

use super::*;
use crate::error::{ErrorBody, ErrorCode};

/// The error's body for a request.
fn refused(json: &str) -> ErrorBody {
    decode(json.as_bytes()).unwrap_err().body()
}

#[test]
fn a_query_alone_has_the_defaults() {
    assert_eq!(decode(br#"{"query": "what?"}"#), Ok(QueryRequest::new("what?")));
}

#[test]
fn every_field_arrives() {
    let json = br#"{"query": "q", "queries": ["r", "s"], "collection": "c", "mode": "hybrid",
        "top_k": 3, "candidates": 7, "tenant": "n", "instruction": "i", "rerank": false,
        "consistency": "strong", "after": [{"topic": "t", "partition": 1, "offset": 2}],
        "group_by": "document", "min_score": 0.5, "neighbours": 2, "explain": true,
        "include": ["metadata", "vectors"],
        "filter": {"and": [{"gte": {"field": "updated_at", "value": "1970-01-01T00:00:01Z"}},
                           {"not": {"contains": {"field": "metadata.a.b", "value": "x"}}}]}}"#;
    let expect = QueryRequest {
        collection: Some("c".to_owned()),
        query: "q".to_owned(),
        also: vec!["r".to_owned(), "s".to_owned()],
        mode: Some(Mode::Hybrid),
        top_k: Some(3),
        candidates: Some(7),
        filter: Some(Filter::And(vec![
            Filter::Compare(Field::UpdatedAt, Comparison::Gte, FilterValue::Int(1000)),
            Filter::Not(Box::new(Filter::Contains("a.b".to_owned(), "x".to_owned()))),
        ])),
        tenant: Some(Tenant::new("n").unwrap()),
        instruction: Some("i".to_owned()),
        rerank: false,
        consistency: Some(Consistency::Strong),
        after: vec![SourcePosition { topic: "t".into(), partition: 1, offset: 2 }],
        group_by_document: true,
        min_score: Some(0.5),
        neighbours: 2,
        explain: true,
        include_text: false,
        include_metadata: true,
        include_vectors: true,
    };
    assert_eq!(decode(json), Ok(expect));
}

#[test]
fn the_first_of_the_queries_is_the_query_if_there_is_none() {
    let texts = |json: &str| {
        let request = decode(json.as_bytes()).unwrap();
        (request.query, request.also)
    };
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(r#"{"queries": ["a"]}"#), ("a".to_owned(), vec![]));
    assert_eq!(texts(r#"{"queries": ["a", "b", "c"]}"#), ("a".to_owned(), owned(&["b", "c"])));
    assert_eq!(
        texts(r#"{"query": "a", "queries": ["b", "c"]}"#),
        ("a".to_owned(), owned(&["b", "c"]))
    );
}

#[test]
fn refusals_name_field_value_and_limit() {
    let check =
        |json: &str, code: ErrorCode, field: Option<&str>, limit: Option<u64>, message: &str| {
            let body = refused(json);
            let got = (body.code, body.field.as_deref(), body.limit, body.message.as_str());
            assert_eq!(got, (code, field, limit, message), "{json}");
        };
    let bad = ErrorCode::BadRequest;
    check("x", bad, None, None, "not JSON: expected value at line 1 column 1");
    check("{}", bad, Some("query"), None, "`query` is missing");
    check(r#"{"query": "\n "}"#, bad, Some("query"), None, "`query` is empty");
    check(
        r#"{"query": 1}"#,
        bad,
        Some("query"),
        None,
        "`query` is a whole number, expected a string",
    );
    check(
        r#"{"query": "x", "top_k": 1000}"#,
        bad,
        Some("top_k"),
        Some(100),
        "`top_k` is 1000, it must be 1 to 100",
    );
    check(
        r#"{"query": "x", "top_k": -1}"#,
        bad,
        Some("top_k"),
        Some(100),
        "`top_k` is -1, it must be 1 to 100",
    );
    check(
        r#"{"query": "x", "top_k": 1.5}"#,
        bad,
        Some("top_k"),
        None,
        "`top_k` is a number with a fraction, expected a whole number",
    );
    check(
        r#"{"query": "x", "top_k": 9, "candidates": 8}"#,
        bad,
        Some("candidates"),
        None,
        "`candidates` is 8, less than `top_k` (9)",
    );
    check(
        r#"{"query": "x", "consistency": "session"}"#,
        bad,
        Some("consistency"),
        None,
        "`consistency` is session, it must be strong, bounded or eventually",
    );
    check(
        r#"{"query": "x", "include": ["vector"]}"#,
        bad,
        Some("include[0]"),
        None,
        "`include[0]` is vector, it must be text, metadata or vectors",
    );
    check(
        r#"{"query": "x", "tenant": "a\u0000b"}"#,
        bad,
        Some("tenant"),
        None,
        "`tenant` is not valid: tenant holds the control character U+0000 at byte 1",
    );
    let long = format!(r#"{{"query": "{}"}}"#, "x".repeat(MAX_QUERY_BYTES + 1));
    check(
        &long,
        ErrorCode::TooLarge,
        Some("query"),
        Some(16_384),
        "`query` has 16385 bytes, the limit is 16384",
    );
}

#[test]
fn refusals_of_how_to_search_name_field_value_and_limit() {
    let check = |fields: &str, field: &str, limit: Option<u64>, message: &str| {
        let body = refused(&format!(r#"{{"query": "x", {fields}}}"#));
        let got = (body.code, body.field.as_deref(), body.limit, body.message.as_str());
        assert_eq!(got, (ErrorCode::BadRequest, Some(field), limit, message), "{fields}");
    };
    check(r#""queries": []"#, "queries", None, "`queries` is empty");
    check(r#""queries": ["a", "\t"]"#, "queries[1]", None, "`queries[1]` is empty");
    check(r#""collection": " ""#, "collection", None, "`collection` is empty");
    check(
        r#""mode": "sparse""#,
        "mode",
        None,
        "`mode` is sparse, it must be dense, bm25 or hybrid",
    );
    check(r#""group_by": "tenant""#, "group_by", None, "`group_by` is tenant, it must be document");
    check(r#""min_score": 1.5"#, "min_score", Some(1), "`min_score` is 1.5, it must be 0 to 1");
    check(
        r#""min_score": "high""#,
        "min_score",
        None,
        "`min_score` is a string, expected a number",
    );
    check(r#""neighbours": 6"#, "neighbours", Some(5), "`neighbours` is 6, it must be 0 to 5");
    check(r#""explain": "yes""#, "explain", None, "`explain` is a string, expected true or false");
}

#[test]
fn records_to_wait_for_are_refused_with_their_path() {
    let check = |fields: &str, field: &str, limit: Option<u64>, message: &str| {
        let body = refused(&format!(r#"{{"query": "x", {fields}}}"#));
        let got = (body.field.as_deref(), body.limit, body.message.as_str());
        assert_eq!(got, (Some(field), limit, message), "{fields}");
    };
    check(r#""after": {}"#, "after", None, "`after` is an object, expected a list");
    check(r#""after": ["t"]"#, "after[0]", None, "`after[0]` is a string, expected an object");
    check(
        r#""after": [{"topic": "t", "partition": 0, "offset": 0}, {"topic": "t", "partition": 0}]"#,
        "after[1].offset",
        None,
        "`after[1].offset` is missing",
    );
    check(
        r#""after": [{"topic": "t", "partition": 2147483648, "offset": 0}]"#,
        "after[0].partition",
        Some(2_147_483_647),
        "`after[0].partition` is 2147483648, it must be 0 to 2147483647",
    );
    check(
        r#""after": [{"topic": "t", "partition": 0, "offset": 18446744073709551615}]"#,
        "after[0].offset",
        Some(9_223_372_036_854_775_807),
        "`after[0].offset` is 18446744073709551615, it must be 0 to 9223372036854775807",
    );
    let one = r#"{"topic": "t", "partition": 0, "offset": 0}"#;
    check(
        &format!(r#""after": [{one}], "consistency": "eventually""#),
        "consistency",
        None,
        "`consistency` is eventually, with `after` it must be strong: only a strong read is sure \
         to see the records that were waited for",
    );
    // Nothing to wait for says nothing about the read.
    let json = br#"{"query": "x", "after": [], "consistency": "eventually"}"#;
    assert_eq!(decode(json).unwrap().consistency(), Consistency::Eventually);
}

#[test]
fn what_is_too_long_is_too_large() {
    let check = |json: String, field: &str, limit: u64, message: &str| {
        let body = refused(&json);
        let got = (body.code, body.field.as_deref(), body.limit, body.message.as_str());
        assert_eq!(got, (ErrorCode::TooLarge, Some(field), Some(limit), message));
    };
    let list = |one: &str, n: usize| vec![one; n].join(",");
    let texts = |n| list(r#""a""#, n);
    check(
        format!(r#"{{"queries": [{}]}}"#, texts(9)),
        "queries",
        8,
        "`queries` has 9 entries, the limit is 8",
    );
    check(
        format!(r#"{{"query": "a", "queries": [{}]}}"#, texts(8)),
        "queries",
        8,
        "`queries` has 9 texts together with `query`, the limit is 8",
    );
    check(
        format!(r#"{{"queries": ["a", "{}"]}}"#, "x".repeat(MAX_QUERY_BYTES + 1)),
        "queries[1]",
        16_384,
        "`queries[1]` has 16385 bytes, the limit is 16384",
    );
    check(
        format!(r#"{{"query": "a", "collection": "{}"}}"#, "c".repeat(256)),
        "collection",
        255,
        "`collection` has 256 bytes, the limit is 255",
    );
    let position = r#"{"topic": "t", "partition": 0, "offset": 0}"#;
    check(
        format!(r#"{{"query": "a", "after": [{}]}}"#, list(position, MAX_AFTER + 1)),
        "after",
        64,
        "`after` has 65 entries, the limit is 64",
    );
    check(
        format!(
            r#"{{"query": "a", "after": [{{"topic": "{}", "partition": 0, "offset": 0}}]}}"#,
            "t".repeat(250)
        ),
        "after[0].topic",
        249,
        "`after[0].topic` has 250 bytes, the limit is 249",
    );
}

#[test]
fn filters_are_refused_with_their_path() {
    let check = |filter: &str, field: &str, message: &str| {
        let body = refused(&format!(r#"{{"query": "x", "filter": {filter}}}"#));
        assert_eq!(
            (body.field.as_deref(), body.message.as_str()),
            (Some(field), message),
            "{filter}"
        );
    };
    check("[]", "filter", "`filter` is a list, expected an object with one operator");
    check(
        "{}",
        "filter",
        "`filter` has 0 operators, expected one of eq, ne, lt, lte, gt, gte, in, contains, prefix, exists, and, or, not",
    );
    check(
        r#"{"like": 1}"#,
        "filter.like",
        "`filter.like` is no field here; there are eq, ne, lt, lte, gt, gte, in, contains, prefix, exists, and, or, not",
    );
    check(
        r#"{"and": [{"exists": {"field": "metadata.a"}}, {"not": {"eq": {"field": "text", "value": 1}}}]}"#,
        "filter.and[1].not.eq.field",
        "`filter.and[1].not.eq.field` is text, it must be document_id, tenant, updated_at or metadata.KEY",
    );
    check(
        r#"{"eq": {"field": "metadata.", "value": 1}}"#,
        "filter.eq.field",
        "`filter.eq.field` is metadata., it must be document_id, tenant, updated_at or metadata.KEY",
    );
    check(r#"{"eq": {"field": "metadata.a"}}"#, "filter.eq.value", "`filter.eq.value` is missing");
    check(
        r#"{"eq": {"field": "metadata.a", "value": ["x"]}}"#,
        "filter.eq.value",
        "`filter.eq.value` is a list, expected a string, a number, true or false",
    );
    check(
        r#"{"lt": {"field": "updated_at", "value": "2026"}}"#,
        "filter.lt.value",
        "`filter.lt.value` is 2026, it must be an RFC 3339 time with offset",
    );
    check(
        r#"{"eq": {"field": "document_id", "value": 1}}"#,
        "filter",
        "`document_id` in the filter cannot be used with what is no string",
    );
    check(
        r#"{"eq": {"field": "tenant", "value": true}}"#,
        "filter",
        "`tenant` in the filter cannot be used with what is no string",
    );
    check(
        r#"{"exists": {"field": "document_id"}}"#,
        "filter.exists.field",
        "`filter.exists.field` must be metadata.KEY with this operator",
    );
    check(r#"{"or": []}"#, "filter", "`or` in the filter has no entries");
}

#[test]
fn filters_over_a_limit_are_too_large() {
    let code = |filter: String| refused(&format!(r#"{{"query": "x", "filter": {filter}}}"#)).code;
    let leaf = r#"{"exists": {"field": "metadata.a"}}"#;
    let wide = format!(r#"{{"or": [{}]}}"#, vec![leaf; MAX_FILTER_NODES].join(","));
    assert_eq!(code(wide), ErrorCode::TooLarge);
    let deep =
        format!("{}{leaf}{}", r#"{"not":"#.repeat(MAX_FILTER_DEPTH), "}".repeat(MAX_FILTER_DEPTH));
    assert_eq!(code(deep), ErrorCode::TooLarge);
    // Deeper than any stack.
    let deeper = format!("{}{leaf}{}", r#"{"not":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(code(deeper), ErrorCode::BadRequest);
    let values = vec!["1"; MAX_FILTER_VALUES + 1].join(",");
    assert_eq!(
        code(format!(r#"{{"in": {{"field": "metadata.a", "values": [{values}]}}}}"#)),
        ErrorCode::TooLarge
    );
    let text = "x".repeat(MAX_FILTER_STRING_BYTES + 1);
    assert_eq!(
        code(format!(r#"{{"prefix": {{"field": "document_id", "value": "{text}"}}}}"#)),
        ErrorCode::TooLarge
    );
}

mod properties;
