//! One query from its text to its hits.
//!
//! Stage 1 finds candidates (`retrieve`), stage 2 scores each of them with the query,
//! read as it was embedded (title, headings, text), and both scores are fused. Every step ends at the
//! deadline. When stage 2 cannot score all of them, the answer says so: never silently.

use std::time::{Duration, Instant};

use livedex_core::{
    chunk::embed_text,
    query::{Passage, PassageRequest, QueryRequest, Span},
    ranking::{Group, group, rank},
};

use crate::{
    deadline::Deadline,
    error::QueryError,
    metrics,
    rerank::{Degraded, Scored},
    retrieve::RouteReport,
    service::{Searched, Service, search_error},
};

/// The hits of a query and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best hits, best first.
    pub hits: Vec<Group>,
    /// The chunks around each hit, in the order of `hits`, each in its document's order.
    pub neighbours: Vec<Vec<Passage>>,
    /// How many candidates stage 1 found.
    pub n_candidates: usize,
    /// Why not all of what was asked for was done.
    pub degraded: Option<Degraded>,
    /// How many candidates have a score of stage 2.
    pub reranked: usize,
    /// How many of these were remembered.
    pub rerank_cached: usize,
    /// How many embeddings of the query's texts were remembered.
    pub embed_cached: usize,
    /// Stage 1's routes.
    pub routes: Vec<RouteReport>,
    /// The time of each step.
    pub timings: Timings,
}

/// The time of each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for the records that the request wants to see; `None` if it names none.
    pub wait: Option<Duration>,
    /// Embedding the query, with the wait for its turn; `None` if it was not needed.
    pub embed: Option<Duration>,
    /// Searching the collection.
    pub search: Duration,
    /// Scoring the candidates, with the wait for their turn; `None` if it was not asked for.
    pub rerank: Option<Duration>,
    /// Reading the chunks around the hits; `None` if they were not asked for.
    pub neighbours: Option<Duration>,
}

impl Service {
    /// Answers a query that has been checked, and whose records are there.
    pub async fn answer(
        &self,
        request: &QueryRequest,
        collection: &Searched,
        deadline: Deadline,
    ) -> Result<Answer, QueryError> {
        let (top_k, n_candidates) = self.sizes(request);
        let found = self.retrieve(request, collection, n_candidates, deadline).await?;
        let mut timings =
            Timings { embed: found.embed, search: found.search, ..Timings::default() };

        let retrieved = found.retrieved;
        let n_candidates = retrieved.len();
        let mut scored = Scored::default();
        let is_reranked = request.rerank && n_candidates > 0;
        if is_reranked {
            let start = Instant::now();
            let texts = retrieved
                .iter()
                .map(|one| embed_text(&one.fields.title, &one.fields.heading, &one.fields.text))
                .collect();
            let instruction = request.instruction.as_deref();
            scored = self.score(&request.query, instruction, texts, deadline).await;
            timings.rerank = Some(took("rerank", start));
        }
        let reranked = scored.count();
        // Without a single score the order is stage 1's, and so is the score.
        let scores = (reranked > 0).then_some(scored.scores.as_slice());
        let ranked = rank(retrieved, scores, self.config.fusion);
        let hits = group(ranked, request.group_by_document, request.min_score, top_k);

        let mut degraded = scored.degraded;
        let mut neighbours = Vec::new();
        if request.neighbours > 0 && !hits.is_empty() {
            let start = Instant::now();
            match self.neighbours(request, collection, &hits, deadline).await {
                Ok(found) => neighbours = found,
                Err(error) => {
                    let reason = match error {
                        QueryError::DeadlineExceeded { .. } => Degraded::Deadline,
                        _ => Degraded::NeighboursFailed,
                    };
                    degraded.get_or_insert(reason);
                }
            }
            timings.neighbours = Some(took("neighbours", start));
        }
        Ok(Answer {
            hits,
            neighbours,
            n_candidates,
            degraded,
            reranked,
            rerank_cached: scored.cached,
            embed_cached: found.embed_cached,
            routes: found.routes,
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

    /// The chunks around each hit, without the hit itself.
    async fn neighbours(
        &self,
        request: &QueryRequest,
        collection: &Searched,
        hits: &[Group],
        deadline: Deadline,
    ) -> Result<Vec<Vec<Passage>>, QueryError> {
        let reach = u32::try_from(request.neighbours).unwrap_or(u32::MAX);
        let span = |group: &Group| {
            let fields = &group.best.fields;
            let from = fields.ordinal.saturating_sub(reach);
            Span {
                document: fields.document.clone(),
                ordinals: from..=fields.ordinal.saturating_add(reach),
            }
        };
        let spans: Vec<Span> = hits.iter().map(span).collect();
        let passages = PassageRequest {
            spans: spans.clone(),
            consistency: request.consistency(),
            with_vectors: request.include_vectors,
        };
        let found = self.passages(collection, &passages, deadline, "neighbours").await?;
        let around = |(group, span): (&Group, &Span)| {
            let is_around = |passage: &&Passage| {
                let fields = &passage.fields;
                span.document == fields.document
                    && span.ordinals.contains(&fields.ordinal)
                    && fields.ordinal != group.best.fields.ordinal
            };
            found.iter().filter(is_around).cloned().collect()
        };
        Ok(hits.iter().zip(&spans).map(around).collect())
    }

    /// Chunks by their places.
    pub(crate) async fn passages(
        &self,
        collection: &Searched,
        request: &PassageRequest,
        deadline: Deadline,
        step: &'static str,
    ) -> Result<Vec<Passage>, QueryError> {
        deadline
            .bound(collection.retriever.passages(request))
            .await
            .ok_or(QueryError::DeadlineExceeded { step })?
            .map_err(search_error)
    }
}

fn took(step: &'static str, start: Instant) -> Duration {
    let took = start.elapsed();
    metrics::step(step, took);
    took
}
