//! A two-stage query and its hits.

use std::ops::RangeInclusive;

use crate::{
    filter::Filter,
    ids::{DocumentKey, Tenant},
    record::SourcePosition,
    row::ChunkFields,
};

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

impl Consistency {
    /// What a request is read with: only a strong read is sure to see the records that were waited
    /// for (`after`).
    pub(crate) fn resolve(asked: Option<Self>, after: &[SourcePosition]) -> Self {
        match after.is_empty() {
            true => asked.unwrap_or_default(),
            false => Self::Strong,
        }
    }
}

/// How stage 1 looks for candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// By the nearness of embeddings.
    #[default]
    Dense,
    /// By the words: BM25 over the chunks' texts.
    Bm25,
    /// Both, fused by their ranks ([`crate::ranking::fuse`]).
    Hybrid,
}

/// One way to look for candidates: a list that is ranked by one score.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// The nearest to this embedding. The score is the cosine similarity, -1..=1.
    Dense(Vec<f32>),
    /// The best by BM25 for this text. The score is 0 or more, and has no upper bound.
    Bm25(String),
}

/// One search of stage 1.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// What is looked for.
    pub route: Route,
    /// How many candidates at most.
    pub limit: usize,
    /// Only documents of this tenant; `None` searches all tenants (a server that has tenants
    /// does not allow it).
    pub tenant: Option<Tenant>,
    /// Only rows that match.
    pub filter: Option<Filter>,
    /// How fresh the data must be.
    pub consistency: Consistency,
    /// Whether candidates carry their vectors.
    pub with_vectors: bool,
}

/// A chunk that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The chunk.
    pub fields: ChunkFields,
    /// The score of its [`Route`].
    pub score: f32,
    /// Its embedding, if it was asked for.
    pub vector: Option<Vec<f32>>,
}

/// A part of a document, by its chunks' places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The document.
    pub document: DocumentKey,
    /// The ordinals, both ends inclusive.
    pub ordinals: RangeInclusive<u32>,
}

/// Chunks that are read by their place, not searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassageRequest {
    /// Where they stand.
    pub spans: Vec<Span>,
    /// How fresh the data must be.
    pub consistency: Consistency,
    /// Whether they carry their vectors.
    pub with_vectors: bool,
}

/// A chunk that was read by its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The chunk.
    pub fields: ChunkFields,
    /// Its embedding, if it was asked for.
    pub vector: Option<Vec<f32>>,
}

/// A chunk's place in the list of one route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouteRank {
    /// Which of the routes, from 0.
    pub route: usize,
    /// The rank in its list, from 1.
    pub rank: usize,
    /// The route's own score.
    pub score: f32,
}

/// A chunk with the scores and ranks of both stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The chunk.
    pub fields: ChunkFields,
    /// Its embedding, if it was asked for.
    pub vector: Option<Vec<f32>>,
    /// What the hits are sorted by, 0..=1, higher is better ([`crate::ranking::rank`]).
    pub score: f32,
    /// Rank after stage 1, from 1.
    pub retrieve_rank: usize,
    /// Stage 1's score: the route's own where there is one route, else the reciprocal rank fusion's.
    pub retrieve_score: f32,
    /// Its place in the list of each route that found it.
    pub routes: Vec<RouteRank>,
    /// Rank by the reranker alone, from 1; `None` if it was not scored.
    pub rerank_rank: Option<usize>,
    /// The reranker's probability, 0..=1; `None` if it was not scored.
    pub rerank_score: Option<f32>,
}

/// What a client asks, checked: every limit holds, nothing is resolved yet. `None` means the
/// server's default.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The collection's name.
    pub collection: Option<String>,
    /// The query's text: 1 to [`crate::limits::MAX_QUERY_BYTES`] bytes, not only white space. It is
    /// what the reranker reads.
    pub query: String,
    /// The same question in other words, each with the limits of `query`, at most
    /// [`crate::limits::MAX_QUERIES`] with it: stage 1 searches for each and fuses the lists.
    pub also: Vec<String>,
    /// How stage 1 searches.
    pub mode: Option<Mode>,
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
    /// How fresh the data must be: [`Consistency::Strong`] with `after`, else
    /// [`Consistency::Bounded`] if `None`.
    pub consistency: Option<Consistency>,
    /// Records that must be in the collection before it is searched, at most
    /// [`crate::limits::MAX_AFTER`].
    pub after: Vec<SourcePosition>,
    /// Whether a document is one hit, by its best chunk, with its other chunks below it.
    pub group_by_document: bool,
    /// Only hits whose final score is at least this, 0..=1.
    pub min_score: Option<f32>,
    /// How many chunks on each side of a hit come with it: at most
    /// [`crate::limits::MAX_NEIGHBOURS`].
    pub neighbours: usize,
    /// Whether the answer says how it came about.
    pub explain: bool,
    /// Whether hits carry their text.
    pub include_text: bool,
    /// Whether hits carry their document's metadata.
    pub include_metadata: bool,
    /// Whether hits carry their embeddings.
    pub include_vectors: bool,
}

impl QueryRequest {
    /// A query with nothing but its text: reranked, default consistency, with text and metadata.
    /// The text is not checked.
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            collection: None,
            query: query.into(),
            also: Vec::new(),
            mode: None,
            top_k: None,
            candidates: None,
            filter: None,
            tenant: None,
            instruction: None,
            rerank: true,
            consistency: None,
            after: Vec::new(),
            group_by_document: false,
            min_score: None,
            neighbours: 0,
            explain: false,
            include_text: true,
            include_metadata: true,
            include_vectors: false,
        }
    }

    /// How fresh the data must be, resolved.
    pub fn consistency(&self) -> Consistency {
        Consistency::resolve(self.consistency, &self.after)
    }
}
