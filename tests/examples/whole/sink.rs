//! A store that costs nothing: it keeps nothing.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use livedex_core::{
    deletion::{Deletion, DeletionId},
    ids::{ChunkId, DocumentKey},
    lease::Lease,
    ports::{ChunkStore, ServiceError},
    row::{ChunkRow, StoredRow},
};

/// Empty whatever is written; counts the rows.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) rows: AtomicU64,
}

#[async_trait]
impl ChunkStore for Sink {
    async fn stored_rows(
        &self,
        _documents: &[DocumentKey],
    ) -> Result<HashMap<DocumentKey, Vec<StoredRow>>, ServiceError> {
        Ok(HashMap::new())
    }

    async fn vectors(&self, _ids: &[ChunkId]) -> Result<HashMap<ChunkId, Vec<f32>>, ServiceError> {
        Ok(HashMap::new())
    }

    async fn upsert(&self, rows: &[ChunkRow], _leases: &[Lease]) -> Result<(), ServiceError> {
        self.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn delete(&self, _ids: &[ChunkId], _leases: &[Lease]) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn deletions(
        &self,
        _ids: &[DeletionId],
    ) -> Result<HashMap<DeletionId, i64>, ServiceError> {
        Ok(HashMap::new())
    }

    async fn record_deletions(
        &self,
        _deletions: &[Deletion],
        _leases: &[Lease],
    ) -> Result<(), ServiceError> {
        Ok(())
    }
}
