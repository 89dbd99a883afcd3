//! Any bytes and any JSON: no panic, and nothing of a text in a message.

use proptest::prelude::*;

use super::*;

/// Mappings of every format, in which places that are there and places that are not take turns.
fn decoders() -> Vec<MappingDecoder> {
    let fields = || {
        json!({
            "title": "/title", "url": "/a/0", "version": "/version", "updated_at": "/time",
            "updated_at_format": "milliseconds", "metadata_object": "/labels",
            "metadata": {"a": "/a", "key": "key:/id", "header": "header:h"},
            "deleted": {"pointer": "/gone", "equals": true},
        })
    };
    let with = |more: Value| {
        let mut spec = fields();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mapping(spec)
    };
    vec![
        mapping(json!({})),
        with(json!({"format": "json", "id": "/id", "text": ["/text", "/title"]})),
        with(json!({"format": "json", "key_id": "/id", "template": "{/title}{{}}{/text}{key:}"})),
        with(json!({"format": "debezium", "text": "/text"})),
        with(json!({"format": "debezium", "id": "/id", "tenant": "/id", "text": "/text"})),
        with(json!({"format": "cloudevents", "text": "/text", "content_type": "/title",
            "deleted_types": ["*x"]})),
        mapping(json!({"format": "cloudevents", "id": "ce:id", "text": ""})),
        mapping(json!({"format": "html", "title": "header:h", "key_id": "/id"})),
    ]
}

/// JSON in which the names that the mappings look for are common.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["c", "d", "1.0", "__debezium_unavailable_value", "x\u{0}", ""])
            .prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "id",
        "text",
        "title",
        "a",
        "labels",
        "time",
        "gone",
        "op",
        "before",
        "after",
        "source",
        "ts_ms",
        "schema",
        "payload",
        "specversion",
        "data",
        "data_base64",
        "datacontenttype",
        "subject",
        "type",
        "version",
    ]);
    scalar.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..7)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_headers() -> impl Strategy<Value = Vec<Header>> {
    let name = prop::sample::select(vec![
        "content-type",
        "ce_specversion",
        "ce_id",
        "ce_subject",
        "ce_time",
        "h",
        "livedex-tenant",
    ]);
    let value = prop_oneof![
        Just(b"1.0".to_vec()),
        Just(b"application/cloudevents+json".to_vec()),
        Just(b"text/html".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec((name.prop_map(str::to_owned), prop::option::of(value)), 0..4)
}

fn decode_all(key: Option<Vec<u8>>, value: Option<Vec<u8>>, headers: Vec<Header>) {
    let mut record = record(None, None, &[]);
    (record.key, record.value, record.headers) = (key, value, headers);
    for decoder in decoders() {
        match decoder.change(&record) {
            // What is decoded is a document that document.v1 could say, too.
            Ok(Change::Upsert(document)) => {
                let outgoing = crate::document::encode(&document);
                let mut again = record.clone();
                (again.key, again.value, again.headers) =
                    (Some(outgoing.key), outgoing.value, outgoing.headers);
                let native = crate::document::NativeDecoder::new(usize::MAX);
                assert_eq!(native.change(&again), Ok(Change::Upsert(document)));
            }
            Ok(Change::Delete(_)) => {}
            Err(error) => assert!(!error.to_string().is_empty() && !error.class().is_empty()),
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        value in prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[\\[\\]{}\":,a-z0-9\\\\. ]{0,60}".prop_map(String::into_bytes),
        ]),
        headers in any_headers(),
    ) {
        decode_all(key, value, headers);
    }

    #[test]
    fn no_json_makes_it_panic(
        key in prop::option::of(any_json()),
        value in any_json(),
        headers in any_headers(),
    ) {
        let bytes = |json: Value| json.to_string().into_bytes();
        decode_all(key.map(bytes), Some(bytes(value)), headers);
    }

    /// Wherever a text stands by mistake, no message says it.
    #[test]
    fn no_message_quotes_a_value(place in 0..16_usize, wraps in 0..3_usize) {
        const SECRET: &str = "the secret sauce";
        let names = [
            "id", "text", "title", "a", "labels", "time", "gone", "op", "before", "after", "source",
            "schema", "payload", "data", "version", "type",
        ];
        let secret = match wraps {
            0 => json!(SECRET),
            1 => json!([SECRET]),
            _ => json!({SECRET: SECRET}),
        };
        let row = || json!({"id": "1", "text": "t", "title": "t", "labels": {}, "version": 1});
        let mut value = row();
        value[names[place]] = secret.clone();
        let mut envelope = json!({"op": "c", "before": null, "after": row(), "source": {}});
        envelope[names[place]] = secret.clone();
        let mut event = json!({"specversion": "1.0", "id": "1", "data": value.clone()});
        event[names[place]] = secret;
        for value in [json!({"op": "u", "after": value.clone()}), value, envelope, event] {
            let value = value.to_string();
            let record = record(Some(r#"{"id": "1"}"#), Some(&value), &[]);
            for decoder in decoders().into_iter().skip(1) {
                if let Err(error) = decoder.change(&record) {
                    // A name in an object of metadata is no text.
                    let message = error.to_string().replace(&format!("metadata.{SECRET}"), "");
                    prop_assert!(!message.contains("secret"), "{value}: {message}");
                }
            }
        }
    }
}
