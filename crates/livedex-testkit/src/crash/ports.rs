//! The ports with a fault at each named point. What they do otherwise is the inner port's work.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use livedex_core::{
    deletion::{Deletion, DeletionId},
    ids::{ChunkId, DocumentKey},
    lease::Lease,
    ports::{
        Acknowledger, ChunkStore, DeadLetters, Embedder, FinishedRecord, ModelError, ModelInfo,
        RecordSource, ServiceError, SourceEvent, TokenCounter,
    },
    record::{DeadLetterReason, RawRecord},
    row::{ChunkRow, StoredRow},
};
use tokio::task;

use super::faults::{Faults, Next, Point};

/// A text with this word has no embedding ([`ModelError::Input`]).
pub const UNEMBEDDABLE: &str = "UNEMBEDDABLE";

/// A text with this word gets a vector of NaN.
pub const NOT_A_NUMBER: &str = "NOTANUMBER";

/// A source with [`Point::AfterFetch`], and its acknowledger.
pub struct FaultySource {
    /// The source.
    pub inner: Box<dyn RecordSource>,
    /// The faults.
    pub faults: Arc<Faults>,
}

#[async_trait]
impl RecordSource for FaultySource {
    async fn next(&mut self) -> Option<Result<SourceEvent, ServiceError>> {
        let event = self.inner.next().await;
        if let Some(Ok(SourceEvent::Records(_))) = event {
            // Reading does not fail: a source's error ends the process.
            let _ = self.faults.pass(Point::AfterFetch);
        }
        event
    }

    fn acknowledger(&self) -> Arc<dyn Acknowledger> {
        let faults = Arc::clone(&self.faults);
        Arc::new(FaultyAcknowledger { inner: self.inner.acknowledger(), faults })
    }
}

/// An acknowledger with [`Point::AfterWriteBeforeAck`] and [`Point::AfterAckBeforeCommit`].
struct FaultyAcknowledger {
    inner: Arc<dyn Acknowledger>,
    faults: Arc<Faults>,
}

impl Acknowledger for FaultyAcknowledger {
    fn finish(&self, record: &FinishedRecord) {
        if !self.faults.is_buried(&record.position) {
            let _ = self.faults.pass(Point::AfterWriteBeforeAck);
        }
        self.inner.finish(record);
        let _ = self.faults.pass(Point::AfterAckBeforeCommit);
    }
}

/// An embedder with [`Point::AfterEmbed`] that takes its time, and that two words are poison to.
pub struct FaultyEmbedder<E> {
    /// The embedder.
    pub inner: E,
    /// How long each call takes at least.
    pub delay: Duration,
    /// The faults.
    pub faults: Arc<Faults>,
}

#[async_trait]
impl<E: Embedder> Embedder for FaultyEmbedder<E> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn tokens(&self) -> Arc<dyn TokenCounter> {
        self.inner.tokens()
    }

    async fn embed_documents(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        tokio::time::sleep(self.delay).await;
        let poisoned: Vec<Option<&str>> = texts.iter().map(|text| poison(text)).collect();
        let answers = self.inner.embed_documents(texts).await?;
        let answers = answers.into_iter().zip(poisoned).map(|(answer, poison)| match poison {
            Some(UNEMBEDDABLE) => Err(ModelError::Input("the text is marked as poison".to_owned())),
            Some(_) => answer.map(|vector| vec![f32::NAN; vector.len()]),
            None => answer,
        });
        let answers = answers.collect();
        let _ = self.faults.pass(Point::AfterEmbed);
        Ok(answers)
    }

    async fn embed_query(
        &self,
        query: &str,
        instruction: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        self.inner.embed_query(query, instruction, deadline).await
    }
}

fn poison(text: &str) -> Option<&'static str> {
    [UNEMBEDDABLE, NOT_A_NUMBER].into_iter().find(|word| text.contains(word))
}

/// A store with [`Point::BeforeUpsert`], [`Point::AfterUpsertBeforeDelete`] and
/// [`Point::AfterLedgerBeforeDelete`].
pub struct FaultyStore {
    inner: Arc<dyn ChunkStore>,
    faults: Arc<Faults>,
    /// Waves that have written rows and deleted none yet: each wave is a task of its own.
    written: Mutex<HashSet<task::Id>>,
}

impl FaultyStore {
    /// A layer around `inner`.
    pub fn new(inner: Arc<dyn ChunkStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults, written: Mutex::default() }
    }

    fn fail<T>(&self, rpc: &str) -> Result<T, ServiceError> {
        Err(ServiceError::Retry(format!("{rpc} fails on purpose")))
    }

    fn written(&self) -> std::sync::MutexGuard<'_, HashSet<task::Id>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChunkStore for FaultyStore {
    async fn stored_rows(
        &self,
        documents: &[DocumentKey],
    ) -> Result<HashMap<DocumentKey, Vec<StoredRow>>, ServiceError> {
        self.inner.stored_rows(documents).await
    }

    async fn vectors(&self, ids: &[ChunkId]) -> Result<HashMap<ChunkId, Vec<f32>>, ServiceError> {
        self.inner.vectors(ids).await
    }

    async fn upsert(&self, rows: &[ChunkRow], leases: &[Lease]) -> Result<(), ServiceError> {
        if self.faults.pass(Point::BeforeUpsert) == Next::Fail {
            return self.fail("upsert");
        }
        self.inner.upsert(rows, leases).await?;
        self.written().extend(task::try_id());
        Ok(())
    }

    async fn delete(&self, ids: &[ChunkId], leases: &[Lease]) -> Result<(), ServiceError> {
        let is_update = task::try_id().is_some_and(|wave| self.written().remove(&wave));
        if is_update && self.faults.pass(Point::AfterUpsertBeforeDelete) == Next::Fail {
            return self.fail("delete");
        }
        self.inner.delete(ids, leases).await
    }

    async fn deletions(
        &self,
        ids: &[DeletionId],
    ) -> Result<HashMap<DeletionId, i64>, ServiceError> {
        self.inner.deletions(ids).await
    }

    async fn record_deletions(
        &self,
        deletions: &[Deletion],
        leases: &[Lease],
    ) -> Result<(), ServiceError> {
        self.inner.record_deletions(deletions, leases).await?;
        let _ = self.faults.pass(Point::AfterLedgerBeforeDelete);
        Ok(())
    }

    async fn settle(&self) -> Result<(), ServiceError> {
        self.inner.settle().await
    }
}

/// Dead letters with [`Point::BeforeDeadLetter`] and [`Point::AfterDeadLetterBeforeAck`].
pub struct FaultyLetters {
    /// The sink.
    pub inner: Arc<dyn DeadLetters>,
    /// The faults.
    pub faults: Arc<Faults>,
}

#[async_trait]
impl DeadLetters for FaultyLetters {
    async fn send(
        &self,
        record: &RawRecord,
        reason: &DeadLetterReason,
    ) -> Result<(), ServiceError> {
        if self.faults.pass(Point::BeforeDeadLetter) == Next::Fail {
            return Err(ServiceError::Retry("the dead letter fails on purpose".to_owned()));
        }
        self.inner.send(record, reason).await?;
        self.faults.bury(&record.position);
        let _ = self.faults.pass(Point::AfterDeadLetterBeforeAck);
        Ok(())
    }
}
