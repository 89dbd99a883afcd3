//! A hit of a reply, and the chunks that come with it.

use std::sync::Arc;

use livedex_core::{document::Metadata, query, record::SourcePosition, row::ChunkFields};
use serde::{Deserialize, Serialize};

use crate::time::format_millis;

/// What hits and chunks carry beside ids and scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    /// Their text.
    pub text: bool,
    /// Their document's metadata.
    pub metadata: bool,
    /// Their embeddings, where the search has brought them.
    pub vectors: bool,
    /// Their places in the lists of stage 1.
    pub explain: bool,
}

impl From<&query::QueryRequest> for Include {
    fn from(request: &query::QueryRequest) -> Self {
        Self {
            text: request.include_text,
            metadata: request.include_metadata,
            vectors: request.include_vectors,
            explain: request.explain,
        }
    }
}

/// A chunk that answers, with the ranks and scores of both stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The chunk's id.
    pub chunk_id: String,
    /// Its document's id.
    pub document_id: String,
    /// Its document's tenant; absent for the default tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// Its document's title.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    /// Where a reader finds the document.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The headings above the chunk, joined by " > ".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heading: Option<String>,
    /// The chunk's place in its document, from 0.
    pub ordinal: u32,
    /// The chunk's text; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Its document's metadata; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Metadata>,
    /// The producer's version of the document.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// When the producer changed the document (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub updated_at: Option<String>,
    /// What the hits are sorted by, 0..=1 ([`livedex_core::ranking::rank`]).
    pub score: f32,
    /// Stage 1. The score is the cosine similarity, -1..=1, of one query in dense mode; BM25's, from
    /// 0, of one query in bm25 mode; else the sum that reciprocal rank fusion gives.
    pub retrieve: Stage,
    /// Stage 2: rank from 1, probability 0..=1; absent if the chunk was not scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<Stage>,
    /// The record that wrote the chunk.
    pub source: Source,
    /// The chunk's embedding; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vector: Option<Vec<f32>>,
    /// The chunks around it in its document, by ordinal, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub neighbours: Vec<Chunk>,
    /// Other chunks of its document that were found, best first, if hits are grouped.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub passages: Vec<Passage>,
    /// Its place in each list of stage 1 that has it, if it was asked how the answer came about.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub routes: Vec<RouteRank>,
}

/// A chunk of a document that is named elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its id.
    pub chunk_id: String,
    /// Its place in its document, from 0.
    pub ordinal: u32,
    /// The headings above it, joined by " > ".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heading: Option<String>,
    /// Its text; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Its embedding; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vector: Option<Vec<f32>>,
}

/// Another chunk of a hit's document, with its own scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The chunk.
    #[serde(flatten)]
    pub chunk: Chunk,
    /// See [`Hit::score`].
    pub score: f32,
    /// See [`Hit::retrieve`].
    pub retrieve: Stage,
    /// See [`Hit::rerank`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<Stage>,
}

/// A chunk's place in one list of stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RouteRank {
    /// Which list, from 0, as [`super::Explain::routes`] has them.
    pub route: usize,
    /// The rank in it, from 1.
    pub rank: usize,
    /// The list's own score.
    pub score: f32,
}

/// Rank and score of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The rank among the candidates, from 1.
    pub rank: usize,
    /// The score.
    pub score: f32,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl From<SourcePosition> for Source {
    fn from(position: SourcePosition) -> Self {
        let SourcePosition { topic, partition, offset } = position;
        Self { topic: topic.to_string(), partition, offset }
    }
}

impl Hit {
    /// A hit as it is sent, without neighbours and passages.
    pub fn new(hit: query::Hit, include: Include) -> Self {
        let (retrieve, rerank) = stages(&hit);
        let fields = hit.fields;
        let routes = if include.explain { hit.routes } else { Vec::new() };
        Self {
            chunk_id: fields.id.to_string(),
            document_id: fields.document.id.to_string(),
            tenant: some(fields.document.tenant.to_string()),
            title: some(fields.title),
            url: some(fields.url),
            heading: some(fields.heading),
            ordinal: fields.ordinal,
            text: include.text.then_some(fields.text),
            metadata: include.metadata.then(|| Arc::unwrap_or_clone(fields.metadata)),
            version: some(fields.version),
            updated_at: updated_at(fields.updated_at_ms),
            score: hit.score,
            retrieve,
            rerank,
            source: fields.position.into(),
            vector: hit.vector.filter(|_| include.vectors),
            neighbours: Vec::new(),
            passages: Vec::new(),
            routes: routes
                .into_iter()
                .map(|query::RouteRank { route, rank, score }| RouteRank { route, rank, score })
                .collect(),
        }
    }
}

impl Chunk {
    /// A chunk as it is sent.
    pub fn new(passage: query::Passage, include: Include) -> Self {
        Self::of(passage.fields, passage.vector, include)
    }

    pub(super) fn of(fields: ChunkFields, vector: Option<Vec<f32>>, include: Include) -> Self {
        Self {
            chunk_id: fields.id.to_string(),
            ordinal: fields.ordinal,
            heading: some(fields.heading),
            text: include.text.then_some(fields.text),
            vector: vector.filter(|_| include.vectors),
        }
    }
}

impl Passage {
    /// A hit as it is sent below a better one of its document.
    pub fn new(hit: query::Hit, include: Include) -> Self {
        let (retrieve, rerank) = stages(&hit);
        let chunk = Chunk::of(hit.fields, hit.vector, include);
        Self { chunk, score: hit.score, retrieve, rerank }
    }
}

fn stages(hit: &query::Hit) -> (Stage, Option<Stage>) {
    let retrieve = Stage { rank: hit.retrieve_rank, score: hit.retrieve_score };
    let rerank = hit.rerank_rank.zip(hit.rerank_score);
    (retrieve, rerank.map(|(rank, score)| Stage { rank, score }))
}

/// What rows have as an empty string is absent in the contracts.
pub(crate) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// What rows have as 0 is absent in the contracts.
pub(crate) fn updated_at(millis: i64) -> Option<String> {
    Some(millis).filter(|millis| *millis != 0).and_then(format_millis)
}
