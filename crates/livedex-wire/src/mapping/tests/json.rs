//! JSON of any shape.

use super::*;

/// A page of a content-management system.
const PAGE: &str = r##"{
    "page": {"slug": "billing/refunds", "rev": 17, "locale": "en", "draft": false},
    "content": {"heading": "Refunds", "lead": "How to get one.", "markdown": "# Refunds\n\nAsk us."},
    "links": [{"rel": "self", "href": "https://help.example.org/billing/refunds"}],
    "owner": "acme",
    "labels": {"team": "billing", "tags": ["money", "faq"], "weight": 0.5, "reviewer": null},
    "changed": "2026-05-01T12:00:00Z"
}"##;

fn page_spec() -> Value {
    json!({
        "format": "json",
        "id": "/page/slug",
        "text": "/content/markdown",
        "content_type": "text/markdown",
        "title": "/content/heading",
        "url": "/links/0/href",
        "tenant": "/owner",
        "version": "/page/rev",
        "updated_at": "/changed",
        "metadata_object": "/labels",
        "metadata": {"lang": "/page/locale", "draft": "/page/draft", "missing": "/page/none"},
    })
}

#[test]
fn every_field_is_found() {
    let found = document(&mapping(page_spec()), &record(None, Some(PAGE), &[]));
    let metadata = [
        ("draft", MetadataValue::Bool(false)),
        ("lang", string("en")),
        ("tags", strings(&["money", "faq"])),
        ("team", string("billing")),
        ("weight", MetadataValue::Float(0.5)),
    ];
    let expected = Document {
        key: key_of("acme", "billing/refunds"),
        title: Some("Refunds".to_owned()),
        content_type: ContentType::Markdown,
        url: Some("https://help.example.org/billing/refunds".to_owned()),
        metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        version: Some("17".to_owned()),
        updated_at_ms: Some(1_777_636_800_000),
        ..plain("x", "# Refunds\n\nAsk us.")
    };
    assert_eq!(found, expected);
}

#[test]
fn a_text_is_one_place_several_or_a_template() {
    let text = |spec: Value| document(&mapping(spec), &record(Some("k"), Some(PAGE), &[])).text;
    let parts = json!(["/content/heading", "/content/none", "/content/lead"]);
    assert_eq!(text(json!({"format": "json", "text": parts})), "Refunds\n\nHow to get one.");
    let template = "# {/content/heading}\n\n{/content/lead} ({key:}, {/page/rev}{/none})";
    assert_eq!(
        text(json!({"format": "json", "template": template})),
        "# Refunds\n\nHow to get one. (k, 17)"
    );
    // A value that is a string is a text, too.
    let whole = mapping(json!({"format": "json", "text": ""}));
    assert_eq!(document(&whole, &record(Some("k"), Some("\"A line.\""), &[])).text, "A line.");
}

#[test]
fn scalars_are_taken_as_text() {
    let decoder = mapping(json!({"format": "json", "id": "/id", "text": "/t", "version": "/v"}));
    let check = |value: &str, id: &str, text: &str, version: Option<&str>| {
        let document = document(&decoder, &record(None, Some(value), &[]));
        assert_eq!(document.key, key_of("", id));
        assert_eq!((document.text.as_str(), document.version.as_deref()), (text, version));
    };
    check(r#"{"id": 1004, "t": 1.50, "v": true}"#, "1004", "1.5", Some("true"));
    check(
        r#"{"id": -1, "t": false, "v": 18446744073709551615}"#,
        "-1",
        "false",
        Some("18446744073709551615"),
    );
    check(r#"{"id": true, "t": "", "v": null}"#, "true", "", None);
    // Two such numbers may have one text.
    for id in ["1.5", "123456789012345678901234567890"] {
        let value = format!(r#"{{"id": {id}, "t": ""}}"#);
        let (class, message) = refused(&decoder, &record(None, Some(&value), &[]));
        assert_eq!(class, "MappingError.Kind");
        assert_eq!(
            message,
            "`id`: /id is a number with a fraction, expected a string, a whole number of 64 bits, \
             true or false"
        );
    }
}

#[test]
fn the_key_is_the_id_unless_the_mapping_says_another() {
    let id = |spec: Value, key: Option<&str>, value: &str| {
        mapping(spec)
            .change(&record(key, Some(value), &[]))
            .map(|change| change.key().id.to_string())
    };
    let value = r#"{"text": "", "n": 7}"#;
    let by_key = || json!({"format": "json", "text": "/text"});
    assert_eq!(id(by_key(), Some("docs/a.md"), value).unwrap(), "docs/a.md");
    assert!(matches!(id(by_key(), None, value), Err(MappingError::NoKey)));
    let in_key = || json!({"format": "json", "text": "/text", "key_id": "/doc/id"});
    assert_eq!(id(in_key(), Some(r#"{"doc": {"id": 7}}"#), value).unwrap(), "7");
    let error = id(in_key(), Some("docs/a.md"), value).unwrap_err();
    assert!(error.to_string().starts_with("`id`: the record's key is not JSON: "), "{error}");
    let error = id(in_key(), Some(r#"{"doc": 7}"#), value).unwrap_err();
    assert_eq!(error.to_string(), "`id`: nothing at key:/doc/id: /doc is a whole number");
    let in_header = json!({"format": "json", "text": "/text", "id": "header:doc"});
    let with_header = record(None, Some(value), &[("doc", "old"), ("doc", "new")]);
    assert_eq!(mapping(in_header).change(&with_header).unwrap().key().id.as_str(), "new");

    // Where both are asked, both must say the same.
    let both = || json!({"format": "json", "text": "/text", "id": "/n", "key_id": "/id"});
    assert_eq!(id(both(), Some(r#"{"id": "7"}"#), value).unwrap(), "7");
    assert_eq!(id(both(), None, value).unwrap(), "7");
    let error = id(both(), Some(r#"{"id": 8}"#), value).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`id`: /n and the record's key (\"8\") differ: they must agree, or a tombstone could not \
         delete the document"
    );
}

#[test]
fn a_tombstone_deletes_what_its_key_names_or_says_why_not() {
    let tombstone = |spec: Value, key: Option<&str>, value: Option<&str>| {
        mapping(spec).change(&record(key, value, &[]))
    };
    let by_key = || json!({"format": "json", "text": "/text"});
    assert_eq!(tombstone(by_key(), Some("a"), None), deleted("a"));
    assert_eq!(tombstone(by_key(), Some("a"), Some("null")), deleted("a"));
    assert!(matches!(
        tombstone(by_key(), None, None),
        Err(MappingError::Decode(crate::document::DecodeError::Nothing))
    ));
    let in_key = json!({"format": "json", "text": "/text", "id": "/n", "key_id": "/id"});
    assert_eq!(tombstone(in_key, Some(r#"{"id": 7}"#), None), deleted("7"));

    let in_value = json!({"format": "json", "text": "/text", "id": "/n"});
    let error = tombstone(in_value, Some("7"), None).unwrap_err();
    assert_eq!(error.class(), "MappingError.Tombstone");
    assert!(error.to_string().contains("where the id stands (/n): let mapping.key_id"), "{error}");
    let tenant = json!({"format": "json", "text": "/text", "tenant": "/org"});
    let error = tombstone(tenant, Some("7"), None).unwrap_err();
    assert!(error.to_string().contains("where the tenant stands (/org)"), "{error}");
    let tenant = json!({"format": "json", "text": "/text", "key_id": "/id", "tenant": "key:/org"});
    assert_eq!(
        tombstone(tenant, Some(r#"{"id": 7, "org": "acme"}"#), None),
        Ok(Change::Delete(key_of("acme", "7")))
    );
}

#[test]
fn a_tenant_that_is_mapped_must_be_there_and_agree_with_the_header() {
    let decoder = mapping(json!({"format": "json", "text": "/text", "tenant": "/org"}));
    let tenant = |value: &str, headers: &[(&str, &str)]| {
        let change = decoder.change(&record(Some("a"), Some(value), headers));
        change.map(|change| change.key().tenant.to_string())
    };
    let header = [("livedex-tenant", "acme")];
    assert_eq!(tenant(r#"{"text": "", "org": "acme"}"#, &[]).unwrap(), "acme");
    assert_eq!(tenant(r#"{"text": "", "org": "acme"}"#, &header).unwrap(), "acme");
    assert_eq!(tenant(r#"{"text": ""}"#, &header).unwrap(), "acme");
    let error = tenant(r#"{"text": ""}"#, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`tenant`: nothing at /org: the value is an object without \"org\""
    );
    let error = tenant(r#"{"text": "", "org": "other"}"#, &header).unwrap_err();
    assert!(matches!(error, MappingError::Differ { field: "tenant", .. }), "{error}");
    // Without a mapping the header is the tenant, as for document.v1.
    let decoder = mapping(json!({"format": "json", "text": "/text"}));
    let change = decoder.change(&record(Some("a"), Some(r#"{"text": ""}"#), &header)).unwrap();
    assert_eq!(change.key(), &key_of("acme", "a"));
}

#[test]
fn a_mark_deletes() {
    let change = |mark: Value, value: &str| {
        let spec = json!({"format": "json", "text": "/text", "deleted": mark});
        mapping(spec).change(&record(Some("a"), Some(value), &[]))
    };
    let is_kept = |change: Result<Change, MappingError>| matches!(change, Ok(Change::Upsert(_)));
    let mark = || json!({"pointer": "/gone", "equals": true});
    assert_eq!(change(mark(), r#"{"gone": true}"#), deleted("a"));
    assert_eq!(change(mark(), r#"{"gone": "true"}"#), deleted("a"));
    for kept in
        [r#"{"text": "", "gone": false}"#, r#"{"text": "", "gone": null}"#, r#"{"text": ""}"#]
    {
        assert!(is_kept(change(mark(), kept)), "{kept}");
    }
    let error = change(mark(), r#"{"gone": {"by": "me"}}"#).unwrap_err();
    assert_eq!(error.class(), "MappingError.Kind");
    let number = || json!({"pointer": "/state", "equals": 9});
    assert_eq!(change(number(), r#"{"state": 9}"#), deleted("a"));
    assert!(is_kept(change(number(), r#"{"text": "", "state": 1}"#)));
    let present = || json!({"pointer": "/deleted_at", "present": true});
    assert_eq!(change(present(), r#"{"deleted_at": 1700000000}"#), deleted("a"));
    assert!(is_kept(change(present(), r#"{"text": "", "deleted_at": null}"#)));
    let in_header = json!({
        "format": "json", "text": "/text",
        "deleted": {"pointer": "header:op", "equals": "delete"},
    });
    let record = record(Some("a"), Some("{}"), &[("op", "delete")]);
    assert_eq!(mapping(in_header).change(&record), deleted("a"));
}

#[test]
fn refusals_name_the_place_and_what_is_there() {
    let decoder = mapping(page_spec());
    let check = |value: Value, class: &str, message: &str| {
        let (found_class, found) = refused(&decoder, &record(None, Some(&value.to_string()), &[]));
        assert_eq!((found_class.as_str(), found.as_str()), (class, message), "{value}");
    };
    let base: Value = serde_json::from_str(PAGE).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = base.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    check(
        with("/page", json!({})),
        "MappingError.Missing",
        "`id`: nothing at /page/slug: /page is an object without \"slug\"",
    );
    check(
        with("/content", json!("secret")),
        "MappingError.Missing",
        "`text`: nothing at /content/markdown: /content is a string",
    );
    check(
        with("/content/markdown", json!({"secret": 1})),
        "MappingError.Kind",
        "`text`: /content/markdown is an object, expected a string, a number, true or false",
    );
    check(
        with("/content/heading", json!(["secret"])),
        "MappingError.Kind",
        "`title`: /content/heading is a list, expected a string, a number, true or false",
    );
    check(
        with("/changed", json!("secret")),
        "MappingError.Time",
        "`updated_at`: /changed is no RFC 3339 time with offset (mapping.updated_at_format)",
    );
    check(
        with("/labels", json!("secret")),
        "MappingError.Kind",
        "`metadata_object`: /labels is a string, expected an object",
    );
    check(
        with("/labels", json!({"nested": {"secret": 1}})),
        "DecodeError.Field",
        "`metadata.nested` is an object, expected a string, a number, true, false or a list of \
         strings",
    );
    check(
        with("/page/locale", json!({"secret": 1})),
        "DecodeError.Field",
        "`metadata.lang` is an object, expected a string, a number, true, false or a list of \
         strings",
    );
    check(
        with("/content/heading", json!("x".repeat(5000))),
        "DecodeError.Field",
        "`title` has 5000 bytes, the limit is 4096",
    );
    check(
        with("/page/slug", json!("a\nb")),
        "DecodeError.Id",
        "document id holds the control character U+000A at byte 1",
    );
    let (class, _) = refused(&decoder, &record(None, Some("{\"page\""), &[]));
    assert_eq!(class, "DecodeError.Json");
    let large = format!("\"{}\"", "x".repeat(LIMIT));
    let (class, _) = refused(&decoder, &record(None, Some(&large), &[]));
    assert_eq!(class, "DecodeError.TooLarge");
}

#[test]
fn a_content_type_may_stand_in_the_record() {
    let decoder = mapping(json!({"format": "json", "text": "/text", "content_type": "/mime"}));
    let of = |mime: Value| {
        let value = json!({"text": "", "mime": mime}).to_string();
        decoder.change(&record(Some("a"), Some(&value), &[])).map(|change| match change {
            Change::Upsert(document) => document.content_type,
            Change::Delete(_) => panic!("no deletion"),
        })
    };
    assert_eq!(of(json!("Text/HTML; charset=utf-8")), Ok(ContentType::Html));
    assert_eq!(of(json!(null)), Ok(ContentType::Plain));
    let error = of(json!("a secret text that stands in a wrong place")).unwrap_err().to_string();
    assert_eq!(error, "`content_type`: /mime is none of text/plain, text/markdown and text/html");
}

#[test]
fn what_no_document_has_can_be_named() {
    let spec: MappingSpec = serde_json::from_value(json!({
        "format": "json", "text": "/text", "title": "/titel", "version": "/v",
        "updated_at": "/when", "metadata_object": "/labels", "metadata": {"lang": "/lang"},
    }))
    .unwrap();
    let mapping = Mapping::new(&spec).unwrap();
    let absent = |value: &str| {
        mapping.absent(&document(&mapping.decoder(LIMIT), &record(Some("a"), Some(value), &[])))
    };
    assert_eq!(
        absent(r#"{"text": "", "v": 1, "lang": "en"}"#),
        ["title = /titel", "metadata_object = /labels", "updated_at = /when"]
    );
    let complete = r#"{"text": "", "titel": "T", "v": 1, "labels": {"a": 1}, "lang": "en",
        "when": "2026-05-01T12:00:00Z"}"#;
    assert_eq!(absent(complete), [""; 0]);
}
