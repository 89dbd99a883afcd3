#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{document::MetadataValue, lease::Lease, record::SourcePosition};
use proptest::prelude::*;

use super::*;

const DECODER: NativeDecoder = NativeDecoder { max_document_bytes: 100_000 };

fn record(key: Option<&[u8]>, value: Option<&str>, tenant: Option<&[u8]>) -> RawRecord {
    RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        key: key.map(<[u8]>::to_vec),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: tenant
            .map(|tenant| (TENANT_HEADER.to_owned(), Some(tenant.to_vec())))
            .into_iter()
            .collect(),
        timestamp_ms: None,
        lease: Lease::new(),
    }
}

fn key_of(tenant: &str, id: &str) -> DocumentKey {
    DocumentKey { tenant: Tenant::new(tenant).unwrap(), id: DocumentId::new(id).unwrap() }
}

/// Class and message of what a value, with the key `a`, is refused for.
fn refused(value: &str) -> (String, String) {
    let record = record(Some(b"a"), Some(value), None);
    let Err(Undecoded::Never(reason)) = DECODER.decode(&record) else { panic!("it is decoded") };
    assert_eq!(reason.stage, Stage::Decode);
    (reason.class, reason.message)
}

#[test]
fn every_field_arrives() {
    let value = r#"{"id": "a", "title": "T", "text": "x", "content_type": "text/html",
        "url": "u", "tenant": "n", "version": 7, "updated_at": "1970-01-01T00:00:01Z",
        "metadata": {"b": true, "i": -3, "f": 1.0, "s": "x", "l": ["p", "q"], "none": null}}"#;
    let change = DECODER.change(&record(Some(b"a"), Some(value), Some(b"n"))).unwrap();
    let metadata = [
        ("b", MetadataValue::Bool(true)),
        ("f", MetadataValue::Float(1.0)),
        ("i", MetadataValue::Int(-3)),
        ("l", MetadataValue::Strings(vec!["p".to_owned(), "q".to_owned()])),
        ("s", MetadataValue::String("x".to_owned())),
    ];
    let expect = Document {
        key: key_of("n", "a"),
        title: Some("T".to_owned()),
        text: "x".to_owned(),
        content_type: ContentType::Html,
        url: Some("u".to_owned()),
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        version: Some("7".to_owned()),
        updated_at_ms: Some(1000),
    };
    assert_eq!(change, Change::Upsert(Box::new(expect)));
}

#[test]
fn key_and_header_name_the_document() {
    let key = |key, value, tenant| {
        DECODER.change(&record(key, Some(value), tenant)).map(|change| change.key().clone())
    };
    assert_eq!(key(Some(b"a"), r#"{"text": ""}"#, None), Ok(key_of("", "a")));
    assert_eq!(key(None, r#"{"id": "b", "text": ""}"#, None), Ok(key_of("", "b")));
    assert_eq!(key(Some(b""), r#"{"id": "b", "text": ""}"#, None), Ok(key_of("", "b")));
    assert_eq!(key(Some(b"a"), r#"{"text": ""}"#, Some(b"n")), Ok(key_of("n", "a")));
    assert_eq!(key(Some(b"a"), r#"{"text": "", "tenant": "n"}"#, None), Ok(key_of("n", "a")));

    let error = |of, value, tenant| key(of, value, tenant).unwrap_err();
    assert_eq!(error(None, r#"{"text": ""}"#, None), DecodeError::NoId);
    assert_eq!(
        error(Some(b"a"), r#"{"id": "b", "text": ""}"#, None),
        DecodeError::IdMismatch { id: "b".to_owned(), key: "a".to_owned() }
    );
    assert_eq!(
        error(Some(b"a"), r#"{"text": "", "tenant": "n"}"#, Some(b"m")),
        DecodeError::TenantMismatch { tenant: "n".to_owned(), header: "m".to_owned() }
    );
    assert_eq!(error(Some(b"a\xff"), "{}", None), DecodeError::KeyNotUtf8 { at: 1, bytes: 2 });
    assert_eq!(error(Some(b"a"), "{}", Some(b"\xff")), DecodeError::TenantNotUtf8);
    assert!(matches!(error(Some(b"a\n"), r#"{"text": ""}"#, None), DecodeError::Id(_)));
}

#[test]
fn a_null_value_deletes() {
    let change = |key, tenant| DECODER.change(&record(key, None, tenant));
    assert_eq!(change(Some(b"a"), None), Ok(Change::Delete(key_of("", "a"))));
    assert_eq!(change(Some(b"a"), Some(b"n")), Ok(Change::Delete(key_of("n", "a"))));
    assert_eq!(change(None, None), Err(DecodeError::Nothing));
    assert_eq!(change(Some(b""), None), Err(DecodeError::Nothing));
}

#[test]
fn refusals_name_field_value_and_limit() {
    let check = |value: &str, class: &str, message: &str| {
        assert_eq!(refused(value), (format!("DecodeError.{class}"), message.to_owned()), "{value}");
    };
    check("not json", "Json", "not JSON: expected ident at line 1 column 2");
    check("", "Json", "not JSON: EOF while parsing a value at line 1 column 0");
    check("[]", "Field", "`the value` is a list, expected an object");
    check("{}", "Field", "`text` is missing");
    check(r#"{"text": 5}"#, "Field", "`text` is a whole number, expected a string");
    check(
        r#"{"text": "", "titel": ""}"#,
        "Field",
        "`titel` is no field here; there are id, title, text, content_type, url, tenant, \
         metadata, version, updated_at",
    );
    check(
        r#"{"text": "", "content_type": "text/rtf"}"#,
        "Field",
        "`content_type` is text/rtf, it must be text/plain, text/markdown or text/html",
    );
    check(
        r#"{"text": "", "updated_at": "now"}"#,
        "Field",
        "`updated_at` is now, it must be an RFC 3339 time with offset",
    );
    check(
        r#"{"text": "", "metadata": {"a": {"b": 1}}}"#,
        "Field",
        "`metadata.a` is an object, expected a string, a number, true, false or a list of strings",
    );
    check(
        r#"{"text": "", "metadata": {"a": ["x", 1]}}"#,
        "Field",
        "`metadata.a[1]` is a whole number, expected a string",
    );
    check(
        r#"{"text": "", "metadata": {"a": 9223372036854775808}}"#,
        "Field",
        "`metadata.a` is 9223372036854775808, it must be -9223372036854775808 to \
         9223372036854775807",
    );
    check(
        r#"{"text": "", "version": 1.5}"#,
        "Field",
        "`version` is a number with a fraction, expected a string or a whole number of 64 bits",
    );
    let title = format!(r#"{{"text": "", "title": "{}"}}"#, "ä".repeat(MAX_TITLE_BYTES / 2 + 1));
    check(&title, "Field", "`title` has 4098 bytes, the limit is 4096");
    let many: Vec<String> = (0..65).map(|i| format!("\"k{i}\": 1")).collect();
    let many = format!(r#"{{"text": "", "metadata": {{{}}}}}"#, many.join(", "));
    check(&many, "Field", "`metadata` has 65 keys, the limit is 64");
    let large = format!(r#"{{"text": "", "metadata": {{"k": "{}"}}}}"#, "x".repeat(40_000));
    check(&large, "Field", "`metadata` has 40008 bytes as JSON, the limit is 32768");
    let value = format!(r#"{{"text": "{}"}}"#, "x".repeat(100_000));
    check(
        &value,
        "TooLarge",
        "the value has 100012 bytes, the limit is 100000 (ingest.max_document_bytes)",
    );
}

#[test]
fn refusals_never_quote_the_text() {
    const SECRET: &str = "the secret sauce";
    for value in [
        format!(r#"{{"text": ["{SECRET}"]}}"#),
        format!(r#"{{"text": {{"{SECRET}": 1}}}}"#),
        format!(r#"{{"text": "{SECRET}", "title": ["{SECRET}"]}}"#),
        format!(r#"{{"text": "{SECRET}", "metadata": "{SECRET}"}}"#),
        format!(r#"{{"text": "{SECRET}", "metadata": {{"a": ["{SECRET}", 1]}}}}"#),
        format!(r#"{{"text": "{SECRET}", "version": ["{SECRET}"]}}"#),
        format!(r#"{{"text": "{SECRET}"#),
        format!(r#"{{"text": "{SECRET} \x"}}"#),
        format!(r#"{{"text": "{SECRET}"}} {SECRET}"#),
        format!(r#"["{SECRET}"]"#),
        format!(r#""{SECRET}""#),
        SECRET.to_owned(),
    ] {
        let (_, message) = refused(&value);
        assert!(!message.contains("secret"), "{value} -> {message}");
    }
}

#[test]
fn names_from_outside_are_cut_and_escaped() {
    let name = "x\u{7}".repeat(200);
    let (_, message) = refused(&format!(r#"{{"text": "", "{}": 1}}"#, "x\\u0007".repeat(200)));
    assert!(
        message.len() < 600 && !message.contains(&name) && message.contains("x\\u{7}x"),
        "{message}"
    );
}

fn documents() -> impl Strategy<Value = Document> {
    let name = "[a-zäß水/. -]{1,40}";
    let value = prop_oneof![
        any::<bool>().prop_map(MetadataValue::Bool),
        any::<i64>().prop_map(MetadataValue::Int),
        (-1e9..1e9).prop_map(MetadataValue::Float),
        "\\PC{0,20}".prop_map(MetadataValue::String),
        prop::collection::vec("\\PC{0,9}", 0..4).prop_map(MetadataValue::Strings),
    ];
    let content_types = vec![ContentType::Plain, ContentType::Markdown, ContentType::Html];
    (
        (name, "[a-z]{0,9}", prop::option::of("\\PC{0,40}"), any::<String>()),
        prop::sample::select(content_types),
        prop::option::of("\\PC{0,40}"),
        prop::collection::btree_map("\\PC{1,20}", value, 0..6),
        prop::option::of("\\PC{0,20}"),
        prop::option::of(-60_000_000_000_000_i64..200_000_000_000_000),
    )
        .prop_map(|((id, tenant, title, text), content_type, url, metadata, version, time)| {
            Document {
                key: key_of(&tenant, &id),
                title,
                text,
                content_type,
                url,
                metadata,
                version,
                updated_at_ms: time,
            }
        })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(document in documents()) {
        let outgoing = encode(&document);
        let mut record = record(Some(&outgoing.key), None, None);
        record.headers = outgoing.headers;
        record.value = outgoing.value;
        prop_assert_eq!(DECODER.change(&record), Ok(Change::Upsert(Box::new(document.clone()))));

        let outgoing = tombstone(&document.key);
        record.headers = outgoing.headers;
        record.value = outgoing.value;
        prop_assert_eq!(DECODER.change(&record), Ok(Change::Delete(document.key)));
    }

    #[test]
    fn no_bytes_make_it_panic(key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), value in "[\\[\\]{}\":,a-z0-9\\\\. ]{0,60}") {
        let _ = DECODER.change(&record(key.as_deref(), Some(&value), None));
    }
}
