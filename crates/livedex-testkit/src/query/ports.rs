//! A device that computes one reranking after the other, and a collection in memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use livedex_core::{
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    ports::{ModelError, ModelInfo, Reranker, Retriever, ServiceError},
    query::{Candidate, Passage, PassageRequest, SearchRequest},
    record::SourcePosition,
    row::ChunkFields,
};
use tokio::sync::Mutex;

/// A reranker that needs `takes` for each request, one after the other, first come, first served.
#[derive(Debug)]
pub struct SerialReranker {
    info: ModelInfo,
    takes: Duration,
    device: Mutex<()>,
}

impl SerialReranker {
    /// With a device that is free.
    pub fn new(takes: Duration) -> Self {
        let info = ModelInfo {
            name: "serial".to_owned(),
            fingerprint: "serial".to_owned(),
            dimension: 1,
            max_tokens: usize::MAX,
        };
        Self { info, takes, device: Mutex::new(()) }
    }
}

#[async_trait]
impl Reranker for SerialReranker {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn rerank(
        &self,
        _: &str,
        _: Option<&str>,
        documents: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        let _turn = self.device.lock().await;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ModelError::DeadlineExceeded);
        }
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let n = documents.len() as f32;
        Ok((0..documents.len()).map(|index| 1.0 - index as f32 / n).collect())
    }
}

/// A collection of as many chunks as are asked for, found in no time.
#[derive(Debug)]
pub struct Shelf {
    chunks: Vec<ChunkFields>,
}

impl Shelf {
    /// With `n` chunks of `bytes` bytes of text each.
    pub fn new(n: usize, bytes: usize) -> anyhow::Result<Arc<Self>> {
        let chunks = (0..n).map(|index| chunk(index, bytes)).collect::<anyhow::Result<_>>()?;
        Ok(Arc::new(Self { chunks }))
    }
}

fn chunk(index: usize, bytes: usize) -> anyhow::Result<ChunkFields> {
    let text = format!("{index} {}", "word ".repeat(bytes / 5));
    let hash = ContentHash::of([text.as_bytes()]);
    Ok(ChunkFields {
        id: ChunkId::from_stored(hash.as_str()),
        document: DocumentKey {
            tenant: Tenant::default(),
            id: DocumentId::new(format!("document-{index}"))?,
        },
        ordinal: 0,
        heading: String::new(),
        title: "Title".to_owned(),
        url: String::new(),
        metadata: Arc::default(),
        version: String::new(),
        updated_at_ms: 0,
        attributes_hash: hash.clone(),
        content_hash: hash,
        position: SourcePosition { topic: "topic".into(), partition: 0, offset: index as i64 },
        text,
    })
}

#[async_trait]
impl Retriever for Shelf {
    fn identity(&self) -> &str {
        "shelf"
    }

    fn has_bm25(&self) -> bool {
        false
    }

    async fn search(&self, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError> {
        let candidate = |(index, fields): (usize, &ChunkFields)| Candidate {
            fields: fields.clone(),
            score: 1.0 - index as f32 / self.chunks.len() as f32,
            vector: None,
        };
        Ok(self.chunks.iter().enumerate().take(request.limit).map(candidate).collect())
    }

    async fn passages(&self, _: &PassageRequest) -> Result<Vec<Passage>, ServiceError> {
        Ok(Vec::new())
    }
}
