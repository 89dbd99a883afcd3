//! Change events in the shape that Debezium's documentation prints for PostgreSQL and MySQL.

use super::*;

/// The key of a PostgreSQL row, with its schema.
const KEY: &str = r#"{
    "schema": {
        "type": "struct",
        "name": "cms.public.articles.Key",
        "optional": false,
        "fields": [{"name": "id", "index": "0", "schema": {"type": "INT32", "optional": "false"}}]
    },
    "payload": {"id": 1004}
}"#;

fn postgres_source() -> Value {
    json!({
        "version": "3.4.0.Final", "connector": "postgresql", "name": "cms",
        "ts_ms": 1559033904863_i64, "ts_us": 1559033904863769_i64,
        "ts_ns": 1559033904863769000_i64, "snapshot": false, "db": "cms",
        "sequence": "[\"24023119\",\"24023128\"]", "schema": "public", "table": "articles",
        "txId": 556, "lsn": 24023128, "xmin": null,
    })
}

/// An event's payload.
fn event(op: &str, before: Value, after: Value) -> Value {
    json!({
        "before": before, "after": after, "source": postgres_source(), "op": op,
        "ts_ms": 1559033904961_i64, "ts_us": 1559033904961654_i64,
        "ts_ns": 1559033904961654789_i64,
    })
}

/// The envelope that `schemas.enable` puts around it, with the beginning of its schema.
fn with_schema(payload: &Value) -> Value {
    let field = json!({"type": "string", "optional": false, "field": "op"});
    let name = "cms.public.articles.Envelope";
    json!({
        "schema": {"type": "struct", "fields": [field], "optional": false, "name": name},
        "payload": payload,
    })
}

fn article() -> Value {
    json!({
        "id": 1004, "title": "Refunds", "body": "Ask us within 30 days.", "lang": "en",
        "labels": "{\"team\": \"billing\", \"tags\": [\"money\"]}", "published": true,
    })
}

fn spec() -> Value {
    json!({
        "format": "debezium", "text": "/body", "title": "/title",
        "metadata_object": "/labels", "metadata": {"lang": "/lang", "published": "/published"},
    })
}

fn expected() -> Document {
    let metadata = [
        ("lang", string("en")),
        ("published", MetadataValue::Bool(true)),
        ("tags", strings(&["money"])),
        ("team", string("billing")),
    ];
    Document {
        title: Some("Refunds".to_owned()),
        metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        updated_at_ms: Some(1_559_033_904_863),
        ..plain("1004", "Ask us within 30 days.")
    }
}

#[test]
fn rows_that_are_created_updated_or_snapshotted_are_documents() {
    let decoder = mapping(spec());
    for op in ["c", "u", "r"] {
        let before = if op == "u" { json!({"id": 1004}) } else { Value::Null };
        let payload = event(op, before, article());
        for (key, value) in [(KEY, with_schema(&payload)), (r#"{"id": 1004}"#, payload.clone())] {
            let found = document(&decoder, &record(Some(key), Some(&value.to_string()), &[]));
            assert_eq!(found, expected(), "{op}");
        }
    }
}

#[test]
fn a_deletion_and_its_tombstone_delete_the_same_document() {
    // By the key, by a column, and by a column of a key that has others.
    let specs = [
        (spec(), KEY.to_owned()),
        (
            {
                let mut spec = spec();
                spec["id"] = json!("/id");
                spec
            },
            KEY.to_owned(),
        ),
        (
            {
                let mut spec = spec();
                spec["key_id"] = json!("/id");
                spec
            },
            r#"{"id": 1004, "shard": 3}"#.to_owned(),
        ),
    ];
    // PostgreSQL sends the key's columns of the row, with its replica identity full the whole
    // row; some connectors send nothing.
    let befores = [json!({"id": 1004, "title": null, "body": null}), article(), Value::Null];
    for (spec, key) in specs {
        let decoder = mapping(spec);
        for before in &befores {
            let payload = event("d", before.clone(), Value::Null);
            for value in [with_schema(&payload), payload] {
                let deletion = record(Some(&key), Some(&value.to_string()), &[]);
                assert_eq!(decoder.change(&deletion), deleted("1004"), "{before}");
            }
        }
        assert_eq!(decoder.change(&record(Some(&key), None, &[])), deleted("1004"));
        // As older converters write a tombstone.
        let null = r#"{"schema": null, "payload": null}"#;
        assert_eq!(decoder.change(&record(Some(&key), Some(null), &[])), deleted("1004"));
    }
}

#[test]
fn mysql_rows_are_documents() {
    let value = json!({
        "schema": {"type": "struct"},
        "payload": {
            "op": "u", "ts_ms": 1465581029523_i64,
            "before": {"id": 1004, "title": "Refund", "body": "x", "changed": 1465491461815_i64},
            "after": {"id": 1004, "title": "Refunds", "body": "y", "changed": 1465581029123_i64},
            "source": {
                "version": "3.4.0.Final", "connector": "mysql", "name": "mysql-server-1",
                "ts_ms": 1465581029000_i64, "snapshot": "false", "db": "inventory",
                "sequence": null, "table": "articles", "server_id": 223344, "gtid": null,
                "file": "mysql-bin.000003", "pos": 484, "row": 0, "thread": 7, "query": null,
            },
        },
    });
    let decoder = mapping(json!({
        "format": "debezium", "id": "/id", "template": "{/title}: {/body}",
        "updated_at": "/changed", "updated_at_format": "milliseconds",
    }));
    let found = document(&decoder, &record(Some(KEY), Some(&value.to_string()), &[]));
    assert_eq!(
        found,
        Document { updated_at_ms: Some(1_465_581_029_123), ..plain("1004", "Refunds: y") }
    );
    // Rows of a snapshot may have no time of their own.
    let mut snapshot = value["payload"].clone();
    snapshot["op"] = json!("r");
    snapshot["source"]["ts_ms"] = json!(0);
    let decoder = mapping(json!({"format": "debezium", "text": "/body"}));
    let found = document(&decoder, &record(Some(KEY), Some(&snapshot.to_string()), &[]));
    assert_eq!(found.updated_at_ms, Some(1_465_581_029_523));
}

#[test]
fn documents_of_mongodb_are_json_in_a_string() {
    let row = json!({"_id": {"$oid": "5d50"}, "title": "T", "body": "B"}).to_string();
    let decoder = mapping(json!({"format": "debezium", "text": "/body", "title": "/title"}));
    let key = r#"{"id": "{\"$oid\": \"5d50\"}"}"#;
    let value = event("c", Value::Null, json!(row)).to_string();
    let found = document(&decoder, &record(Some(key), Some(&value), &[]));
    let id = r#"{"$oid": "5d50"}"#;
    assert_eq!((found.key.id.as_str(), found.text.as_str()), (id, "B"));
    assert_eq!(decoder.change(&record(Some(key), None, &[])), deleted(id));
}

#[test]
fn a_key_of_several_columns_is_its_json_in_the_order_of_names() {
    let decoder = mapping(json!({"format": "debezium", "text": "/body"}));
    let id =
        |key: &str| decoder.change(&record(Some(key), None, &[])).unwrap().key().id.to_string();
    assert_eq!(id(r#"{"shop": "a/\"b", "number": 7}"#), r#"{"number":7,"shop":"a/\"b"}"#);
    assert_eq!(id(r#"{"number": 7, "shop": "a/\"b"}"#), r#"{"number":7,"shop":"a/\"b"}"#);
    // Keys that a transformation or another converter made.
    assert_eq!(id("1004"), "1004");
    assert_eq!(id("\"docs/a.md\""), "docs/a.md");
    assert_eq!(id("docs/a.md"), "docs/a.md");
    assert_eq!(id("Struct{id=1004}"), "Struct{id=1004}");
    for key in [r#"{"id": {"nested": 1}}"#, r#"{"a": [1], "b": 2}"#, r#"{"id": 1.5}"#, "[1]"] {
        assert_eq!(
            refused(&decoder, &record(Some(key), None, &[])).0,
            "MappingError.Kind",
            "{key}"
        );
    }
    for key in [r#"{"id": null}"#, "{}", "null"] {
        let class = refused(&decoder, &record(Some(key), None, &[])).0;
        assert!(class.starts_with("MappingError."), "{key}: {class}");
    }
}

#[test]
fn an_id_that_the_key_lacks_is_refused_before_it_is_stored() {
    let mut spec = spec();
    spec["id"] = json!("/title");
    let value = event("c", Value::Null, article()).to_string();
    let (class, message) = refused(&mapping(spec.clone()), &record(Some(KEY), Some(&value), &[]));
    assert_eq!(class, "MappingError.Missing");
    assert_eq!(
        message,
        "`id`: nothing at key:/title: the record's key is an object without \"title\""
    );
    // A table without a primary key has no keys and no tombstones.
    let decoder = mapping(spec);
    let keyless = |value: &str| decoder.change(&record(None, Some(value), &[]));
    assert_eq!(keyless(&value).unwrap().key(), &key_of("", "Refunds"));
    let deletion = event("d", article(), Value::Null).to_string();
    assert_eq!(keyless(&deletion), deleted("Refunds"));
    let nothing = event("d", Value::Null, Value::Null).to_string();
    assert!(matches!(keyless(&nothing), Err(MappingError::Tombstone { field: "id", .. })));
}

#[test]
fn a_tenant_is_a_column_of_the_key() {
    let mut spec = spec();
    spec["id"] = json!("/id");
    spec["tenant"] = json!("/org");
    let decoder = mapping(spec);
    let key = r#"{"id": 1004, "org": "acme"}"#;
    let mut row = article();
    row["org"] = json!("acme");
    let value = event("c", Value::Null, row.clone()).to_string();
    let upsert = decoder.change(&record(Some(key), Some(&value), &[])).unwrap();
    assert_eq!(upsert.key(), &key_of("acme", "1004"));
    let deletion = event("d", json!({"id": 1004}), Value::Null).to_string();
    for value in [Some(deletion.as_str()), None] {
        let change = decoder.change(&record(Some(key), value, &[]));
        assert_eq!(change, Ok(Change::Delete(key_of("acme", "1004"))));
    }
    // Where the key has no tenant, no tombstone could delete it.
    let error = decoder.change(&record(Some(KEY), Some(&value), &[])).unwrap_err();
    assert!(error.to_string().contains("nothing at key:/org"), "{error}");
}

#[test]
fn events_of_no_row_are_refused_with_their_reason() {
    let decoder = mapping(spec());
    let check = |value: Value, words: &str| {
        let (class, message) = refused(&decoder, &record(Some(KEY), Some(&value.to_string()), &[]));
        assert_eq!(class, "MappingError.Debezium");
        assert!(message.contains(words) && !message.contains("secret"), "{message}");
    };
    let mut truncate = json!({"source": postgres_source(), "op": "t", "ts_ms": 1559033904961_i64});
    check(truncate.clone(), "the table was truncated");
    check(with_schema(&truncate), "the table was truncated");
    truncate["op"] = json!("m");
    truncate["message"] = json!({"prefix": "secret", "content": "Ymfy"});
    check(truncate, "a logical decoding message");
    check(event("x", Value::Null, article()), "unknown operation x");
    check(event(&"secret".repeat(9), Value::Null, article()), "operation of 54 bytes");
    check(event("u", Value::Null, Value::Null), "(op u) has no row: \"after\" is null");
    check(event("u", Value::Null, json!(["secret"])), "\"after\" is a list");
    check(article(), "an object without \"op\"");
    check(json!({"schema": {}, "payload": article()}), "an object without \"op\"");
    check(json!({"op": 1}), "\"op\" is a whole number");
    check(json!(["secret"]), "the value is a list");
}

#[test]
fn a_value_that_was_not_sent_never_becomes_the_text() {
    let decoder = mapping(spec());
    for (column, field) in [("body", "text"), ("title", "title"), ("lang", "metadata.lang")] {
        let mut row = article();
        row[column] = json!("__debezium_unavailable_value");
        let value = event("u", json!({"id": 1004}), row).to_string();
        let (class, message) = refused(&decoder, &record(Some(KEY), Some(&value), &[]));
        assert_eq!(class, "MappingError.Unavailable");
        assert!(message.starts_with(&format!("`{field}`: Debezium sent no value for /{column}")));
        assert!(message.contains("REPLICA IDENTITY FULL"), "{message}");
    }
    let mut row = article();
    row["lang"] = json!(["__debezium_unavailable_value"]);
    let value = event("u", Value::Null, row).to_string();
    assert_eq!(
        refused(&decoder, &record(Some(KEY), Some(&value), &[])).0,
        "MappingError.Unavailable"
    );
}

#[test]
fn flattened_rows_are_json_with_a_mark() {
    // ExtractNewRecordState with delete.tombstone.handling.mode = "rewrite".
    let decoder = mapping(json!({
        "format": "json", "key_id": "/id", "text": "/body", "title": "/title",
        "deleted": {"pointer": "/__deleted", "equals": true},
    }));
    let key = r#"{"id": 1004}"#;
    let mut row = article();
    row["__deleted"] = json!("false");
    let found = document(&decoder, &record(Some(key), Some(&row.to_string()), &[]));
    assert_eq!((found.key.id.as_str(), found.text.as_str()), ("1004", "Ask us within 30 days."));
    let gone = json!({"id": 1004, "title": null, "body": null, "__deleted": "true"});
    assert_eq!(decoder.change(&record(Some(key), Some(&gone.to_string()), &[])), deleted("1004"));
    assert_eq!(decoder.change(&record(Some(key), None, &[])), deleted("1004"));
}
