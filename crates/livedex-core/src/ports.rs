//! The traits that the pipeline and the service are written against.
//!
//! They return futures, but nothing here runs one: the implementations live in
//! `livedex-kafka`, `livedex-milvus` and `livedex-model`, and tests bring their own.

use std::{collections::HashMap, sync::Arc, time::Instant};

use async_trait::async_trait;

use crate::{
    deletion::{Deletion, DeletionId},
    document::Change,
    filter::Filter,
    ids::{ChunkId, DocumentKey},
    lease::Lease,
    query::{Candidate, Passage, PassageRequest, SearchRequest},
    record::{DeadLetterReason, RawRecord, SourcePosition},
    row::{ChunkRow, StoredRow},
};

/// An error of a server that decides what happens next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It may work later: the server is away, busy or over its quota.
    #[error("{0}")]
    Retry(String),
    /// It will never work with this request.
    #[error("{0}")]
    Reject(String),
    /// The outcome is not known (a deadline passed). Idempotent work is tried again.
    #[error("{0}")]
    Unknown(String),
}

/// Why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The lane's queue is full: too much is asked at once.
    #[error("the model's queue is full ({limit} requests)")]
    Overloaded {
        /// The queue's bound, in requests.
        limit: usize,
    },
    /// The deadline passed before the work was done, or would have.
    #[error("the deadline passed before the model had answered")]
    DeadlineExceeded,
    /// This input has no valid result (NaN, zero norm); others are not affected.
    #[error("the input has no valid result: {0}")]
    Input(String),
    /// The device or its thread is gone; the process should end.
    #[error("the model is not available: {0}")]
    Dead(String),
}

/// What a model is, for replies, for the collection's properties and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name or path it was loaded from, with its adapter, for people.
    pub name: String,
    /// A hash over weights, adapter, tokenizer, pooling and prompts: equal fingerprints give
    /// equal numbers.
    pub fingerprint: String,
    /// Numbers per embedding; 1 for a reranker.
    pub dimension: usize,
    /// Tokens that fit one input, special tokens included.
    pub max_tokens: usize,
}

/// Counts tokens as the embedder does, without special tokens. Pure: used by the chunker.
pub trait TokenCounter: Send + Sync {
    /// How many tokens `text` has.
    fn count(&self, text: &str) -> usize;
}

/// A bi-encoder (stage 1).
#[async_trait]
pub trait Embedder: Send + Sync {
    /// What it is.
    fn info(&self) -> &ModelInfo;
    /// Its tokenizer as a counter.
    fn tokens(&self) -> Arc<dyn TokenCounter>;
    /// Embeds documents' texts in the ingest lane: one result a text, in order, each
    /// L2-normalised. A text that has no valid embedding fails alone
    /// ([`ModelError::Input`]). Waits for room in the lane rather than refusing.
    async fn embed_documents(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError>;
    /// Embeds a query in the query lane, with the model's query prompt and `instruction` (the
    /// model's default if `None`; ignored by models without one).
    async fn embed_query(
        &self,
        query: &str,
        instruction: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError>;
}

/// A cross-encoder (stage 2).
#[async_trait]
pub trait Reranker: Send + Sync {
    /// What it is.
    fn info(&self) -> &ModelInfo;
    /// The probability, 0..=1, that each document answers the query, in order. At the deadline
    /// it answers with what it has: the scores of the first documents, at least one.
    async fn rerank(
        &self,
        query: &str,
        instruction: Option<&str>,
        documents: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError>;
}

/// The collection as the pipeline sees it.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// The rows of these documents, read with Strong consistency. Documents without rows are
    /// absent from the map.
    async fn stored_rows(
        &self,
        documents: &[DocumentKey],
    ) -> Result<HashMap<DocumentKey, Vec<StoredRow>>, ServiceError>;
    /// The stored vectors of these chunks; a chunk that is gone is absent from the map.
    async fn vectors(&self, ids: &[ChunkId]) -> Result<HashMap<ChunkId, Vec<f32>>, ServiceError>;
    /// Writes rows, in requests bounded in rows, bytes and time. Idempotent. Right before each
    /// request all of `leases`, those of the records that bring the rows, must live (INV-4);
    /// once one is dead the rest is not written: [`ServiceError::Retry`].
    async fn upsert(&self, rows: &[ChunkRow], leases: &[Lease]) -> Result<(), ServiceError>;
    /// Deletes rows by primary key. Idempotent. `leases` as for [`ChunkStore::upsert`].
    async fn delete(&self, ids: &[ChunkId], leases: &[Lease]) -> Result<(), ServiceError>;
    /// The offsets of these deletions, read with Strong consistency; absent from the map where
    /// nothing was deleted.
    async fn deletions(&self, ids: &[DeletionId])
    -> Result<HashMap<DeletionId, i64>, ServiceError>;
    /// Remembers deletions, each in the place of an earlier one with the same id. Ids are
    /// distinct. Idempotent. `leases` as for [`ChunkStore::upsert`].
    async fn record_deletions(
        &self,
        deletions: &[Deletion],
        leases: &[Lease],
    ) -> Result<(), ServiceError>;
    /// Called when the pipeline has caught up and is idle: a store that is slow on fresh rows
    /// (Milvus Lite) may flush; others do nothing.
    async fn settle(&self) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// The collection as the query service sees it.
#[async_trait]
pub trait Retriever: Send + Sync {
    /// Which collection it is: a random number that a collection gets when it is made, so that one
    /// that was dropped and made again is another. Empty if it has none.
    fn identity(&self) -> &str;
    /// Whether it can search by words ([`crate::query::Route::Bm25`]).
    fn has_bm25(&self) -> bool;
    /// Whether it can search with this filter, or why not, for the caller: without a value of the
    /// filter. A filter that is valid may still name what the collection cannot look up.
    fn check(&self, _filter: &Filter) -> Result<(), String> {
        Ok(())
    }
    /// The best chunks, best first; equal ones by key.
    async fn search(&self, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError>;
    /// The chunks at these places, in the order of the spans and then of their ordinals; each place
    /// once, with the chunk of the newest version. A place that nothing stands at is left out.
    async fn passages(&self, request: &PassageRequest) -> Result<Vec<Passage>, ServiceError>;
    /// How many rows the collection has; `None` if the implementation does not count them.
    async fn rows(&self) -> Result<Option<u64>, ServiceError> {
        Ok(None)
    }
}

/// Why a record was not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undecoded {
    /// It says nothing that can be understood, ever.
    Never(DeadLetterReason),
    /// What is needed to understand it is away (a schema registry). For the log.
    NotYet(String),
}

impl From<DeadLetterReason> for Undecoded {
    fn from(reason: DeadLetterReason) -> Self {
        Self::Never(reason)
    }
}

/// Turns a raw record into a change.
pub trait Decoder: Send + Sync {
    /// What the record says, or why it says nothing. May block.
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded>;
}

/// What a source tells the pipeline: a closed list.
#[derive(Debug)]
pub enum SourceEvent {
    /// Records, in offset order within each partition. Never empty.
    Records(Vec<RawRecord>),
    /// Nothing is waiting: every assigned partition has been read to its end.
    CaughtUp,
}

/// Where records come from.
#[async_trait]
pub trait RecordSource: Send {
    /// The next event; `None` once the source has been stopped and everything it had was
    /// handed out. An error is fatal: the process should end with it.
    async fn next(&mut self) -> Option<Result<SourceEvent, ServiceError>>;
    /// Where finished records are reported.
    fn acknowledger(&self) -> Arc<dyn Acknowledger>;
}

/// Told of every record that is finished: in the collection, or in the dead-letter topic.
pub trait Acknowledger: Send + Sync {
    /// `position` is finished. Out of order is fine: the watermark is contiguous (INV-3).
    /// A record whose lease is dead is ignored (INV-4).
    fn finish(&self, record: &FinishedRecord);
}

/// A record that is finished.
#[derive(Debug, Clone)]
pub struct FinishedRecord {
    /// Where it stood.
    pub position: SourcePosition,
    /// Its bytes, given back to the in-flight budget.
    pub bytes: usize,
    /// Its partition's lease when it was read.
    pub lease: Lease,
}

/// Where records go that can never be processed.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Returns once the dead letter is durable.
    async fn send(&self, record: &RawRecord, reason: &DeadLetterReason)
    -> Result<(), ServiceError>;
}
