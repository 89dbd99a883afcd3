//! Bytes as the registry's serializers write them, read against a registry that stands in.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use apache_avro::{Schema, types::Value as Avro};
use livedex_core::{
    document::Change,
    ids::{DocumentId, DocumentKey, Tenant},
    lease::Lease,
    ports::{Decoder, Undecoded},
    record::{RawRecord, SourcePosition},
};
use livedex_registry::{
    Authorization, Part, Registry, RegistryConfig, RegistryDecoder, RegistryError,
};
use livedex_testkit::registry::SchemaRegistry;
use livedex_wire::mapping::Encoding;
use prost_reflect::{DescriptorPool, DynamicMessage, prost::Message as _};
use serde_json::{Value, json};

const PAGE: &str = r#"{
  "type": "record", "name": "Page", "namespace": "docs",
  "fields": [
    {"name": "id", "type": "long"},
    {"name": "title", "type": ["null", "string"], "default": null},
    {"name": "body", "type": "string"},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["DRAFT", "LIVE"]}},
    {"name": "changed", "type": {"type": "long", "logicalType": "timestamp-millis"}}
  ]
}"#;

fn connect(registry: &SchemaRegistry) -> Result<Registry> {
    Ok(Registry::new(&RegistryConfig {
        urls: vec![registry.url()],
        authorization: Authorization::None,
        timeout: Duration::from_secs(5),
    })?)
}

/// A zero byte, the schema's number, the payload.
fn framed(id: u32, payload: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], payload].concat()
}

fn page() -> Result<Vec<u8>> {
    let value = Avro::Record(vec![
        ("id".into(), Avro::Long(7)),
        ("title".into(), Avro::Union(1, Box::new(Avro::String("Über".into())))),
        ("body".into(), Avro::String("text".into())),
        ("tags".into(), Avro::Array(vec![Avro::String("a".into()), Avro::String("b".into())])),
        ("state".into(), Avro::Enum(1, "LIVE".into())),
        ("changed".into(), Avro::TimestampMillis(1_700_000_000_000)),
    ]);
    let schema = Schema::parse_str(PAGE)?;
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build()?;
    Ok(writer.write_value_to_vec(value)?)
}

async fn json(registry: &Registry, encoding: Encoding, bytes: &[u8]) -> Result<Value> {
    Ok(serde_json::from_slice(&registry.to_json(Part::Value, encoding, None, bytes).await?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_is_read_by_the_schema_that_it_names() -> Result<()> {
    let server = SchemaRegistry::start()?;
    server.add(3, "AVRO", PAGE, &[]);
    let registry = connect(&server)?;
    let expected = json!({
        "id": 7, "title": "Über", "body": "text", "tags": ["a", "b"], "state": "LIVE",
        "changed": 1_700_000_000_000_i64,
    });
    for _ in 0..3 {
        assert_eq!(json(&registry, Encoding::Avro, &framed(3, &page()?)).await?, expected);
    }
    assert_eq!(server.requests(), 1, "a schema is asked for once");

    // Newer serializers can put it into a header, here as a zero byte and the number.
    let header = [&[0], &3_u32.to_be_bytes()[..]].concat();
    let found = registry.to_json(Part::Value, Encoding::Avro, Some(&header), &page()?).await?;
    assert_eq!(serde_json::from_slice::<Value>(&found)?, expected);
    Ok(())
}

/// From the Avro specification's own examples: "foo" is 06 66 6f 6f, and 27 is 36; no encoder of
/// ours is between.
#[tokio::test(flavor = "multi_thread")]
async fn avro_bytes_of_the_specification() -> Result<()> {
    let server = SchemaRegistry::start()?;
    let schema = r#"{"type": "record", "name": "test", "fields": [
        {"name": "a", "type": "long"}, {"name": "b", "type": "string"}]}"#;
    server.add(1, "AVRO", schema, &[]);
    let registry = connect(&server)?;
    let bytes = framed(1, &[0x36, 0x06, 0x66, 0x6f, 0x6f]);
    assert_eq!(json(&registry, Encoding::Avro, &bytes).await?, json!({"a": 27, "b": "foo"}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_schemas_may_refer_to_others() -> Result<()> {
    let server = SchemaRegistry::start()?;
    let author = r#"{"type": "record", "name": "Author", "namespace": "docs",
        "fields": [{"name": "is", "type": "docs.Name"}]}"#;
    let page = r#"{"type": "record", "name": "Page", "namespace": "docs", "fields": [
        {"name": "body", "type": "string"}, {"name": "author", "type": "docs.Author"},
        {"name": "editor", "type": ["null", "docs.Author"]}]}"#;
    let name = r#"{"type": "record", "name": "Name", "namespace": "docs",
        "fields": [{"name": "name", "type": "string"}]}"#;
    server.add_subject("name-value", 1, "AVRO", name, &[]);
    server.add_subject("author-value", 1, "AVRO", author, &[("docs.Name", "name-value", 1)]);
    // In whatever order the references stand.
    let references = [("docs.Name", "name-value", 1), ("docs.Author", "author-value", 1)];
    server.add(9, "AVRO", page, &references);
    let registry = connect(&server)?;
    let bytes = framed(9, &[4, b'h', b'i', 6, b'A', b'n', b'n', 2, 4, b'B', b'o']);
    let expected =
        json!({"body": "hi", "author": {"is": {"name": "Ann"}}, "editor": {"is": {"name": "Bo"}}});
    assert_eq!(json(&registry, Encoding::Avro, &bytes).await?, expected);
    Ok(())
}

const PROTO: &str = r#"syntax = "proto3";
package docs;
import "author.proto";
import "google/protobuf/timestamp.proto";
message Ignored { string a = 1; }
message Outer {
  message Page {
    int64 page_id = 1;
    string body = 2;
    docs.Author author = 3;
    google.protobuf.Timestamp changed_at = 4;
    repeated string tags = 5;
    bool deleted = 6;
  }
}
"#;
const AUTHOR: &str = r#"syntax = "proto3";
package docs;
message Author { string name = 1; }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_read_by_the_schema_and_the_message_that_it_names() -> Result<()> {
    let server = SchemaRegistry::start()?;
    server.add_subject("author.proto", 2, "PROTOBUF", AUTHOR, &[]);
    server.add(5, "PROTOBUF", PROTO, &[("author.proto", "author.proto", 2)]);
    let registry = connect(&server)?;

    // By the wire format's rules: field 1 varint 7, field 2 "hi", field 3 {1: "Ann"}, field 4
    // {1: 1 s}, field 5 "a".
    let page = [
        &[0x08, 7, 0x12, 2, b'h', b'i', 0x1a, 5, 0x0a, 3, b'A', b'n', b'n'][..],
        &[0x22, 2, 0x08, 1, 0x2a, 1, b'a'],
    ]
    .concat();
    // The second message's first: two indexes, 1 and 0, zigzag.
    let bytes = framed(5, &[&[4, 2, 0], &page[..]].concat());
    let expected = json!({
        "page_id": 7, "body": "hi", "author": {"name": "Ann"},
        "changed_at": "1970-01-01T00:00:01Z", "tags": ["a"], "deleted": false,
    });
    assert_eq!(json(&registry, Encoding::Protobuf, &bytes).await?, expected);
    // The first message has the short index.
    let first = framed(5, &[0, 0x0a, 1, b'x']);
    assert_eq!(json(&registry, Encoding::Protobuf, &first).await?, json!({"a": "x"}));

    let pool = pool()?;
    let message = DynamicMessage::decode(
        pool.get_message_by_name("docs.Outer.Page").unwrap(),
        page.as_slice(),
    )?;
    assert_eq!(message.encode_to_vec(), page, "the bytes above are what an encoder writes");
    Ok(())
}

fn pool() -> Result<DescriptorPool> {
    struct Files;
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name {
                "docs.proto" => protox::file::File::from_source(name, PROTO),
                "author.proto" => protox::file::File::from_source(name, AUTHOR),
                _ => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Files);
    compiler.include_imports(true).open_file("docs.proto")?;
    Ok(compiler.descriptor_pool())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_schema_is_only_unwrapped() -> Result<()> {
    let server = SchemaRegistry::start()?;
    let registry = connect(&server)?;
    let bytes = framed(77, br#"{"a": 1}"#);
    assert_eq!(json(&registry, Encoding::JsonSchema, &bytes).await?, json!({"a": 1}));
    assert_eq!(server.requests(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_record_is_told_from_what_passes() -> Result<()> {
    let server = SchemaRegistry::start()?;
    server.add(3, "AVRO", PAGE, &[]);
    let registry = connect(&server)?;
    let read = async |bytes: &[u8]| {
        registry.to_json(Part::Value, Encoding::Avro, None, bytes).await.unwrap_err()
    };
    assert!(matches!(read(b"{\"a\": 1}").await, RegistryError::NotFramed { bytes: 8, .. }));
    assert!(matches!(read(b"").await, RegistryError::NotFramed { bytes: 0, .. }));
    let unknown = read(&framed(4, &page()?)).await;
    assert!(matches!(&unknown, RegistryError::NoSchema { schema, .. } if schema == "4"));
    let cut = read(&framed(3, &page()?[..4])).await;
    assert!(matches!(cut, RegistryError::Unreadable { .. }), "{cut}");

    // A schema that comes later is found then.
    server.add(4, "AVRO", PAGE, &[]);
    json(&registry, Encoding::Avro, &framed(4, &page()?)).await?;

    // Whatever the registry says but that it has no such schema passes.
    server.add(6, "AVRO", PAGE, &[]);
    for status in [401, 403, 429, 500, 502, 503] {
        server.fail(status);
        let away = read(&framed(6, &page()?)).await;
        assert!(matches!(away, RegistryError::Away(_)), "{status}: {away}");
    }
    server.fail(0);
    json(&registry, Encoding::Avro, &framed(6, &page()?)).await?;
    server.add(8, "AVRO", PAGE, &[]);
    drop(server);
    let away = read(&framed(8, &page()?)).await;
    assert!(matches!(away, RegistryError::Away(_)), "{away}");
    Ok(())
}

/// What the decoder behind sees.
struct Echo;

impl Decoder for Echo {
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded> {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let value = record.value.as_deref().map(|v| String::from_utf8_lossy(v).into_owned());
        let id = DocumentId::new(format!("{key} {value:?}")).unwrap();
        Ok(Change::Delete(DocumentKey { tenant: Tenant::default(), id }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_behind_sees_json_and_tombstones() -> Result<()> {
    let server = SchemaRegistry::start()?;
    server.add(1, "AVRO", r#""string""#, &[]);
    let registry = Arc::new(connect(&server)?);
    let decoder = RegistryDecoder::new(
        registry,
        (Encoding::Avro, Encoding::JsonSchema),
        Arc::new(Echo),
        tokio::runtime::Handle::current(),
    );
    let record = |key: Option<Vec<u8>>, value: Option<Vec<u8>>| RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        key,
        value,
        headers: Vec::new(),
        timestamp_ms: None,
        lease: Lease::new(),
    };
    let key = framed(1, &[4, b'i', b'd']);
    let says = |change: Result<Change, Undecoded>| match change {
        Ok(change) => change.key().id.as_str().to_owned(),
        Err(error) => panic!("{error:?}"),
    };
    let found = decoder.decode(&record(Some(key.clone()), Some(framed(2, b"{}"))));
    assert_eq!(says(found), r#"id Some("{}")"#);
    assert_eq!(says(decoder.decode(&record(Some(key), None))), "id None");

    let wrong = decoder.decode(&record(Some(b"plain".to_vec()), None));
    let Err(Undecoded::Never(reason)) = wrong else { panic!("{wrong:?}") };
    assert_eq!(reason.class, "RegistryError.NotFramed");
    assert!(
        reason.message.contains("the key is not in the schema registry's format"),
        "{reason:?}"
    );
    server.fail(503);
    server.add(2, "AVRO", r#""string""#, &[]);
    let away = decoder.decode(&record(Some(framed(2, &[0])), None));
    assert!(matches!(away, Err(Undecoded::NotYet(_))), "{away:?}");
    Ok(())
}
