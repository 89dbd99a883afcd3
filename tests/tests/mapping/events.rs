//! A table of articles as Debezium writes it: PostgreSQL, replica identity as it is by default.

use livedex_core::record::Header;
use serde_json::{Value, json};

/// The mapping that reads it.
pub(crate) const MAPPING: &str = "\
[mapping]
format = \"debezium\"
template = \"# {/title}\\n\\n{/body}\"
content_type = \"text/markdown\"
title = \"/title\"
[mapping.metadata]
lang = \"/lang\"
";

/// A record to publish: key, value, headers.
pub(crate) type Record = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>);

/// One operation on a row, with the schema around it that Kafka Connect writes by default.
pub(crate) fn event(op: &str, id: u32, title: &str, body: &str) -> Record {
    let row = json!({"id": id, "title": title, "body": body, "lang": "en"});
    let key_only = json!({"id": id, "title": null, "body": null, "lang": null});
    let (before, after) = match op {
        "c" | "r" => (Value::Null, row),
        "d" => (key_only, Value::Null),
        _ => (key_only, row),
    };
    let payload = json!({
        "before": before,
        "after": after,
        "source": {
            "version": "3.4.0.Final", "connector": "postgresql", "name": "cms",
            "ts_ms": 1_777_636_800_000_i64, "snapshot": "false", "db": "cms", "schema": "public",
            "table": "articles", "txId": 555, "lsn": 24_023_128, "xmin": null,
        },
        "op": op,
        "ts_ms": 1_777_636_800_123_i64,
        "transaction": null,
    });
    let schema =
        json!({"type": "struct", "optional": false, "name": "cms.public.articles.Envelope"});
    let value = json!({"schema": schema, "payload": payload});
    (Some(key(id)), Some(value.to_string().into_bytes()), Vec::new())
}

/// What follows a deletion.
pub(crate) fn tombstone(id: u32) -> Record {
    (Some(key(id)), None, Vec::new())
}

/// The whole table at once; such an event has no key.
pub(crate) fn truncate() -> Record {
    let value = json!({"source": {"table": "articles"}, "op": "t", "ts_ms": 1_777_636_800_123_i64});
    (None, Some(value.to_string().into_bytes()), Vec::new())
}

fn key(id: u32) -> Vec<u8> {
    let field = json!({"type": "int32", "optional": false, "field": "id"});
    let schema = json!({"type": "struct", "fields": [field], "name": "cms.public.articles.Key"});
    json!({"schema": schema, "payload": {"id": id}}).to_string().into_bytes()
}
