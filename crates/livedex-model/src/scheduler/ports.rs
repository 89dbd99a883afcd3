//! `Embedder` and `Reranker` over the device thread.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use livedex_core::ports::{Embedder, ModelError, ModelInfo, Reranker, TokenCounter};

use super::{
    admission::Admission,
    job::{Answer, Input, Scores},
    limits::TOKENIZE_PIECE,
    policy::Work,
    telemetry::{DROPPED_TOTAL, REASON},
};
use crate::backend::{EmbedTokenizer, ForwardError, PairTokenizer, PairTokens};

/// The embedder of a runtime.
pub(crate) struct EmbedPort {
    admission: Arc<Admission>,
    info: ModelInfo,
    tokenizer: Arc<dyn EmbedTokenizer>,
    /// Texts that are tokenized, and given slots, in one go.
    piece: usize,
}

impl EmbedPort {
    pub(crate) fn new(
        admission: Arc<Admission>,
        info: ModelInfo,
        tokenizer: Arc<dyn EmbedTokenizer>,
        ingest_queue: usize,
    ) -> Self {
        // A piece needs all its slots at once: with a quarter of the lane the device has work
        // while the next piece is being tokenized.
        let piece = (ingest_queue / 4).clamp(1, TOKENIZE_PIECE);
        Self { admission, info, tokenizer, piece }
    }
}

#[async_trait]
impl Embedder for EmbedPort {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokens(&self) -> Arc<dyn TokenCounter> {
        self.tokenizer.clone()
    }

    async fn embed_documents(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        let mut pending = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter();
        loop {
            let piece: Vec<String> = texts.by_ref().take(self.piece).collect();
            if piece.is_empty() {
                break;
            }
            let slots = self.admission.ingest_slots(piece.len()).await?;
            let tokenizer = self.tokenizer.clone();
            let encode = move |text: &String| tokenized(|| tokenizer.encode_document(text));
            let encoded =
                blocking(move || Ok(piece.iter().map(encode).collect::<Vec<_>>())).await?;
            for (ids, slot) in encoded.into_iter().zip(slots) {
                pending.push(match ids {
                    Ok(ids) => {
                        let input = Input::Sequence(ids);
                        Ok(self.admission.submit(Work::EmbedDocument, input, slot, None).await?)
                    }
                    Err(error) => Err(error),
                });
            }
        }
        let mut results = Vec::with_capacity(pending.len());
        for answer in pending {
            let result = match answer {
                Ok(answer) => self.admission.answer(answer).await,
                Err(error) => Err(error),
            };
            match result {
                Err(dead @ ModelError::Dead(_)) => return Err(dead),
                result => results.push(result),
            }
        }
        Ok(results)
    }

    async fn embed_query(
        &self,
        query: &str,
        instruction: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        until(deadline, async {
            let slot = self.admission.query_slot().await?;
            let tokenizer = self.tokenizer.clone();
            let (query, instruction) = (query.to_owned(), instruction.map(str::to_owned));
            let ids = blocking(move || {
                tokenized(|| tokenizer.encode_query(&query, instruction.as_deref()))
            })
            .await?;
            let input = Input::Sequence(ids);
            let answer = self.admission.submit(Work::EmbedQuery, input, slot, deadline).await?;
            self.admission.answer(answer).await
        })
        .await
    }
}

/// The reranker of a runtime.
pub(crate) struct RerankPort {
    admission: Arc<Admission>,
    info: ModelInfo,
    tokenizer: Arc<dyn PairTokenizer>,
}

impl RerankPort {
    pub(crate) fn new(
        admission: Arc<Admission>,
        info: ModelInfo,
        tokenizer: Arc<dyn PairTokenizer>,
    ) -> Self {
        Self { admission, info, tokenizer }
    }
}

#[async_trait]
impl Reranker for RerankPort {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn rerank(
        &self,
        query: &str,
        instruction: Option<&str>,
        documents: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let scored = Scores::default();
        let mut counts: Vec<usize> = Vec::new();
        let answer = until(deadline, async {
            let slot = self.admission.query_slot().await?;
            let tokenizer = self.tokenizer.clone();
            let (query, instruction) = (query.to_owned(), instruction.map(str::to_owned));
            let parts: Vec<Vec<PairTokens>> = blocking(move || {
                let encode = |document: &String| {
                    tokenized(|| tokenizer.encode(&query, instruction.as_deref(), document))
                };
                documents.iter().map(encode).collect()
            })
            .await?;
            counts = parts.iter().map(Vec::len).collect();
            let pairs: Vec<PairTokens> = parts.into_iter().flatten().collect();
            let input = Input::pairs(pairs, scored.clone());
            let answer = self.admission.submit(Work::Rerank, input, slot, deadline).await?;
            self.admission.answer(answer).await
        })
        .await;
        let scores = match answer {
            Err(ModelError::DeadlineExceeded) => best_parts(&scored.so_far(), &counts),
            answer => best_parts(&answer?, &counts),
        };
        if scores.is_empty() { Err(ModelError::DeadlineExceeded) } else { Ok(scores) }
    }
}

/// Of the scores of documents' parts, each document's best, for as many documents as have all of
/// theirs.
fn best_parts(scores: &[f32], counts: &[usize]) -> Vec<f32> {
    let mut rest = scores;
    let mut best = |count: &usize| {
        let (parts, tail) = rest.split_at_checked(*count)?;
        rest = tail;
        Some(parts.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    };
    counts.iter().map_while(&mut best).collect()
}

/// Answers by the deadline, whatever the device is doing. The request that is given up is
/// dropped by the device thread before it costs anything.
async fn until(deadline: Option<Instant>, answer: impl Future<Output = Answer> + Send) -> Answer {
    let Some(deadline) = deadline else {
        return answer.await;
    };
    if deadline <= Instant::now() {
        metrics::counter!(DROPPED_TOTAL, REASON => "deadline").increment(1);
        return Err(ModelError::DeadlineExceeded);
    }
    tokio::time::timeout_at(deadline.into(), answer)
        .await
        .unwrap_or(Err(ModelError::DeadlineExceeded))
}

/// Runs a tokenizer: neither the async runtime nor the device thread waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only when the async runtime is shutting down: panics are caught below.
        Err(_) => Err(ModelError::Dead("the async runtime is shutting down".to_owned())),
    }
}

/// A tokenizer that fails or panics on a text has no result for that text.
fn tokenized<T>(encode: impl FnOnce() -> Result<T, ForwardError>) -> Result<T, ModelError> {
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(result) => result.map_err(|error| ModelError::Input(error.to_string())),
        Err(_) => Err(ModelError::Input("the tokenizer panicked".to_owned())),
    }
}
