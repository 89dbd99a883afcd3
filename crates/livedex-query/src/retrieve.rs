//! Stage 1: candidates, by one route or by several whose lists are fused.
//!
//! Each text of a request is a search of its own, by embedding, by words, or both; all run at the same
//! time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use livedex_core::{
    query::{Candidate, Mode, QueryRequest, Route, SearchRequest},
    ranking::{Retrieved, Scale, fuse},
};

use crate::{
    deadline::Deadline,
    error::QueryError,
    metrics,
    service::{Searched, Service, search_error},
};

/// What stage 1 found, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Best first.
    pub(crate) retrieved: Vec<Retrieved>,
    /// One entry a route.
    pub(crate) routes: Vec<RouteReport>,
    /// How many of the embeddings were remembered.
    pub(crate) embed_cached: usize,
    /// The time of embedding; `None` if nothing was to be embedded.
    pub(crate) embed: Option<Duration>,
    /// The time of searching.
    pub(crate) search: Duration,
}

/// A route and what it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteReport {
    /// What it looks at.
    pub scale: Scale,
    /// Which of the request's texts, from 0.
    pub query: usize,
    /// How many candidates it found.
    pub found: usize,
}

impl Service {
    /// The candidates of a request, at most `limit`.
    pub(crate) async fn retrieve(
        &self,
        request: &QueryRequest,
        collection: &Searched,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Found, QueryError> {
        let mode = self.mode(request);
        let texts: Vec<&str> =
            std::iter::once(&request.query).chain(&request.also).map(String::as_str).collect();

        let mut embed = None;
        let mut vectors: Vec<(Arc<[f32]>, bool)> = Vec::new();
        if mode != Mode::Bm25 {
            let start = Instant::now();
            let instruction = request.instruction.as_deref();
            vectors =
                try_join_all(texts.iter().map(|text| self.embed(text, instruction, deadline)))
                    .await?;
            embed = Some(start.elapsed());
            metrics::step("embed", start.elapsed());
        }
        let embed_cached = vectors.iter().filter(|(_, was_cached)| *was_cached).count();

        let mut routes: Vec<(Scale, usize, Route)> = Vec::new();
        for (query, (vector, _)) in vectors.iter().enumerate() {
            routes.push((Scale::Cosine, query, Route::Dense(vector.to_vec())));
        }
        if mode != Mode::Dense {
            for (query, &text) in texts.iter().enumerate() {
                routes.push((Scale::Bm25, query, Route::Bm25(text.to_owned())));
            }
        }

        let start = Instant::now();
        let searches = routes.into_iter().map(|(scale, query, route)| {
            let request = SearchRequest {
                route,
                limit,
                tenant: request.tenant.clone(),
                filter: request.filter.clone(),
                consistency: request.consistency(),
                with_vectors: request.include_vectors,
            };
            async move {
                let found = collection.retriever.search(&request).await.map_err(search_error)?;
                Ok::<_, QueryError>((scale, query, found))
            }
        });
        let lists: Vec<(Scale, usize, Vec<Candidate>)> = deadline
            .bound(try_join_all(searches))
            .await
            .ok_or(QueryError::DeadlineExceeded { step: "search" })??;
        let search = start.elapsed();
        metrics::step("search", search);

        let report = |(scale, query, found): &(Scale, usize, Vec<Candidate>)| RouteReport {
            scale: *scale,
            query: *query,
            found: found.len(),
        };
        let routes = lists.iter().map(report).collect();
        let lists = lists.into_iter().map(|(scale, _, found)| (scale, found)).collect();
        Ok(Found { retrieved: fuse(lists, limit), routes, embed_cached, embed, search })
    }
}
