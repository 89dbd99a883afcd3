//! The value as the text.

use super::*;

#[test]
fn the_value_is_the_text_and_the_key_its_id() {
    for (format, content_type) in [
        ("text", ContentType::Plain),
        ("markdown", ContentType::Markdown),
        ("html", ContentType::Html),
    ] {
        let decoder = mapping(json!({"format": format}));
        let found = document(&decoder, &record(Some("guide.md"), Some("# Guide\n\n{/a} ä"), &[]));
        assert_eq!(found, Document { content_type, ..plain("guide.md", "# Guide\n\n{/a} ä") });
        assert_eq!(decoder.change(&record(Some("guide.md"), None, &[])), deleted("guide.md"));
    }
    let decoder = mapping(json!({"format": "text"}));
    assert_eq!(document(&decoder, &record(Some("a"), Some(""), &[])), plain("a", ""));
    assert_eq!(refused(&decoder, &record(None, Some("x"), &[])).0, "MappingError.Key");
    let mut broken = record(Some("a"), None, &[]);
    broken.value = Some(b"ok \xff secret".to_vec());
    assert_eq!(
        refused(&decoder, &broken),
        ("MappingError.NotUtf8".to_owned(), "the text is not UTF-8 (at byte 3 of 11)".to_owned())
    );
}

#[test]
fn headers_and_the_key_say_the_rest() {
    let decoder = mapping(json!({
        "format": "markdown",
        "key_id": "/path",
        "tenant": "key:/space",
        "title": "header:title",
        "updated_at": "header:mtime",
        "updated_at_format": "seconds",
        "metadata": {"lang": "header:lang", "space": "key:/space"},
        "deleted": {"pointer": "header:gone", "present": true},
    }));
    let key = r#"{"space": "ops", "path": "run.md"}"#;
    let headers = [("title", "Runbook"), ("mtime", "1777636800"), ("lang", "de")];
    let expected = Document {
        key: key_of("ops", "run.md"),
        title: Some("Runbook".to_owned()),
        content_type: ContentType::Markdown,
        updated_at_ms: Some(1_777_636_800_000),
        metadata: [("lang".to_owned(), string("de")), ("space".to_owned(), string("ops"))].into(),
        ..plain("x", "# Run")
    };
    assert_eq!(document(&decoder, &record(Some(key), Some("# Run"), &headers)), expected);
    let gone = Ok(Change::Delete(key_of("ops", "run.md")));
    assert_eq!(decoder.change(&record(Some(key), Some("# Run"), &[("gone", "1")])), gone);
    assert_eq!(decoder.change(&record(Some(key), None, &[])), gone);
}
