//! One query from its text to its hits.
//!
//! Stage 1: the bi-encoder embeds the query, the collection gives the nearest chunks. Stage 2: the
//! cross-encoder scores each of them with the query, read as it was embedded (title, headings,
//! text), and both scores are fused. Every step ends at the deadline. When stage 2 cannot answer,
//! the order of stage 1 is the answer, and the answer says so: never silently.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use livedex_core::{
    chunk::embed_text,
    ports::{Embedder, ModelError, Reranker, Retriever, ServiceError},
    query::{Candidate, Hit, QueryRequest, Route, SearchRequest},
    ranking::{Scale, fuse, rank},
};

use crate::{config::QueryConfig, deadline::Deadline, error::QueryError, metrics};

/// What answers queries.
#[derive(Clone)]
pub struct Service {
    /// Stage 1's model.
    pub embedder: Arc<dyn Embedder>,
    /// Stage 2's model; without it every answer that was to be reranked is degraded.
    pub reranker: Option<Arc<dyn Reranker>>,
    /// The collection.
    pub retriever: Arc<dyn Retriever>,
    /// The collection's name, for replies and `status`.
    pub collection: String,
    /// Defaults and bounds.
    pub config: QueryConfig,
}

/// The hits of a query and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best hits, best first.
    pub hits: Vec<Hit>,
    /// How many candidates stage 1 found.
    pub n_candidates: usize,
    /// Why stage 2 did not run though it was asked for.
    pub degraded: Option<Degraded>,
    /// The time of each step.
    pub timings: Timings,
}

/// Why an answer has the order of stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degraded {
    /// The service runs without a reranker.
    NoReranker,
    /// The reranker's queue is full.
    RerankerOverloaded,
    /// The deadline came too near.
    Deadline,
    /// The reranker cannot score these texts, or is gone.
    RerankerFailed,
}

impl Degraded {
    /// The stable name of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoReranker => "no_reranker",
            Self::RerankerOverloaded => "reranker_overloaded",
            Self::Deadline => "deadline",
            Self::RerankerFailed => "reranker_failed",
        }
    }
}

/// The time of each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Embedding the query, with the wait for its turn.
    pub embed: Duration,
    /// Searching the collection.
    pub search: Duration,
    /// Scoring the candidates, with the wait for their turn; `None` if it was not asked for.
    pub rerank: Option<Duration>,
}

impl Service {
    /// Answers a query that has been checked.
    pub async fn answer(
        &self,
        request: &QueryRequest,
        deadline: Deadline,
    ) -> Result<Answer, QueryError> {
        let (top_k, n_candidates) = self.sizes(request);
        let instruction = request.instruction.as_deref();
        let reply_by = Some(deadline.reply_by());
        let mut timings = Timings::default();

        let start = Instant::now();
        let embedding = self.embedder.embed_query(&request.query, instruction, reply_by);
        let vector = deadline
            .bound(embedding)
            .await
            .ok_or(QueryError::DeadlineExceeded { step: "embed" })?
            .map_err(embed_error)?;
        timings.embed = took("embed", start);

        let start = Instant::now();
        let search = SearchRequest {
            route: Route::Dense(vector),
            with_vectors: false,
            limit: n_candidates,
            tenant: request.tenant.clone(),
            filter: request.filter.clone(),
            consistency: request.consistency(),
        };
        let candidates = deadline
            .bound(self.retriever.search(&search))
            .await
            .ok_or(QueryError::DeadlineExceeded { step: "search" })?
            .map_err(search_error)?;
        timings.search = took("search", start);

        let n_candidates = candidates.len();
        let (scores, degraded) = if request.rerank && n_candidates > 0 {
            let start = Instant::now();
            let scored = self.scores(request, &candidates, deadline).await;
            timings.rerank = Some(took("rerank", start));
            match scored {
                Ok(scores) => (Some(scores), None),
                Err(reason) => (None, Some(reason)),
            }
        } else {
            (None, None)
        };
        Ok(Answer {
            hits: {
                let retrieved = fuse(vec![(Scale::Cosine, candidates)], n_candidates);
                let mut hits = rank(retrieved, scores.as_deref(), self.config.fusion);
                hits.truncate(top_k);
                hits
            },
            n_candidates,
            degraded,
            timings,
        })
    }

    /// Hits and candidates, the server's defaults bent to what the request says.
    fn sizes(&self, request: &QueryRequest) -> (usize, usize) {
        let (top_k, candidates) = (self.config.top_k, self.config.candidates);
        match (request.top_k, request.candidates) {
            (Some(top_k), Some(candidates)) => (top_k, candidates),
            (Some(top_k), None) => (top_k, candidates.max(top_k)),
            (None, Some(candidates)) => (top_k.min(candidates), candidates),
            (None, None) => (top_k.min(candidates), candidates),
        }
    }

    async fn scores(
        &self,
        request: &QueryRequest,
        candidates: &[Candidate],
        deadline: Deadline,
    ) -> Result<Vec<f32>, Degraded> {
        let reranker = self.reranker.as_ref().ok_or(Degraded::NoReranker)?;
        let texts = candidates
            .iter()
            .map(|Candidate { fields, .. }| {
                embed_text(&fields.title, &fields.heading, &fields.text)
            })
            .collect();
        let instruction = request.instruction.as_deref();
        let reply_by = Some(deadline.reply_by());
        let scoring = reranker.rerank(&request.query, instruction, texts, reply_by);
        match deadline.bound(scoring).await {
            Some(Ok(scores)) if scores.len() == candidates.len() => Ok(scores),
            Some(Ok(scores)) => {
                let (got, wanted) = (scores.len(), candidates.len());
                tracing::error!(got, wanted, "the reranker broke its contract");
                Err(Degraded::RerankerFailed)
            }
            None | Some(Err(ModelError::DeadlineExceeded)) => Err(Degraded::Deadline),
            Some(Err(ModelError::Overloaded { .. })) => Err(Degraded::RerankerOverloaded),
            Some(Err(error @ (ModelError::Input(_) | ModelError::Dead(_)))) => {
                tracing::debug!(%error, "reranking failed");
                Err(Degraded::RerankerFailed)
            }
        }
    }
}

fn took(step: &'static str, start: Instant) -> Duration {
    let took = start.elapsed();
    metrics::step(step, took);
    took
}

fn embed_error(error: ModelError) -> QueryError {
    match error {
        ModelError::Overloaded { limit } => {
            QueryError::Overloaded { what: "queries waiting for the embedder", limit }
        }
        ModelError::DeadlineExceeded => QueryError::DeadlineExceeded { step: "embed" },
        ModelError::Input(reason) => QueryError::NoEmbedding { reason },
        ModelError::Dead(detail) => {
            tracing::debug!(detail, "the embedder is gone");
            QueryError::Unavailable { what: "the embedder" }
        }
    }
}

/// What the store says stays here: it may quote rows (INV-7).
fn search_error(error: ServiceError) -> QueryError {
    tracing::debug!(%error, "the search failed");
    match error {
        ServiceError::Retry(_) | ServiceError::Unknown(_) => {
            QueryError::Unavailable { what: "the collection" }
        }
        ServiceError::Reject(_) => {
            QueryError::Internal { what: "the collection refused the search" }
        }
    }
}
