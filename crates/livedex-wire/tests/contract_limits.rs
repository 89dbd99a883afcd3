//! The limits in the schemas are those of the code.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::limits;
use livedex_wire::schemas;
use serde_json::{Value, json};

fn schema(name: &str) -> Value {
    let (_, text) = schemas::all().iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn check(name: &str, pointer: &str, limit: usize) {
    let schema = schema(name);
    let at = schema.pointer(pointer).unwrap_or_else(|| panic!("{name}{pointer}"));
    assert_eq!(at, &json!(limit), "{name}{pointer}");
}

fn text(name: &str, pointer: &str, limit: usize) {
    check(name, &format!("{pointer}/maxLength"), limit);
    check(name, &format!("{pointer}/x-maxBytes"), limit);
}

#[test]
fn the_limits_in_the_schemas_are_those_of_the_code() {
    text("document.v1", "/properties/id", limits::MAX_DOCUMENT_ID_BYTES);
    text("document.v1", "/properties/title", limits::MAX_TITLE_BYTES);
    text("document.v1", "/properties/url", limits::MAX_URL_BYTES);
    text("document.v1", "/properties/tenant", limits::MAX_TENANT_BYTES);
    text("document.v1", "/properties/version/anyOf/0", limits::MAX_VERSION_BYTES);
    check("document.v1", "/properties/metadata/maxProperties", limits::MAX_METADATA_KEYS);
    check("document.v1", "/properties/metadata/x-maxBytes", limits::MAX_METADATA_BYTES);
    let key = "/properties/metadata/propertyNames";
    text("document.v1", key, limits::MAX_METADATA_KEY_BYTES);

    text("query.v1", "/properties/query", limits::MAX_QUERY_BYTES);
    text("query.v1", "/properties/queries/items", limits::MAX_QUERY_BYTES);
    check("query.v1", "/properties/queries/maxItems", limits::MAX_QUERIES);
    check("query.v1", "/allOf/0/then/properties/queries/maxItems", limits::MAX_QUERIES - 1);
    text("query.v1", "/properties/tenant", limits::MAX_TENANT_BYTES);
    check("query.v1", "/properties/neighbours/maximum", limits::MAX_NEIGHBOURS);
    check("query.v1", "/properties/top_k/maximum", limits::MAX_TOP_K);
    check("query.v1", "/properties/candidates/maximum", limits::MAX_CANDIDATES);
    check(
        "query.v1",
        "/$defs/filter/properties/in/properties/values/maxItems",
        limits::MAX_FILTER_VALUES,
    );
    text("query.v1", "/$defs/text", limits::MAX_FILTER_STRING_BYTES);
    let field = "metadata.".len() + limits::MAX_FILTER_STRING_BYTES;
    check("query.v1", "/$defs/field/maxLength", field);
    check("query.v1", "/$defs/metadataField/maxLength", field);

    for name in ["query.v1", "rerank.v1", "embed.v1"] {
        text(name, "/properties/instruction", limits::MAX_INSTRUCTION_BYTES);
    }
    for name in ["query.v1", "documents_get.v1"] {
        text(name, "/properties/collection", limits::MAX_COLLECTION_BYTES);
        check(name, "/properties/after/maxItems", limits::MAX_AFTER);
        text(name, "/$defs/position/properties/topic", limits::MAX_TOPIC_BYTES);
        let position = "/$defs/position/properties";
        check(name, &format!("{position}/partition/maximum"), i32::MAX as usize);
        check(name, &format!("{position}/offset/maximum"), i64::MAX as usize);
    }
    check("error.v1", "/properties/missing/maxItems", limits::MAX_AFTER);

    text("rerank.v1", "/properties/query", limits::MAX_QUERY_BYTES);
    text("rerank.v1", "/$defs/text", limits::MAX_CHUNK_TEXT_BYTES);
    let id = "/properties/documents/items/anyOf/1/properties/id";
    text("rerank.v1", id, limits::MAX_DOCUMENT_ID_BYTES);
    check("rerank.v1", "/properties/documents/maxItems", limits::MAX_RERANK_DOCUMENTS);
    check("rerank.v1", "/properties/top_k/maximum", limits::MAX_RERANK_DOCUMENTS);
    check("rerank_reply.v1", "/properties/results/maxItems", limits::MAX_RERANK_DOCUMENTS);
    let index = "/properties/results/items/properties/index/maximum";
    check("rerank_reply.v1", index, limits::MAX_RERANK_DOCUMENTS - 1);
    text("embed.v1", "/properties/texts/items", limits::MAX_CHUNK_TEXT_BYTES);
    check("embed.v1", "/properties/texts/maxItems", limits::MAX_EMBED_TEXTS);
    check("embed_reply.v1", "/properties/embeddings/maxItems", limits::MAX_EMBED_TEXTS);
    text("documents_get.v1", "/properties/document_id", limits::MAX_DOCUMENT_ID_BYTES);
    text("documents_get.v1", "/properties/tenant", limits::MAX_TENANT_BYTES);
    let last = limits::MAX_CHUNKS_PER_DOCUMENT - 1;
    check("documents_get.v1", "/properties/from/maximum", last);
    check("documents_get.v1", "/properties/limit/maximum", limits::MAX_PAGE_CHUNKS);
    check("documents_reply.v1", "/properties/chunks/maxItems", limits::MAX_PAGE_CHUNKS);
    check("documents_reply.v1", "/properties/next/maximum", last);

    check("reply.v1", "/properties/hits/maxItems", limits::MAX_TOP_K);
    check("reply.v1", "/properties/candidates/maximum", limits::MAX_CANDIDATES);
    let hit = "/$defs/hit/properties";
    for (name, document) in [("reply.v1", hit), ("documents_reply.v1", "/properties")] {
        text(name, "/properties/collection", limits::MAX_COLLECTION_BYTES);
        text(name, &format!("{document}/document_id"), limits::MAX_DOCUMENT_ID_BYTES);
        text(name, &format!("{document}/tenant"), limits::MAX_TENANT_BYTES);
        text(name, &format!("{document}/title"), limits::MAX_TITLE_BYTES);
        text(name, &format!("{document}/url"), limits::MAX_URL_BYTES);
        text(name, &format!("{document}/version"), limits::MAX_VERSION_BYTES);
        let keys = format!("{document}/metadata/maxProperties");
        check(name, &keys, limits::MAX_METADATA_KEYS);
    }
    check("reply.v1", &format!("{hit}/neighbours/maxItems"), 2 * limits::MAX_NEIGHBOURS);
    check("reply.v1", &format!("{hit}/passages/maxItems"), limits::MAX_PASSAGES);
    check("reply.v1", &format!("{hit}/routes/maxItems"), 2 * limits::MAX_QUERIES);
    check("reply.v1", "/properties/explain/properties/routes/maxItems", 2 * limits::MAX_QUERIES);
    // A chunk is the same wherever it stands.
    for (name, chunk) in [
        ("reply.v1", hit),
        ("reply.v1", "/$defs/chunk/properties"),
        ("reply.v1", "/$defs/passage/properties"),
        ("documents_reply.v1", "/$defs/chunk/properties"),
    ] {
        text(name, &format!("{chunk}/heading"), limits::MAX_HEADING_BYTES);
        text(name, &format!("{chunk}/text"), limits::MAX_CHUNK_TEXT_BYTES);
        check(name, &format!("{chunk}/ordinal/maximum"), last);
    }
    for stage in ["retrieve", "rerank"] {
        let rank = format!("/$defs/{stage}/properties/rank/maximum");
        check("reply.v1", &rank, limits::MAX_CANDIDATES);
    }
    for name in ["reply.v1", "rerank_reply.v1"] {
        let reranked = "/properties/degraded/properties/reranked/maximum";
        check(name, reranked, limits::MAX_CANDIDATES);
    }
}

#[test]
fn limits_and_defaults_that_stand_in_words_are_those_of_the_code() {
    let words = |name: &str, pointer: &str, words: &[String]| {
        let schema = schema(name);
        let text = schema.pointer(pointer).unwrap().as_str().unwrap().replace(',', "");
        for word in words {
            assert!(text.contains(word), "{name}{pointer}: {word} is not in {text:?}");
        }
    };
    let tree = [
        format!("{} nodes", limits::MAX_FILTER_NODES),
        format!("{} levels", limits::MAX_FILTER_DEPTH),
    ];
    words("query.v1", "/properties/filter/description", &tree);
    let texts = [format!("{} texts", limits::MAX_QUERIES)];
    words("query.v1", "/properties/queries/description", &texts);
    let default = |n: usize| [format!("({n} as it comes)")];
    words("query.v1", "/properties/top_k/description", &default(limits::DEFAULT_TOP_K));
    words("query.v1", "/properties/candidates/description", &default(limits::DEFAULT_CANDIDATES));
    let bytes = [format!("{} bytes", limits::MAX_METADATA_BYTES)];
    words("document.v1", "/properties/metadata/description", &bytes);
    let mebibytes = [format!("{} MiB", limits::DEFAULT_MAX_DOCUMENT_BYTES >> 20)];
    words("document.v1", "/description", &mebibytes);
}
