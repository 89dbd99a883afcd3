//! What a mapping may say.

use super::*;

fn problems(spec: Value) -> Vec<(String, String)> {
    let spec: MappingSpec = serde_json::from_value(spec).unwrap();
    let problems = Mapping::new(&spec).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.key, problem.message)).collect()
}

fn keys(spec: Value) -> Vec<String> {
    problems(spec).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn nothing_configured_is_document_v1() {
    assert_eq!(Mapping::new(&MappingSpec::default()), Ok(Mapping::default()));
    let decoder = mapping(json!({}));
    let value = r#"{"text": "x", "title": "T"}"#;
    let expected = Document { title: Some("T".to_owned()), ..plain("a", "x") };
    assert_eq!(document(&decoder, &record(Some("a"), Some(value), &[])), expected);
    let (class, message) = refused(&decoder, &record(Some("a"), Some("{}"), &[]));
    assert_eq!((class.as_str(), message.as_str()), ("DecodeError.Field", "`text` is missing"));
}

#[test]
fn every_mistake_is_named_at_once() {
    let found = keys(json!({
        "format": "json",
        "id": "key:/id",
        "key_id": "id",
        "title": "title",
        "url": "ce:subject",
        "content_type": "text/rtf",
        "updated_at_format": "seconds",
        "metadata": {"lang": "/~", "": "/x"},
        "deleted_types": ["x"],
        "deleted": {"equals": true},
    }));
    assert_eq!(
        found,
        [
            "deleted_types",
            "id",
            "key_id",
            "text",
            "content_type",
            "title",
            "url",
            "updated_at_format",
            "metadata.",
            "metadata.lang",
            "deleted.pointer",
        ]
    );
}

#[test]
fn each_mistake_says_what_to_do() {
    let check = |spec: Value, key: &str, words: &str| {
        let found = problems(spec.clone());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == key && found[0].1.contains(words), "{found:?} {words}");
    };
    let json = |more: Value| {
        let mut spec = json!({"format": "json", "text": "/text"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    check(json!({"format": "json"}), "text", "such as text = \"/body\"");
    check(json(json!({"template": "{/a}"})), "text", "keep one");
    check(json(json!({"text": []})), "text", "empty list");
    check(json(json!({"text": ["/a", "b"]})), "text", "such as /b");
    check(json(json!({"id": "key:/a"})), "id", "write key_id = \"/a\" instead");
    check(json(json!({"title": "ce:subject"})), "title", "only format = \"cloudevents\"");
    check(json(json!({"deleted": {"pointer": "/d"}})), "deleted.equals", "equals = true");
    let both = json!({"deleted": {"pointer": "/d", "equals": 1, "present": true}});
    check(json(both), "deleted.equals", "keep one");
    check(json(json!({"deleted": {"pointer": "/d", "equals": [1]}})), "deleted.equals", "scalar");
    check(
        json!({"format": "json", "template": "{ce:subject}"}),
        "template",
        "names ce:subject, but only",
    );
    check(json!({"format": "json", "template": "x"}), "template", "names no value");
    check(json!({"title": "/t"}), "title", "\"document.v1\" every field has its name");
    check(json!({"format": "text", "text": "/t"}), "text", "the value is the text");
    check(json!({"format": "html", "title": "/t"}), "title", "name a header (header:name)");
    check(json!({"format": "html", "content_type": "text/html"}), "content_type", "remove it");
    let types = json!({"format": "cloudevents", "text": "/t", "deleted_types": ["a", "*"]});
    check(types, "deleted_types", "delete everything");
    let many: serde_json::Map<_, _> = (0..65).map(|i| (format!("k{i}"), json!("/x"))).collect();
    check(json(json!({"metadata": many})), "metadata", "has 65 keys, the limit is 64");
}

#[test]
fn a_mapping_reads_back_as_it_was_written() {
    let spec = json!({
        "format": "debezium", "text": ["/a", "/b"], "updated_at": "/at",
        "updated_at_format": "microseconds", "metadata": {"lang": "/lang"},
        "deleted": {"pointer": "/gone", "equals": true},
    });
    let read: MappingSpec = serde_json::from_value(spec).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(serde_json::from_value::<MappingSpec>(written).unwrap(), read);
    let error = serde_json::from_value::<MappingSpec>(json!({"text": 5})).unwrap_err().to_string();
    assert!(error.contains("is neither a string nor a list of strings"), "{error}");
    assert!(serde_json::from_value::<MappingSpec>(json!({"titel": "/t"})).is_err());
}
