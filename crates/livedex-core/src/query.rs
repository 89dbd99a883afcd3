//! A two-stage query and its hits.

use crate::{filter::Filter, ids::Tenant, row::ChunkFields};

/// How fresh the data read must be: Milvus' consistency levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Consistency {
    /// Everything written before the request. Costs a wait for the time tick (200 ms and more).
    Strong,
    /// A few seconds old at most: Milvus' own default.
    #[default]
    Bounded,
    /// Whatever is there.
    Eventually,
}

/// What stage 1 searches for.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// The query's embedding.
    pub vector: Vec<f32>,
    /// How many candidates at most.
    pub limit: usize,
    /// Only documents of this tenant; `None` searches all tenants (a server that has tenants
    /// does not allow it).
    pub tenant: Option<Tenant>,
    /// Only rows that match.
    pub filter: Option<Filter>,
    /// How fresh the data must be.
    pub consistency: Consistency,
}

/// A chunk that stage 1 found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The chunk.
    pub fields: ChunkFields,
    /// Cosine similarity to the query, -1..=1.
    pub similarity: f32,
}

/// A chunk with the scores and ranks of both stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The chunk.
    pub fields: ChunkFields,
    /// What the hits are sorted by, 0..=1, higher is better.
    pub score: f32,
    /// Rank after stage 1, from 1.
    pub retrieve_rank: usize,
    /// Cosine similarity, -1..=1.
    pub retrieve_score: f32,
    /// Rank by the reranker alone, from 1; `None` if it was not asked.
    pub rerank_rank: Option<usize>,
    /// The reranker's probability, 0..=1; `None` if it was not asked.
    pub rerank_score: Option<f32>,
}

/// What a client asks, checked: every limit holds, nothing is resolved yet. `None` means the
/// server's default.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The query's text: 1 to [`crate::limits::MAX_QUERY_BYTES`] bytes, not only white space.
    pub query: String,
    /// Hits wanted: 1 to [`crate::limits::MAX_TOP_K`].
    pub top_k: Option<usize>,
    /// Candidates of stage 1: 1 to [`crate::limits::MAX_CANDIDATES`], not below `top_k` if both
    /// are given.
    pub candidates: Option<usize>,
    /// Only chunks that match; valid ([`Filter::validate`]).
    pub filter: Option<Filter>,
    /// Only documents of this tenant.
    pub tenant: Option<Tenant>,
    /// The task for instruction-aware models: 1 to [`crate::limits::MAX_INSTRUCTION_BYTES`] bytes.
    pub instruction: Option<String>,
    /// Whether stage 2 runs.
    pub rerank: bool,
    /// How fresh the data must be.
    pub consistency: Consistency,
    /// Whether hits carry their text.
    pub include_text: bool,
    /// Whether hits carry their document's metadata.
    pub include_metadata: bool,
}

impl QueryRequest {
    /// A query with nothing but its text: reranked, default consistency, with text and metadata.
    /// The text is not checked.
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            top_k: None,
            candidates: None,
            filter: None,
            tenant: None,
            instruction: None,
            rerank: true,
            consistency: Consistency::default(),
            include_text: true,
            include_metadata: true,
        }
    }
}
