//! The examples of the Kafka protocol binding and of the JSON event format, with documents in them.

use super::*;

/// The attributes of the binding's example in binary mode.
const BINARY: [(&str, &str); 5] = [
    ("ce_specversion", "1.0"),
    ("ce_type", "com.example.someevent"),
    ("ce_source", "/mycontext/subcontext"),
    ("ce_id", "1234-1234-1234"),
    ("ce_time", "2018-04-05T03:56:24Z"),
];

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=UTF-8");

/// The binding's example in structured mode, with this much more.
fn structured(more: Value) -> String {
    let mut event = json!({
        "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext/subcontext",
        "id": "1234-1234-1234", "time": "2018-04-05T03:56:24Z",
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event.to_string()
}

fn binary<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&BINARY[..], more].concat()
}

fn pages() -> MappingDecoder {
    mapping(json!({
        "format": "cloudevents", "text": "/body", "title": "/title",
        "metadata": {"source": "ce:source", "kind": "ce:type", "ext": "ce:comexampleothervalue"},
        "deleted_types": ["com.example.page.removed", "*.deleted"],
    }))
}

fn page(ext: MetadataValue) -> Document {
    let metadata = [
        ("source", string("/mycontext/subcontext")),
        ("kind", string("com.example.someevent")),
        ("ext", ext),
    ];
    Document {
        title: Some("T".to_owned()),
        metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        updated_at_ms: Some(1_522_900_584_000),
        ..plain("larger-context", "B")
    }
}

#[test]
fn both_modes_say_the_same() {
    let decoder = pages();
    let data = json!({"title": "T", "body": "B"});
    let event = structured(json!({
        "subject": "larger-context", "comexampleothervalue": 5, "datacontenttype": "application/json",
        "data": data,
    }));
    let expected = page(MetadataValue::Int(5));
    assert_eq!(document(&decoder, &record(None, Some(&event), &[STRUCTURED])), expected);
    // Believed by its specversion, too.
    assert_eq!(document(&decoder, &record(None, Some(&event), &[])), expected);

    for content_type in ["application/json", "application/vnd.example+json; charset=utf-8"] {
        let headers = binary(&[
            ("ce_subject", "larger-context"),
            ("ce_comexampleothervalue", "5"),
            ("content-type", content_type),
        ]);
        let found = document(&decoder, &record(None, Some(&data.to_string()), &headers));
        assert_eq!(found, page(string("5")));
    }
    // Structured events may repeat their attributes as headers.
    let headers = binary(&[("ce_subject", "other"), STRUCTURED]);
    assert_eq!(document(&decoder, &record(None, Some(&event), &headers)), expected);
}

#[test]
fn data_in_base64_is_what_it_says() {
    let decoder = pages();
    let event = |content_type: &str, base64: Value| {
        structured(json!({
            "subject": "larger-context", "comexampleothervalue": 5,
            "datacontenttype": content_type, "data_base64": base64,
        }))
    };
    // {"title": "T", "body": "B"}
    let json = json!("eyJ0aXRsZSI6ICJUIiwgImJvZHkiOiAiQiJ9");
    let found = document(&decoder, &record(None, Some(&event("application/json", json)), &[]));
    assert_eq!(found, page(MetadataValue::Int(5)));
    let decoder = mapping(json!({"format": "cloudevents", "text": ""}));
    let found = document(
        &decoder,
        &record(None, Some(&event("text/markdown; charset=utf-8", json!("IyBU"))), &[]),
    );
    assert_eq!((found.text.as_str(), found.content_type), ("# T", ContentType::Markdown));
    let check = |content_type: &str, base64: Value, words: &str| {
        let value = event(content_type, base64);
        let (class, message) = refused(&decoder, &record(None, Some(&value), &[]));
        assert_eq!(class, "MappingError.CloudEvent");
        assert!(message.contains(words), "{message}");
    };
    check("text/plain", json!("!"), "not a string of Base64");
    check("text/plain", json!(5), "not a string of Base64");
    check("application/vnd.apache.thrift.binary", json!("/w=="), "thrift.binary, which is neither");
}

#[test]
fn data_that_is_text_is_the_text() {
    let decoder = mapping(json!({"format": "cloudevents", "text": "", "title": "ce:title"}));
    let headers = binary(&[
        ("ce_subject", "a.html"),
        ("ce_title", "T"),
        ("content-type", "text/html; charset=utf-8"),
    ]);
    let found = document(&decoder, &record(None, Some("<p>Hello"), &headers));
    assert_eq!(found.content_type, ContentType::Html);
    assert_eq!((found.text.as_str(), found.title.as_deref()), ("<p>Hello", Some("T")));
    // JSON that is a string, as the format's last example has it.
    let event = structured(json!({"subject": null, "data": "I'm just a string"}));
    let found = document(&decoder, &record(Some("d"), Some(&event), &[]));
    assert_eq!((found.key.id.as_str(), found.text.as_str()), ("d", "I'm just a string"));
    assert_eq!(found.content_type, ContentType::Plain);
    // XML is text that is none of ours.
    let event =
        structured(json!({"datacontenttype": "application/xml", "data": "<much wow=\"xml\"/>"}));
    let found = document(&decoder, &record(Some("b"), Some(&event), &[]));
    assert_eq!(
        (found.text.as_str(), found.content_type),
        ("<much wow=\"xml\"/>", ContentType::Plain)
    );
}

#[test]
fn the_subject_is_the_id_or_else_the_key() {
    let id = |decoder: &MappingDecoder, key: Option<&str>, more: Value| {
        let mut event = json!({"data": {"body": "B"}});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let change = decoder.change(&record(key, Some(&structured(event)), &[]));
        change.map(|change| change.key().id.to_string())
    };
    let decoder = pages();
    let subject = || json!({"subject": "a"});
    assert_eq!(id(&decoder, None, subject()).unwrap(), "a");
    assert_eq!(id(&decoder, Some("a"), subject()).unwrap(), "a");
    assert_eq!(id(&decoder, Some("k"), json!({})).unwrap(), "k");
    // A tombstone for `k` would not delete `a`: the mapping must say which one counts.
    let error = id(&decoder, Some("k"), subject()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`id`: ce:subject and the record's key (\"k\") differ: they must agree, or a tombstone \
         could not delete the document"
    );
    let by_subject = mapping(json!({"format": "cloudevents", "id": "ce:subject", "text": "/body"}));
    assert_eq!(id(&by_subject, Some("k"), subject()).unwrap(), "a");
    let error = id(&by_subject, Some("k"), json!({})).unwrap_err();
    assert!(error.to_string().contains("no such attribute"), "{error}");
    let by_id = mapping(json!({"format": "cloudevents", "id": "/doc/id", "text": "/body"}));
    assert_eq!(id(&by_id, None, json!({"data": {"doc": {"id": 7}, "body": ""}})).unwrap(), "7");
}

#[test]
fn deletions_are_types_marks_and_null_values() {
    let decoder = pages();
    for name in ["com.example.page.removed", "com.example.deleted"] {
        let event = structured(json!({"type": name, "subject": "a"}));
        assert_eq!(decoder.change(&record(None, Some(&event), &[STRUCTURED])), deleted("a"));
    }
    for name in ["com.example.page.removed.v2", "deleted"] {
        let event = structured(json!({"type": name, "subject": "a", "data": {"body": ""}}));
        assert!(matches!(decoder.change(&record(None, Some(&event), &[])), Ok(Change::Upsert(_))));
    }
    // In binary mode an event without data is a tombstone.
    let headers = binary(&[("ce_subject", "a")]);
    assert_eq!(decoder.change(&record(None, None, &headers)), deleted("a"));
    assert_eq!(decoder.change(&record(Some("k"), None, &[])), deleted("k"));
    assert_eq!(refused(&decoder, &record(None, None, &[])).0, "DecodeError.Key");
    // In structured mode it is a document that has no text.
    let (class, message) = refused(&decoder, &record(Some("a"), Some(&structured(json!({}))), &[]));
    assert_eq!(class, "MappingError.Missing");
    assert_eq!(message, "`text`: nothing at /body: the event's data is null");
}

#[test]
fn what_is_no_event_is_refused() {
    let decoder = pages();
    let check = |value: &str, headers: &[(&str, &str)], words: &str| {
        let (class, message) = refused(&decoder, &record(Some("a"), Some(value), headers));
        assert_eq!(class, "MappingError.CloudEvent");
        assert!(message.contains(words) && !message.contains("secret"), "{message}");
    };
    check(r#"{"body": "secret"}"#, &[], "no CloudEvent: neither");
    check("secret", &[("content-type", "text/plain")], "no CloudEvent: neither");
    check("[]", &[STRUCTURED], "the value is a list");
    check("{}", &[STRUCTURED], "specversion is not there");
    let old = structured(json!({"specversion": "0.3"}));
    check(&old, &[], "specversion is 0.3; 1.0 is read");
    check("secret", &[("ce_specversion", "0.2")], "specversion is 0.2");
    let avro = [("content-type", "Application/CloudEvents+Avro")];
    check("secret", &avro, "is application/cloudevents+avro");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    check("[]", &batch, "is application/cloudevents-batch+json");
    let (class, _) = refused(&decoder, &record(Some("a"), Some("{secret"), &[STRUCTURED]));
    assert_eq!(class, "DecodeError.Json");
    // Without a content type data counts as JSON.
    let headers = binary(&[("ce_subject", "a")]);
    let (class, message) = refused(&decoder, &record(None, Some("secret"), &headers));
    assert!(class == "DecodeError.Json" && !message.contains("secret"), "{message}");
}

#[test]
fn a_time_that_is_none_is_refused() {
    let event = structured(json!({"time": "secret", "data": {"body": ""}}));
    let (class, message) = refused(&pages(), &record(Some("a"), Some(&event), &[]));
    assert!(class == "MappingError.Time" && !message.contains("secret"), "{message}");
}
