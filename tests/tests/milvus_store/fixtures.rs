//! What the groups share: a collection for each test, and rows.

use anyhow::Result;
use livedex_core::{
    document::{Metadata, MetadataValue},
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    ports::ModelInfo,
    query::{Consistency, Route, SearchRequest},
    record::SourcePosition,
    row::{ChunkFields, ChunkRow},
};
use livedex_milvus::{Collection, FlushPolicy, Milvus, MilvusConfig};

/// A model with this fingerprint and dimension.
pub(crate) fn model(fingerprint: &str, dimension: usize) -> ModelInfo {
    ModelInfo {
        name: "test/model".to_owned(),
        fingerprint: fingerprint.to_owned(),
        dimension,
        max_tokens: 256,
    }
}

/// A configuration for this server and collection.
pub(crate) fn config(uri: &str, collection: &str) -> MilvusConfig {
    MilvusConfig {
        uri: uri.to_owned(),
        collection: collection.to_owned(),
        flush: FlushPolicy::WhenIdle,
        ..MilvusConfig::default()
    }
}

/// A new, empty collection.
pub(crate) async fn collection(uri: &str, name: &str, dimension: usize) -> Result<Collection> {
    let milvus = Milvus::connect(&config(uri, name)).await?;
    Ok(milvus.ensure_collection(&model("fp", dimension)).await?)
}

/// A document's key.
pub(crate) fn key(tenant: &str, id: &str) -> Result<DocumentKey> {
    Ok(DocumentKey { tenant: Tenant::new(tenant)?, id: DocumentId::new(id)? })
}

/// A chunk of `document` with something in every field.
pub(crate) fn row(document: &DocumentKey, ordinal: u32, text: &str, vector: Vec<f32>) -> ChunkRow {
    let metadata =
        Metadata::from([("note".to_owned(), MetadataValue::String("say \"hi\"\n".to_owned()))]);
    let fields = ChunkFields {
        id: ChunkId::new(document, "fp", text, ordinal),
        document: document.clone(),
        ordinal,
        text: text.to_owned(),
        heading: "One > Two".to_owned(),
        title: "Title".to_owned(),
        url: "https://example.com/?a=1&b=2".to_owned(),
        metadata: metadata.into(),
        version: "v1".to_owned(),
        updated_at_ms: 1_700_000_000_000,
        content_hash: ContentHash::of([text.as_bytes()]),
        attributes_hash: ContentHash::of([b"attributes".as_slice()]),
        position: SourcePosition { topic: "documents".into(), partition: 3, offset: 42 },
    };
    ChunkRow { fields, vector }
}

/// A search that reads its own writes.
pub(crate) fn strong(vector: Vec<f32>, limit: usize) -> SearchRequest {
    SearchRequest {
        route: Route::Dense(vector),
        limit,
        tenant: None,
        filter: None,
        consistency: Consistency::Strong,
        with_vectors: false,
    }
}

/// The same numbers for the same seed: a vector of length one.
pub(crate) fn direction(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut vector: Vec<f32> = (0..dimension)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        })
        .collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// The cosine of the angle between two vectors of length one.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
