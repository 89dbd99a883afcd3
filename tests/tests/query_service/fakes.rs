//! The ports of a query, with switches.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use livedex_core::{
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    ports::{Embedder, ModelError, ModelInfo, Reranker, Retriever, ServiceError, TokenCounter},
    query::{Candidate, Passage, PassageRequest, SearchRequest},
    record::SourcePosition,
    row::ChunkFields,
};
use livedex_query::{QueryConfig, Service};
use livedex_testkit::embedder::Words;
use tokio::sync::Semaphore;

/// What happens to a query on its way.
pub(crate) struct World {
    /// How many searches may answer.
    pub(crate) gate: Semaphore,
    pub(crate) searches: AtomicUsize,
    pub(crate) search_error: Mutex<Option<ServiceError>>,
    pub(crate) last_search: Mutex<Option<SearchRequest>>,
    pub(crate) rerank_error: Mutex<Option<ModelError>>,
    /// How long the reranker takes.
    pub(crate) rerank_takes: Mutex<Duration>,
    /// Bytes of each candidate's text.
    pub(crate) text_bytes: AtomicUsize,
    embedder: ModelInfo,
    reranker: ModelInfo,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let info = |name: &str, dimension| ModelInfo {
            name: name.into(),
            fingerprint: format!("{name}-1"),
            dimension,
            max_tokens: 512,
        };
        Arc::new(Self {
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            searches: AtomicUsize::new(0),
            search_error: Mutex::new(None),
            last_search: Mutex::new(None),
            rerank_error: Mutex::new(None),
            rerank_takes: Mutex::new(Duration::ZERO),
            text_bytes: AtomicUsize::new(0),
            embedder: info("fake-embedder", 2),
            reranker: info("fake-reranker", 1),
        })
    }

    /// Searches wait from now on until they are let through.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn service(self: &Arc<Self>, config: QueryConfig) -> Service {
        Service {
            embedder: self.clone(),
            reranker: Some(self.clone()),
            retriever: self.clone(),
            collection: "fakes".into(),
            config,
        }
    }
}

#[async_trait]
impl Embedder for World {
    fn info(&self) -> &ModelInfo {
        &self.embedder
    }
    fn tokens(&self) -> Arc<dyn TokenCounter> {
        Arc::new(Words)
    }
    async fn embed_documents(
        &self,
        _: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        unreachable!("queries embed no documents")
    }
    async fn embed_query(
        &self,
        query: &str,
        _: Option<&str>,
        _: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        assert!(!query.contains("PANIC"), "a bug");
        Ok(vec![1.0, 0.0])
    }
}

#[async_trait]
impl Reranker for World {
    fn info(&self) -> &ModelInfo {
        &self.reranker
    }
    /// The later a candidate after stage 1, the better.
    async fn rerank(
        &self,
        _: &str,
        _: Option<&str>,
        documents: Vec<String>,
        _: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        let takes = *self.rerank_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if let Some(error) = self.rerank_error.lock().unwrap().clone() {
            return Err(error);
        }
        let n = documents.len() as f32;
        Ok((0..documents.len()).map(|index| (index as f32 + 1.0) / n).collect())
    }
}

#[async_trait]
impl Retriever for World {
    async fn search(&self, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError> {
        *self.last_search.lock().unwrap() = Some(request.clone());
        self.searches.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if let Some(error) = self.search_error.lock().unwrap().clone() {
            return Err(error);
        }
        let bytes = self.text_bytes.load(Ordering::SeqCst);
        Ok((0..request.limit).map(|index| candidate(index, bytes)).collect())
    }
    async fn rows(&self) -> Result<Option<u64>, ServiceError> {
        Ok(Some(7))
    }
    fn identity(&self) -> &str {
        "fakes"
    }
    fn has_bm25(&self) -> bool {
        true
    }
    async fn passages(&self, _: &PassageRequest) -> Result<Vec<Passage>, ServiceError> {
        Ok(Vec::new())
    }
}

fn candidate(index: usize, bytes: usize) -> Candidate {
    let text = format!("text {index} {}", "x".repeat(bytes));
    let hash = |text: &str| ContentHash::of([text.as_bytes()]);
    Candidate {
        score: 1.0 - index as f32 / 1000.0,
        vector: None,
        fields: ChunkFields {
            id: ChunkId::from_stored(hash(&text).as_str()),
            document: DocumentKey {
                tenant: Tenant::default(),
                id: DocumentId::new(format!("document-{index}")).unwrap(),
            },
            ordinal: 0,
            heading: "Heading".into(),
            title: "Title".into(),
            url: format!("https://example.org/{index}"),
            metadata: Default::default(),
            version: String::new(),
            updated_at_ms: 0,
            content_hash: hash(&text),
            attributes_hash: hash(""),
            position: SourcePosition { topic: "t".into(), partition: 0, offset: index as i64 },
            text,
        },
    }
}
