//! The ports of a query, with switches.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use livedex_core::{
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    ports::{Embedder, ModelError, ModelInfo, Reranker, Retriever, ServiceError, TokenCounter},
    query::{Candidate, Passage, PassageRequest, Route, SearchRequest},
    record::SourcePosition,
    row::ChunkFields,
};
use livedex_query::{QueryConfig, Searched, Service};
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
    /// How many texts the reranker gets to before its deadline.
    pub(crate) rerank_most: AtomicUsize,
    /// Queries embedded, and pairs scored.
    pub(crate) embedded: AtomicUsize,
    pub(crate) scored: AtomicUsize,
    /// Chunks of a document: candidate i is chunk i % this of document i / this.
    pub(crate) chunks: AtomicUsize,
    pub(crate) has_bm25: AtomicBool,
    pub(crate) last_passages: Mutex<Option<PassageRequest>>,
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
            rerank_most: AtomicUsize::new(usize::MAX),
            embedded: AtomicUsize::new(0),
            scored: AtomicUsize::new(0),
            chunks: AtomicUsize::new(1),
            has_bm25: AtomicBool::new(true),
            last_passages: Mutex::new(None),
            embedder: info("fake-embedder", 2),
            reranker: info("fake-reranker", 1),
        })
    }

    /// Searches wait from now on until they are let through.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn service(self: &Arc<Self>, config: QueryConfig) -> Service {
        let searched = |name: &str| Searched { name: name.to_owned(), retriever: self.clone() };
        let others = vec![searched("others")];
        Service::new(self.clone(), Some(self.clone()), searched("fakes"), others, config)
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
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        let embed = |text: &String| match text.contains("NAN") {
            true => Err(ModelError::Input("NaN".into())),
            false => Ok(vec![0.0, 1.0]),
        };
        Ok(texts.iter().map(embed).collect())
    }
    async fn embed_query(
        &self,
        query: &str,
        _: Option<&str>,
        _: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        assert!(!query.contains("PANIC"), "a bug");
        self.embedded.fetch_add(1, Ordering::SeqCst);
        Ok(vec![1.0, 0.0])
    }
}

#[async_trait]
impl Reranker for World {
    fn info(&self) -> &ModelInfo {
        &self.reranker
    }
    /// The later a candidate after stage 1, the better; a text that is a number is its own score.
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
        let score =
            |(index, text): (usize, &String)| text.parse().unwrap_or((index as f32 + 1.0) / n);
        let most = self.rerank_most.load(Ordering::SeqCst);
        let scores: Vec<f32> = documents.iter().enumerate().map(score).take(most).collect();
        self.scored.fetch_add(scores.len(), Ordering::SeqCst);
        if scores.is_empty() { Err(ModelError::DeadlineExceeded) } else { Ok(scores) }
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
        let (bytes, chunks) =
            (self.text_bytes.load(Ordering::SeqCst), self.chunks.load(Ordering::SeqCst));
        let found = (0..request.limit).map(|index| {
            let fields = chunk(index / chunks, (index % chunks) as u32, bytes);
            let score = match &request.route {
                Route::Dense(_) => 1.0 - index as f32 / 1000.0,
                // Words find half as many, and the other way round.
                Route::Bm25(_) if index % 2 == 0 => index as f32,
                Route::Bm25(_) => return None,
            };
            let vector = request.with_vectors.then(|| vec![1.0, 0.0]);
            Some(Candidate { fields, score, vector })
        });
        Ok(found.flatten().collect())
    }
    async fn rows(&self) -> Result<Option<u64>, ServiceError> {
        Ok(Some(7))
    }
    fn identity(&self) -> &str {
        "fakes"
    }
    fn has_bm25(&self) -> bool {
        self.has_bm25.load(Ordering::SeqCst)
    }
    /// Documents named `document-N` have as many chunks as candidates say.
    async fn passages(&self, request: &PassageRequest) -> Result<Vec<Passage>, ServiceError> {
        *self.last_passages.lock().unwrap() = Some(request.clone());
        let (bytes, chunks) =
            (self.text_bytes.load(Ordering::SeqCst), self.chunks.load(Ordering::SeqCst));
        let mut found = Vec::new();
        for span in &request.spans {
            let number = span.document.id.as_str().strip_prefix("document-");
            let Some(Ok(number)) = number.map(str::parse) else { continue };
            for ordinal in span.ordinals.clone().take_while(|ordinal| *ordinal < chunks as u32) {
                let vector = request.with_vectors.then(|| vec![1.0, 0.0]);
                found.push(Passage { fields: chunk(number, ordinal, bytes), vector });
            }
        }
        Ok(found)
    }
}

fn chunk(document: usize, ordinal: u32, bytes: usize) -> ChunkFields {
    let mut text = format!("text {document} {}", "x".repeat(bytes));
    if ordinal > 0 {
        text = format!("chunk {ordinal} {text}");
    }
    let hash = |text: &str| ContentHash::of([text.as_bytes()]);
    ChunkFields {
        id: ChunkId::from_stored(hash(&text).as_str()),
        document: DocumentKey {
            tenant: Tenant::default(),
            id: DocumentId::new(format!("document-{document}")).unwrap(),
        },
        ordinal,
        heading: "Heading".into(),
        title: "Title".into(),
        url: format!("https://example.org/{document}"),
        metadata: Default::default(),
        version: String::new(),
        updated_at_ms: 0,
        content_hash: hash(&text),
        attributes_hash: hash(""),
        position: SourcePosition { topic: "t".into(), partition: 0, offset: document as i64 },
        text,
    }
}
