//! Fields, indexes and properties of the collection.
//!
//! There is no partition key: the number of partitions is fixed at creation, each of them costs
//! segments, and most deployments have one tenant. `tenant` has an inverted index instead.
//!
//! The vector index is AUTOINDEX with the cosine metric on Milvus, which chooses by itself, and
//! FLAT on Milvus Lite: its HNSW loses what a filter should find (of a filter that 2 % of 10,000
//! rows match it found 20 % of the nearest 50), while FLAT is exact and takes 15 ms at 2,000 rows
//! of 384 numbers and 120 ms at 10,000 of 1,024. Both answer with the cosine, higher is better.

use std::collections::HashMap;

use livedex_core::{
    limits::{
        MAX_CHUNK_TEXT_BYTES, MAX_DOCUMENT_ID_BYTES, MAX_HEADING_BYTES, MAX_TENANT_BYTES,
        MAX_TITLE_BYTES, MAX_URL_BYTES, MAX_VERSION_BYTES,
    },
    ports::ModelInfo,
};
use milvus::v2::types::{
    CollectionDesc, CollectionSchema, DataType, FieldSchema, IndexParam, IndexType, MetricType,
};

use crate::{config::Analyzer, error::MilvusError, words};

/// The version of what is below. A collection with another one is refused.
pub(crate) const VERSION: &str = "1";

/// Bytes of a topic's name: Kafka's own limit.
pub(crate) const MAX_TOPIC_BYTES: usize = 249;

/// Bytes of a key or a hash; ours have 32.
pub(crate) const MAX_HASH_BYTES: usize = 64;

/// The names of the fields.
pub(crate) mod field {
    pub(crate) const ID: &str = "id";
    pub(crate) const TENANT: &str = "tenant";
    pub(crate) const DOCUMENT_ID: &str = "document_id";
    pub(crate) const ORDINAL: &str = "ordinal";
    pub(crate) const TEXT: &str = "text";
    pub(crate) const HEADING: &str = "heading";
    pub(crate) const TITLE: &str = "title";
    pub(crate) const URL: &str = "url";
    pub(crate) const METADATA: &str = "metadata";
    pub(crate) const VERSION: &str = "version";
    pub(crate) const UPDATED_AT: &str = "updated_at";
    pub(crate) const CONTENT_HASH: &str = "content_hash";
    pub(crate) const ATTRIBUTES_HASH: &str = "attributes_hash";
    pub(crate) const SOURCE_TOPIC: &str = "source_topic";
    pub(crate) const SOURCE_PARTITION: &str = "source_partition";
    pub(crate) const SOURCE_OFFSET: &str = "source_offset";
    pub(crate) const VECTOR: &str = "vector";
}

/// The names of the collection's properties.
mod property {
    pub(super) const SCHEMA_VERSION: &str = "livedex.schema_version";
    pub(super) const MODEL: &str = "livedex.model";
    pub(super) const FINGERPRINT: &str = "livedex.fingerprint";
    /// A random number: a collection that is dropped and made again is another one.
    pub(super) const IDENTITY: &str = "livedex.identity";
    /// The analyzer's name; a collection without BM25 has none or `none`.
    pub(super) const ANALYZER: &str = "livedex.analyzer";
}

/// What a field holds; strings with their limit in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text(usize),
    Int,
    Json,
    Vector,
}

/// Every field, the primary key first and the vector last. A collection with BM25 has those of
/// [`words`] as well.
const FIELDS: [(&str, Kind); 17] = [
    (field::ID, Kind::Text(MAX_HASH_BYTES)),
    (field::TENANT, Kind::Text(MAX_TENANT_BYTES)),
    (field::DOCUMENT_ID, Kind::Text(MAX_DOCUMENT_ID_BYTES)),
    (field::ORDINAL, Kind::Int),
    (field::TEXT, Kind::Text(MAX_CHUNK_TEXT_BYTES)),
    (field::HEADING, Kind::Text(MAX_HEADING_BYTES)),
    (field::TITLE, Kind::Text(MAX_TITLE_BYTES)),
    (field::URL, Kind::Text(MAX_URL_BYTES)),
    (field::METADATA, Kind::Json),
    (field::VERSION, Kind::Text(MAX_VERSION_BYTES)),
    (field::UPDATED_AT, Kind::Int),
    (field::CONTENT_HASH, Kind::Text(MAX_HASH_BYTES)),
    (field::ATTRIBUTES_HASH, Kind::Text(MAX_HASH_BYTES)),
    (field::SOURCE_TOPIC, Kind::Text(MAX_TOPIC_BYTES)),
    (field::SOURCE_PARTITION, Kind::Int),
    (field::SOURCE_OFFSET, Kind::Int),
    (field::VECTOR, Kind::Vector),
];

fn all_but_vector() -> Vec<&'static str> {
    FIELDS.iter().map(|(name, _)| *name).filter(|name| *name != field::VECTOR).collect()
}

/// Every field of a row, with its vector or without.
pub(crate) fn row_fields(with_vector: bool) -> Vec<&'static str> {
    let mut fields = all_but_vector();
    fields.extend(with_vector.then_some(field::VECTOR));
    fields
}

/// The limit of a string field, in bytes, inclusive; `None` if it is no string field.
pub(crate) fn max_bytes(name: &str) -> Option<usize> {
    FIELDS.iter().find(|(field, _)| *field == name).and_then(|(_, kind)| match kind {
        Kind::Text(max) => Some(*max),
        _ => None,
    })
}

/// The schema of a new collection. `lite`: the server is Milvus Lite.
pub(crate) fn schema(dimension: usize, analyzer: Analyzer, lite: bool) -> CollectionSchema {
    let schema = of_fields("Chunks of documents, written by livedex", &FIELDS, dimension);
    words::add(schema, analyzer, lite)
}

/// A schema of these fields, [`field::ID`] among them as the primary key.
pub(crate) fn of_fields(
    description: &str,
    fields: &[(&str, Kind)],
    dimension: usize,
) -> CollectionSchema {
    let mut schema = CollectionSchema::new().description(description).enable_dynamic_field(false);
    for &(name, kind) in fields {
        let field = FieldSchema::new().name(name);
        let field = match kind {
            Kind::Text(max) => field.data_type(DataType::VarChar).max_length(small(max)),
            Kind::Int => field.data_type(DataType::Int64),
            Kind::Json => field.data_type(DataType::Json),
            Kind::Vector => field.data_type(DataType::FloatVector).dimension(small(dimension)),
        };
        let field = if name == field::ID { field.primary_key(true).auto_id(false) } else { field };
        schema = schema.add_field(field);
    }
    schema
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The properties of a new collection.
pub(crate) fn properties(model: &ModelInfo, analyzer: Analyzer) -> HashMap<String, String> {
    HashMap::from([
        (property::SCHEMA_VERSION.to_owned(), VERSION.to_owned()),
        (property::MODEL.to_owned(), model.name.clone()),
        (property::FINGERPRINT.to_owned(), model.fingerprint.clone()),
        (property::IDENTITY.to_owned(), format!("{:032x}", rand::random::<u128>())),
        (property::ANALYZER.to_owned(), analyzer.name().to_owned()),
    ])
}

/// The indexes of a collection, each of them needed. `lite`: the server is Milvus Lite.
pub(crate) fn indexes(lite: bool, has_bm25: bool) -> Vec<(&'static str, IndexParam)> {
    let inverted = |name: &str| {
        IndexParam::new().field_name(name).index_name(name).index_type(IndexType::Inverted)
    };
    let vector = IndexParam::new()
        .field_name(field::VECTOR)
        .index_name(field::VECTOR)
        .index_type(if lite { IndexType::Flat } else { IndexType::AutoIndex })
        .metric_type(MetricType::Cosine);
    let mut indexes = vec![
        (field::DOCUMENT_ID, inverted(field::DOCUMENT_ID)),
        (field::TENANT, inverted(field::TENANT)),
    ];
    // Before the vector's, since a collection loads as soon as that is there.
    indexes.extend(has_bm25.then(words::index));
    indexes.push((field::VECTOR, vector));
    indexes
}

/// Which collection it is, and the model whose embeddings it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its own name, also where it was asked for by an alias.
    pub(crate) name: String,
    /// See [`property::IDENTITY`]; empty if it was made before there was one.
    pub(crate) identity: String,
    pub(crate) model: String,
    pub(crate) fingerprint: String,
    pub(crate) dimension: usize,
    /// Whether it has the fields of [`words`].
    pub(crate) has_bm25: bool,
    /// See [`property::ANALYZER`]; empty if it was made before there was one.
    pub(crate) analyzer: String,
}

/// Reads and checks what Milvus says of a collection.
pub(crate) fn check(desc: &CollectionDesc, collection: &str) -> Result<Stored, MilvusError> {
    let properties = desc.get_properties();
    let property = |name: &str| properties.get(name).cloned();
    let (Some(version), Some(model), Some(fingerprint)) = (
        property(property::SCHEMA_VERSION),
        property(property::MODEL),
        property(property::FINGERPRINT),
    ) else {
        return Err(MilvusError::Foreign { collection: collection.to_owned() });
    };
    let other = |difference: String| MilvusError::OtherSchema {
        collection: collection.to_owned(),
        difference,
    };
    if version != VERSION {
        return Err(other(format!("it has schema version {version}, expected is {VERSION}")));
    }
    let fields = desc.get_schema().get_fields();
    let mut dimension = 0;
    for (name, kind) in FIELDS {
        let Some(field) = fields.iter().find(|field| field.get_name() == name) else {
            return Err(other(format!("it has no field `{name}`")));
        };
        let expected = match kind {
            Kind::Text(_) => DataType::VarChar,
            Kind::Int => DataType::Int64,
            Kind::Json => DataType::Json,
            Kind::Vector => DataType::FloatVector,
        };
        if field.get_data_type() != expected {
            let found = field.get_data_type();
            return Err(other(format!(
                "its field `{name}` is {found:?}, expected is {expected:?}"
            )));
        }
        match kind {
            Kind::Text(max) if field.get_max_length() as usize != max => {
                let found = field.get_max_length();
                return Err(other(format!(
                    "its field `{name}` takes {found} bytes, expected are {max}"
                )));
            }
            Kind::Vector => dimension = field.get_dimension() as usize,
            _ => {}
        }
        if field.is_primary_key() != (name == field::ID) || field.is_auto_id() {
            return Err(other(format!("its primary key is not `{}`, given by livedex", field::ID)));
        }
    }
    let has_bm25 = words::are_among(fields).map_err(other)?;
    let is_ours = |name: &str| {
        FIELDS.iter().any(|(ours, _)| *ours == name)
            || [words::SOURCE, words::WORDS].contains(&name)
    };
    if let Some(extra) = fields.iter().find(|field| !is_ours(field.get_name())) {
        return Err(other(format!("it has a field `{}` too many", extra.get_name())));
    }
    let name = match desc.get_collection_name() {
        "" => collection,
        name => name,
    };
    let identity = property(property::IDENTITY).unwrap_or_default();
    let analyzer = property(property::ANALYZER).unwrap_or_default();
    Ok(Stored {
        name: name.to_owned(),
        identity,
        model,
        fingerprint,
        dimension,
        has_bm25,
        analyzer,
    })
}

/// Refuses another model than the collection's. The name is only for people.
pub(crate) fn check_model(
    stored: &Stored,
    model: &ModelInfo,
    collection: &str,
) -> Result<(), MilvusError> {
    if stored.fingerprint == model.fingerprint && stored.dimension == model.dimension {
        return Ok(());
    }
    let show = |name: &str, dimension: usize, fingerprint: &str| {
        let short: String = fingerprint.chars().take(12).collect();
        format!("{name} ({dimension} dimensions, fingerprint {short})")
    };
    Err(MilvusError::OtherModel {
        collection: collection.to_owned(),
        stored: show(&stored.model, stored.dimension, &stored.fingerprint),
        configured: show(&model.name, model.dimension, &model.fingerprint),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn model() -> ModelInfo {
        ModelInfo {
            name: "mini".to_owned(),
            fingerprint: "f".repeat(64),
            dimension: 384,
            max_tokens: 256,
        }
    }

    fn bm25(dimension: usize) -> CollectionSchema {
        schema(dimension, Analyzer::Standard, true)
    }

    fn described(schema: CollectionSchema, properties: HashMap<String, String>) -> CollectionDesc {
        CollectionDesc::new().schema(schema).properties(properties)
    }

    #[test]
    fn what_is_created_passes_the_check() {
        let desc = described(bm25(384), properties(&model(), Analyzer::Standard));
        let stored = check(&desc, "c").unwrap();
        assert_eq!(stored.dimension, 384);
        assert_eq!(check_model(&stored, &model(), "c"), Ok(()));
        assert!(stored.has_bm25 && stored.analyzer == "standard" && stored.identity.len() == 32);
    }

    #[test]
    fn a_collection_without_bm25_passes_the_check() {
        let mut before = properties(&model(), Analyzer::None);
        before.remove(property::ANALYZER);
        let without = schema(384, Analyzer::None, false);
        let stored = check(&described(without, before), "c").unwrap();
        assert!(!stored.has_bm25 && stored.analyzer.is_empty());

        let half = schema(384, Analyzer::None, false)
            .add_field(FieldSchema::new().name(words::WORDS).data_type(DataType::Json));
        let properties = properties(&model(), Analyzer::Standard);
        let error = check(&described(half.clone(), properties.clone()), "c").unwrap_err();
        assert!(error.to_string().contains("no field `search_text`"), "{error}");
        let source = FieldSchema::new().name(words::SOURCE).data_type(DataType::VarChar);
        let error = check(&described(half.add_field(source), properties), "c").unwrap_err();
        assert!(error.to_string().contains("are VarChar and Json"), "{error}");
    }

    #[test]
    fn others_are_refused_with_what_differs() {
        let foreign = check(&described(bm25(384), HashMap::new()), "c").unwrap_err();
        assert!(matches!(foreign, MilvusError::Foreign { .. }), "{foreign}");

        let mut old = properties(&model(), Analyzer::Standard);
        old.insert(property::SCHEMA_VERSION.to_owned(), "0".to_owned());
        let error = check(&described(bm25(384), old), "c").unwrap_err().to_string();
        assert!(error.contains("schema version 0"), "{error}");

        let fields: Vec<_> = bm25(384).get_fields().iter().skip(1).cloned().collect();
        let error = check(
            &described(bm25(384).fields(fields), properties(&model(), Analyzer::Standard)),
            "c",
        )
        .unwrap_err();
        assert!(error.to_string().contains("no field `id`"), "{error}");

        let extra = bm25(384).add_field(FieldSchema::new().name("x").data_type(DataType::Int64));
        let error =
            check(&described(extra, properties(&model(), Analyzer::Standard)), "c").unwrap_err();
        assert!(error.to_string().contains("`x` too many"), "{error}");

        let stored =
            check(&described(bm25(384), properties(&model(), Analyzer::Standard)), "c").unwrap();
        let other = ModelInfo {
            name: "large".into(),
            fingerprint: "e".repeat(64),
            dimension: 1024,
            ..model()
        };
        let error = check_model(&stored, &other, "c").unwrap_err().to_string();
        assert_eq!(
            error,
            "collection `c` holds embeddings of mini (384 dimensions, fingerprint ffffffffffff), but \
             large (1024 dimensions, fingerprint eeeeeeeeeeee) is configured; set milvus.collection to \
             another name, or drop the collection to index again"
        );
    }
}
