//! The `ChunkStore`: what the pipeline reads and writes.
//!
//! Writes carry the whole row (never a partial update: Milvus' own merge loses fields under
//! concurrency, milvus #49980) and are idempotent, so an unknown outcome is simply tried again.
//! A write looks at its leases last, behind everything it waits for, so that from that look on it
//! takes no longer than one RPC's deadline (INV-4).

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use livedex_core::{
    deletion::{Deletion, DeletionId},
    ids::{ChunkId, DocumentKey},
    lease::Lease,
    limits::{MAX_DIFF_DOCUMENTS, MAX_UPSERT_ROWS},
    ports::{ChunkStore, ServiceError},
    row::{ChunkRow, StoredRow},
};
use metrics::counter;
use milvus::v2::{
    request::dml::{DeleteRequest, InsertRequest, UpsertRequest},
    types::ConsistencyLevel,
};

use crate::{
    batch::batches,
    classify::Effect,
    collection::Collection,
    columns::{Columns, columns},
    literal::{push_string, string_in},
    names,
    page::vector_row_bytes,
    schema::field,
};

/// Rows of a page of the diff query: at the longest tenant, document id and topic a row takes
/// 1.7 kB, so that a page stays within the reply that can be decoded.
const STORED_ROWS: usize = 2000;

#[async_trait]
impl ChunkStore for Collection {
    async fn stored_rows(
        &self,
        documents: &[DocumentKey],
    ) -> Result<HashMap<DocumentKey, Vec<StoredRow>>, ServiceError> {
        let fields = [
            field::ID,
            field::TENANT,
            field::DOCUMENT_ID,
            field::ATTRIBUTES_HASH,
            field::SOURCE_TOPIC,
            field::SOURCE_PARTITION,
            field::SOURCE_OFFSET,
        ];
        let mut found: HashMap<DocumentKey, Vec<StoredRow>> = HashMap::new();
        for documents in documents.chunks(MAX_DIFF_DOCUMENTS) {
            let filter = documents_filter(documents);
            let strong = ConsistencyLevel::Strong;
            self.pages("stored_rows", &filter, &fields, STORED_ROWS, strong, |page| {
                let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
                for (document, row) in columns.stored_rows()? {
                    found.entry(document).or_default().push(row);
                }
                Ok(())
            })
            .await?;
        }
        Ok(found)
    }

    async fn vectors(&self, ids: &[ChunkId]) -> Result<HashMap<ChunkId, Vec<f32>>, ServiceError> {
        let ids: Vec<&str> = ids.iter().map(ChunkId::as_str).collect();
        let mut found = HashMap::with_capacity(ids.len());
        let bytes = vector_row_bytes(self.dimension());
        let fields = [field::ID, field::VECTOR];
        self.by_keys("vectors", &ids, &fields, bytes, ConsistencyLevel::Strong, |page| {
            let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
            let rows = columns.texts(field::ID)?.iter().zip(columns.vectors()?);
            found.extend(rows.map(|(id, vector)| (ChunkId::from_stored(id), vector.clone())));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn upsert(&self, rows: &[ChunkRow], leases: &[Lease]) -> Result<(), ServiceError> {
        for batch in batches(rows, self.dimension(), self.info().has_bm25)? {
            let _writing = self.milvus.writing().await;
            all_live(leases)?;
            self.touched();
            self.milvus
                .call("upsert", Effect::Write, async {
                    let insert = InsertRequest::builder()
                        .collection_name(self.name())
                        .columns(columns(&batch, self.info().has_bm25))
                        .build()?;
                    let request = UpsertRequest::builder().insert(insert).build()?;
                    self.milvus.client().upsert(request).await
                })
                .await?;
            counter!(names::ROWS_WRITTEN).increment(batch.len() as u64);
        }
        Ok(())
    }

    async fn delete(&self, ids: &[ChunkId], leases: &[Lease]) -> Result<(), ServiceError> {
        for ids in ids.chunks(MAX_UPSERT_ROWS) {
            // By key, never by another filter: Milvus would first search for the keys itself.
            let filter = string_in(field::ID, ids.iter().map(ChunkId::as_str));
            let _writing = self.milvus.writing().await;
            all_live(leases)?;
            self.touched();
            self.milvus
                .call("delete", Effect::Write, async {
                    let request = DeleteRequest::builder()
                        .collection_name(self.name())
                        .filter(filter)
                        .build()?;
                    self.milvus.client().delete(request).await
                })
                .await?;
            counter!(names::ROWS_DELETED).increment(ids.len() as u64);
        }
        Ok(())
    }

    async fn deletions(
        &self,
        ids: &[DeletionId],
    ) -> Result<HashMap<DeletionId, i64>, ServiceError> {
        self.read_ledger(ids).await
    }

    async fn record_deletions(
        &self,
        deletions: &[Deletion],
        leases: &[Lease],
    ) -> Result<(), ServiceError> {
        self.write_ledger(deletions, leases).await
    }

    async fn settle(&self) -> Result<(), ServiceError> {
        self.flush_if_touched().await
    }
}

/// The last look before a request leaves.
pub(crate) fn all_live(leases: &[Lease]) -> Result<(), ServiceError> {
    match leases.iter().all(Lease::is_live) {
        true => Ok(()),
        false => Err(ServiceError::Retry("a lease has died".to_owned())),
    }
}

/// The rows of these documents: a document id is unique within its tenant only.
fn documents_filter(documents: &[DocumentKey]) -> String {
    let mut tenants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for document in documents {
        tenants.entry(document.tenant.as_str()).or_default().push(document.id.as_str());
    }
    let mut out = String::new();
    for (tenant, ids) in tenants {
        out.push_str(if out.is_empty() { "(" } else { " or (" });
        out.push_str(&string_in(field::DOCUMENT_ID, ids));
        out.push_str(&format!(" and {} == ", field::TENANT));
        push_string(&mut out, tenant);
        out.push(')');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::ids::{DocumentId, Tenant};

    use super::*;

    #[test]
    fn documents_of_several_tenants() {
        let key = |tenant: &str, id: &str| DocumentKey {
            tenant: Tenant::new(tenant).unwrap(),
            id: DocumentId::new(id).unwrap(),
        };
        let filter =
            documents_filter(&[key("b", "1"), key("", "\") or true or (\""), key("b", "2")]);
        assert_eq!(
            filter,
            r#"(document_id in ["\") or true or (\""] and tenant == "") or (document_id in ["1", "2"] and tenant == "b")"#
        );
    }
}
