//! Queries larger than one reply.
//!
//! The SDK decodes replies of up to 4 MiB (tonic's default) and does not let us raise that;
//! Milvus' own limit is 16,384 rows. So rows are read in pages in the order of their primary
//! keys, each page starting behind the last key of the one before, and a page that is too large
//! is asked for again at half its rows. The SDK's iterator does the same, but needs a collection
//! id that Milvus Lite does not tell.

use std::collections::HashMap;

use livedex_core::{ids::ChunkId, ports::ServiceError, query::Passage, row::ChunkRow};
use milvus::v2::{
    request::dql::QueryRequest,
    types::{ConsistencyLevel, QueryResults},
};

use crate::{
    classify::Kind,
    collection::Collection,
    columns::Columns,
    literal::{push_string, string_in},
    schema::{field, row_fields},
};

/// Bytes of a reply that is aimed at: below the 4 MiB that can be decoded, with room for tags
/// and lengths.
const REPLY_BYTES: usize = 3 * 1024 * 1024;

/// Rows of a page of whole rows, to begin with.
const ROWS: usize = 1000;

impl Collection {
    /// Hands every page of the rows that match `filter` (empty: all) to `each`, in the order of
    /// their keys. `fields` must hold the primary key.
    pub(crate) async fn pages(
        &self,
        rpc: &'static str,
        filter: &str,
        fields: &[&str],
        rows: usize,
        consistency: ConsistencyLevel,
        mut each: impl FnMut(&QueryResults) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let mut limit = rows.max(1);
        let mut after: Option<String> = None;
        loop {
            let expression = after_key(after.as_deref(), filter);
            let page = self
                .query(rpc, || {
                    QueryRequest::builder()
                        .collection_name(self.name())
                        .filter(&expression)
                        .output_fields(fields.iter().copied())
                        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                        // Rows in the order of their keys, and none left out before the last.
                        .extra_params(HashMap::from([
                            ("iterator".to_owned(), "True".to_owned()),
                            ("reduce_stop_for_best".to_owned(), "True".to_owned()),
                        ]))
                        .consistency_level(consistency)
                })
                .await;
            let page = match page {
                Err(failure) if failure.kind == Kind::ReplyTooLarge && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                page => page?,
            };
            let results = page.results();
            let count = usize::try_from(results.get_row_count()).unwrap_or(usize::MAX);
            if count == 0 {
                return Ok(());
            }
            each(results)?;
            if count < limit {
                return Ok(());
            }
            let ids = Columns::new(results.get_output_fields(), count).texts(field::ID)?;
            after = ids.iter().max().cloned();
        }
    }

    /// Every row of the collection, in the order of their keys, for checkers. Without
    /// `with_vectors` the vectors are empty. Strong consistency; holds them all in memory.
    pub async fn all_rows(&self, with_vectors: bool) -> Result<Vec<ChunkRow>, ServiceError> {
        let fields = row_fields(with_vectors);
        let mut all = Vec::new();
        self.pages("all_rows", "", &fields, ROWS, ConsistencyLevel::Strong, |page| {
            let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
            let rows = columns.passages(columns.texts(field::ID)?, with_vectors)?;
            let row = |Passage { fields, vector }| ChunkRow {
                fields,
                vector: vector.unwrap_or_default(),
            };
            all.extend(rows.into_iter().map(row));
            Ok(())
        })
        .await?;
        Ok(all)
    }

    /// Rows by primary key, in pages; keys that are gone are left out. `row_bytes` is what one of
    /// them is expected to take; larger ones cost smaller pages.
    pub(crate) async fn by_keys(
        &self,
        rpc: &'static str,
        ids: &[&str],
        fields: &[&str],
        row_bytes: usize,
        consistency: ConsistencyLevel,
        mut each: impl FnMut(&QueryResults) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let mut limit = page_rows(row_bytes);
        let mut rest = ids;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(limit.min(rest.len()));
            let filter = string_in(field::ID, some.iter().copied());
            let page = self
                .query(rpc, || {
                    QueryRequest::builder()
                        .collection_name(self.name())
                        .filter(&filter)
                        .output_fields(fields.iter().copied())
                        .consistency_level(consistency)
                })
                .await;
            match page {
                Err(failure) if failure.kind == Kind::ReplyTooLarge && limit > 1 => limit /= 2,
                page => {
                    each(page?.results())?;
                    rest = others;
                }
            }
        }
        Ok(())
    }

    /// These rows by key, with their vectors or without.
    pub(crate) async fn rows_by_key(
        &self,
        ids: &[&str],
        with_vectors: bool,
        consistency: ConsistencyLevel,
    ) -> Result<HashMap<ChunkId, Passage>, ServiceError> {
        let mut found = HashMap::with_capacity(ids.len());
        // All of them did not fit one reply.
        let guess = 2 * REPLY_BYTES / ids.len().max(1);
        let fields = row_fields(with_vectors);
        self.by_keys("search_fields", ids, &fields, guess, consistency, |page| {
            let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
            let rows = columns.passages(columns.texts(field::ID)?, with_vectors)?;
            found.extend(rows.into_iter().map(|row| (row.fields.id.clone(), row)));
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// Rows of a page to begin with, where one is expected to take `row_bytes`.
pub(crate) fn page_rows(row_bytes: usize) -> usize {
    (REPLY_BYTES / row_bytes.max(1)).clamp(1, ROWS)
}

/// Bytes of one row in a reply of vectors.
pub(crate) fn vector_row_bytes(dimension: usize) -> usize {
    4 * dimension + 64
}

/// `filter`, for the rows behind `key`.
fn after_key(key: Option<&str>, filter: &str) -> String {
    let Some(key) = key else { return filter.to_owned() };
    let mut out = format!("{} > ", field::ID);
    push_string(&mut out, key);
    if !filter.is_empty() {
        out.push_str(&format!(" and ({filter})"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_of_a_later_page() {
        assert_eq!(after_key(None, "a or b"), "a or b");
        assert_eq!(after_key(Some("k\""), "a or b"), r#"id > "k\"" and (a or b)"#);
        assert_eq!(after_key(Some("k"), ""), r#"id > "k""#);
    }
}
