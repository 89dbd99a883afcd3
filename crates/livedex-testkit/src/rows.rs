//! The rows of documents while they are being changed.
//!
//! A query that is larger than one reply is read in pages, and a document that is updated between
//! two pages shows neither its old nor its new version. So documents are read few at a time, each
//! time in one reply, and one that does not fit a reply is read twice.

use anyhow::Result;
use livedex_core::{ids::DocumentKey, ports::ChunkStore as _, row::StoredRow};
use livedex_milvus::Collection;

use crate::history::Rows;

/// Documents of one query.
const DOCUMENTS: usize = 16;

/// Rows that come in one reply for certain.
const ONE_REPLY: usize = 1000;

/// What each of `documents` has now (an empty list if it has nothing).
/// A document with many rows that was changing meanwhile is left out.
pub async fn now(collection: &Collection, documents: &[DocumentKey]) -> Result<Rows> {
    let mut rows = Rows::new();
    for few in documents.chunks(DOCUMENTS) {
        let found = collection.stored_rows(few).await?;
        if found.values().map(Vec::len).sum::<usize>() < ONE_REPLY {
            rows.extend(few.iter().map(|key| (key.clone(), Vec::new())));
            rows.extend(found);
            continue;
        }
        for key in few {
            let found = alone(collection, key).await?;
            if found.len() < ONE_REPLY || found == alone(collection, key).await? {
                rows.insert(key.clone(), found);
            }
        }
    }
    Ok(rows)
}

async fn alone(collection: &Collection, key: &DocumentKey) -> Result<Vec<StoredRow>> {
    let mut found = collection.stored_rows(std::slice::from_ref(key)).await?;
    let mut rows = found.remove(key).unwrap_or_default();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}
