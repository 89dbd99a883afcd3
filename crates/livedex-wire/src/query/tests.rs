#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    filter::{Comparison, Field, Filter, Value as FilterValue},
    limits::{MAX_FILTER_DEPTH, MAX_FILTER_NODES, MAX_FILTER_STRING_BYTES, MAX_FILTER_VALUES},
};
use proptest::prelude::*;

use super::*;

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
    let json = br#"{"query": "q", "top_k": 3, "candidates": 7, "tenant": "n", "instruction": "i",
        "rerank": false, "consistency": "eventually", "include": ["metadata"],
        "filter": {"and": [{"gte": {"field": "updated_at", "value": "1970-01-01T00:00:01Z"}},
                           {"not": {"contains": {"field": "metadata.a.b", "value": "x"}}}]}}"#;
    let expect = QueryRequest {
        query: "q".to_owned(),
        top_k: Some(3),
        candidates: Some(7),
        filter: Some(Filter::And(vec![
            Filter::Compare(Field::UpdatedAt, Comparison::Gte, FilterValue::Int(1000)),
            Filter::Not(Box::new(Filter::Contains("a.b".to_owned(), "x".to_owned()))),
        ])),
        tenant: Some(Tenant::new("n").unwrap()),
        instruction: Some("i".to_owned()),
        rerank: false,
        consistency: Consistency::Eventually,
        include_text: false,
        include_metadata: true,
    };
    assert_eq!(decode(json), Ok(expect));
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
        "`include[0]` is vector, it must be text or metadata",
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
        "`filter.and[1].not.eq.field` is text, it must be document_id, updated_at or metadata.KEY",
    );
    check(
        r#"{"eq": {"field": "metadata.", "value": 1}}"#,
        "filter.eq.field",
        "`filter.eq.field` is metadata., it must be document_id, updated_at or metadata.KEY",
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

fn filters() -> impl Strategy<Value = Filter> {
    let key = "[a-z.\"\\\\ \u{4e00}]{1,12}";
    let value = prop_oneof![
        any::<bool>().prop_map(FilterValue::Bool),
        any::<i64>().prop_map(FilterValue::Int),
        (-1e9..1e9).prop_map(FilterValue::Float),
        "\\PC{0,20}".prop_map(FilterValue::String),
    ];
    let comparison = prop::sample::select(vec![
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Lte,
        Comparison::Gt,
        Comparison::Gte,
    ]);
    let leaf = prop_oneof![
        (key, comparison.clone(), value.clone()).prop_map(|(key, how, value)| Filter::Compare(
            Field::Metadata(key),
            how,
            value
        )),
        (comparison.clone(), -60_000_000_000_000_i64..200_000_000_000_000)
            .prop_map(|(how, ms)| Filter::Compare(Field::UpdatedAt, how, FilterValue::Int(ms))),
        (comparison, "\\PC{0,20}").prop_map(|(how, id)| Filter::Compare(
            Field::DocumentId,
            how,
            FilterValue::String(id)
        )),
        (key, prop::collection::vec(value, 1..4))
            .prop_map(|(key, values)| Filter::In(Field::Metadata(key), values)),
        (key, "\\PC{0,20}").prop_map(|(key, text)| Filter::Contains(key, text)),
        "\\PC{0,20}".prop_map(|text| Filter::Prefix(Field::DocumentId, text)),
        key.prop_map(Filter::Exists),
    ];
    leaf.prop_recursive(4, 20, 4, |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 1..4).prop_map(Filter::And),
            prop::collection::vec(below.clone(), 1..4).prop_map(Filter::Or),
            below.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        query in "\\PC{0,40}x",
        filter in prop::option::of(filters()),
        sizes in (prop::option::of(1_usize..=100), prop::option::of(100_usize..=500)),
        tenant in prop::option::of("[a-z]{0,9}"),
        instruction in prop::option::of("\\PC{0,40}x"),
        flags in any::<(bool, bool, bool)>(),
        consistency in prop::sample::select(vec![Consistency::Strong, Consistency::Bounded, Consistency::Eventually]),
    ) {
        let request = QueryRequest {
            query,
            top_k: sizes.0,
            candidates: sizes.1,
            filter,
            tenant: tenant.map(|name| Tenant::new(name).unwrap()),
            instruction,
            rerank: flags.0,
            consistency,
            include_text: flags.1,
            include_metadata: flags.2,
        };
        prop_assert_eq!(decode(&encode(&request)), Ok(request));
    }
}
