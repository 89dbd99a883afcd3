//! What answers: the models, the collections, and what is remembered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use livedex_core::{
    ids::Tenant,
    ports::{Embedder, ModelError, Reranker, Retriever, ServiceError},
    query::{Mode, QueryRequest},
    record::SourcePosition,
};

use crate::{
    cache::{Key, Memory},
    config::QueryConfig,
    deadline::Deadline,
    error::QueryError,
    freshness::{View, Watermarks},
};

/// A collection that is searched.
#[derive(Clone)]
pub struct Searched {
    /// Its name.
    pub name: String,
    /// The collection.
    pub retriever: Arc<dyn Retriever>,
}

impl Searched {
    /// Which collection it is; its name, if it was made before there were identities.
    pub fn identity(&self) -> &str {
        match self.retriever.identity() {
            "" => &self.name,
            identity => identity,
        }
    }

    /// How far ingestion into it is.
    pub(crate) fn view(&self, watermarks: &Watermarks) -> View {
        watermarks.view(&self.name, self.identity())
    }
}

/// Requests in the models' query lane, and texts in their ingest lane.
pub type Lanes = Arc<dyn Fn() -> (usize, usize) + Send + Sync>;

/// What answers requests. A clone is the same service.
#[derive(Clone)]
pub struct Service {
    /// Stage 1's model.
    pub embedder: Arc<dyn Embedder>,
    /// Stage 2's model; without it every answer that was to be reranked is degraded.
    pub reranker: Option<Arc<dyn Reranker>>,
    /// The collections, the default one first.
    pub collections: Arc<[Searched]>,
    /// Defaults and bounds.
    pub config: QueryConfig,
    /// How far ingestion is.
    pub watermarks: Watermarks,
    /// How many requests wait for the models, in the query lane and in the ingest lane; for STATS.
    pub lanes: Option<Lanes>,
    /// The reranker's, by query and text.
    pub(crate) scores: Memory<f32>,
    /// Queries'.
    embeddings: Memory<Arc<[f32]>>,
}

impl Service {
    /// A service over `first`, and over `others` for those who name them.
    pub fn new(
        embedder: Arc<dyn Embedder>,
        reranker: Option<Arc<dyn Reranker>>,
        first: Searched,
        others: Vec<Searched>,
        config: QueryConfig,
    ) -> Self {
        let bytes = embedder.info().dimension * size_of::<f32>();
        Self {
            scores: Memory::new("rerank", config.rerank_cache_bytes, size_of::<f32>()),
            embeddings: Memory::new("embedding", config.embedding_cache_bytes, bytes),
            watermarks: Watermarks::default(),
            lanes: None,
            collections: std::iter::once(first).chain(others).collect(),
            embedder,
            reranker,
            config,
        }
    }

    /// The collection of this name, or the default one.
    pub fn collection(&self, name: Option<&str>) -> Result<&Searched, QueryError> {
        let found = match name {
            None => self.collections.first(),
            Some(name) => self.collections.iter().find(|collection| collection.name == name),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.collections.iter().map(|one| one.name.as_str()).collect();
            QueryError::UnknownCollection {
                name: name.unwrap_or_default().chars().take(64).collect(),
                known: known.join(", "),
            }
        })
    }

    /// Refuses a request without a tenant where each must have one.
    pub(crate) fn check_tenant(&self, tenant: Option<&Tenant>) -> Result<(), QueryError> {
        match self.config.require_tenant && tenant.is_none() {
            true => Err(QueryError::TenantMissing),
            false => Ok(()),
        }
    }

    /// Refuses what this collection can never answer, before it costs anything.
    pub(crate) fn check(
        &self,
        request: &QueryRequest,
        collection: &Searched,
    ) -> Result<(), QueryError> {
        self.check_tenant(request.tenant.as_ref())?;
        if self.mode(request) != Mode::Dense && !collection.retriever.has_bm25() {
            return Err(QueryError::NoBm25 { collection: collection.name.clone() });
        }
        match &request.filter {
            Some(filter) => {
                collection.retriever.check(filter).map_err(|problem| QueryError::Filter { problem })
            }
            None => Ok(()),
        }
    }

    /// How stage 1 is to search.
    pub(crate) fn mode(&self, request: &QueryRequest) -> Mode {
        request.mode.unwrap_or(self.config.mode)
    }

    /// The embedding of a query, and whether it was remembered.
    pub(crate) async fn embed(
        &self,
        text: &str,
        instruction: Option<&str>,
        deadline: Deadline,
    ) -> Result<(Arc<[f32]>, bool), QueryError> {
        let key = Key::of_query(&self.embedder.info().fingerprint, instruction, text);
        if let [Some(vector)] = self.embeddings.get(&[key]).as_slice() {
            return Ok((vector.clone(), true));
        }
        let embedding = self.embedder.embed_query(text, instruction, Some(deadline.reply_by()));
        let vector = deadline
            .bound(embedding)
            .await
            .ok_or(QueryError::DeadlineExceeded { step: "embed" })?
            .map_err(embed_error)?;
        let vector: Arc<[f32]> = vector.into();
        self.embeddings.put(key, vector.clone());
        Ok((vector, false))
    }

    /// Waits until the records are in the collection, and says how long that took.
    pub(crate) async fn wait_for(
        &self,
        collection: &Searched,
        after: &[SourcePosition],
        deadline: Deadline,
    ) -> Result<Duration, QueryError> {
        let start = Instant::now();
        let (name, own) = (&collection.name, collection.identity());
        let waited = self.watermarks.wait(name, own, after, deadline.reply_by()).await;
        waited.map_err(|missing| QueryError::NotYet { missing })?;
        Ok(start.elapsed())
    }
}

pub(crate) fn embed_error(error: ModelError) -> QueryError {
    match error {
        ModelError::Overloaded { limit } => QueryError::Overloaded {
            what: "requests waiting for the models",
            limit,
            retry_after: MODEL_RETRY,
        },
        ModelError::DeadlineExceeded => QueryError::DeadlineExceeded { step: "embed" },
        ModelError::Input(reason) => QueryError::NoEmbedding { reason },
        ModelError::Dead(detail) => {
            tracing::debug!(detail, "the embedder is gone");
            QueryError::Unavailable { what: "the embedder" }
        }
    }
}

/// When the models may have room again: a few micro-batches.
pub(crate) const MODEL_RETRY: Duration = Duration::from_millis(100);

/// What the store says stays here: it may quote rows (INV-7).
pub(crate) fn search_error(error: ServiceError) -> QueryError {
    tracing::debug!(%error, "the collection did not answer");
    match error {
        ServiceError::Retry(_) | ServiceError::Unknown(_) => {
            QueryError::Unavailable { what: "the collection" }
        }
        ServiceError::Reject(_) => {
            QueryError::Internal { what: "the collection refused the search" }
        }
    }
}
