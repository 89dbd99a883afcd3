//! What has to change in the collection for a document.

use std::collections::{HashMap, HashSet};

use crate::{
    ids::ChunkId,
    record::SourcePosition,
    replay::is_later,
    row::{PreparedChunk, StoredRow},
};

/// The work for one document. Every wanted chunk is counted in exactly one of `unchanged`,
/// `rewrite` and `embed`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// How many wanted chunks are stored just so.
    pub unchanged: usize,
    /// Indices into the wanted chunks, ascending: same id but other attributes (moved, renamed,
    /// new metadata), so the row is written again with its stored vector.
    pub rewrite: Vec<usize>,
    /// Indices into the wanted chunks, ascending: texts that are not stored yet.
    pub embed: Vec<usize>,
    /// Stored chunks that the document no longer has. They are deleted after the others are
    /// written, so that the document is never absent.
    pub delete: Vec<ChunkId>,
}

impl Diff {
    /// Whether the collection already says what the document says.
    pub fn is_empty(&self) -> bool {
        self.rewrite.is_empty() && self.embed.is_empty() && self.delete.is_empty()
    }
}

/// Compares the rows of a document with the chunks it should have (none: it is deleted).
/// Ids in `wanted` are distinct ([`crate::row::prepare`] sees to it).
pub fn diff(stored: &[StoredRow], wanted: &[PreparedChunk]) -> Diff {
    let mut stored_by_id: HashMap<&ChunkId, &StoredRow> = HashMap::with_capacity(stored.len());
    for row in stored {
        stored_by_id.insert(&row.id, row);
    }
    let mut diff = Diff::default();
    let mut wanted_ids = HashSet::with_capacity(wanted.len());
    for (index, chunk) in wanted.iter().enumerate() {
        wanted_ids.insert(&chunk.fields.id);
        match stored_by_id.get(&chunk.fields.id) {
            None => diff.embed.push(index),
            Some(row) if row.attributes_hash == chunk.fields.attributes_hash => diff.unchanged += 1,
            Some(_) => diff.rewrite.push(index),
        }
    }
    let mut seen = HashSet::new();
    for row in stored {
        if !wanted_ids.contains(&row.id) && seen.insert(&row.id) {
            diff.delete.push(row.id.clone());
        }
    }
    diff
}

/// Whether the version at `position` ([`crate::replay::fence_position`]) is older than what the
/// collection already says of its document: one of the rows is of a later version from the same
/// topic and partition, or such a one deleted it. `deleted` is the offset of the last deletion by
/// this topic and partition ([`crate::deletion::DeletionId`]). Such a record is skipped, or the
/// document would move backwards.
///
/// The very record that wrote the rows, or the deletion, is no replay here: it may have been
/// interrupted between its upsert and its delete, so it is compared again, and [`diff`] finds
/// nothing to do if it was complete.
pub fn is_replay(stored: &[StoredRow], deleted: Option<i64>, position: &SourcePosition) -> bool {
    deleted.is_some_and(|offset| offset > position.offset)
        || stored.iter().any(|row| is_later(&row.position, position))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        chunk::{Chunk, Chunked},
        document::{ContentType, Document},
        ids::{DocumentId, DocumentKey, Tenant},
        row::prepare,
    };

    fn position(partition: i32, offset: i64) -> SourcePosition {
        SourcePosition { topic: "t".into(), partition, offset }
    }

    fn wanted(texts: &[String], version: &str, offset: i64) -> Vec<PreparedChunk> {
        let document = Document {
            key: DocumentKey { tenant: Tenant::default(), id: DocumentId::new("a").unwrap() },
            title: None,
            text: String::new(),
            content_type: ContentType::Plain,
            url: None,
            metadata: Default::default(),
            version: Some(version.to_owned()),
            updated_at_ms: None,
        };
        let chunks = texts.iter().zip(0..).map(|(text, ordinal)| Chunk {
            ordinal,
            text: text.clone(),
            heading: String::new(),
            tokens: 1,
        });
        let chunked = Chunked { title: None, chunks: chunks.collect() };
        prepare(&document, chunked, "model", &position(0, offset))
    }

    fn stored(chunks: &[PreparedChunk]) -> Vec<StoredRow> {
        let row = |chunk: &PreparedChunk| StoredRow {
            id: chunk.fields.id.clone(),
            attributes_hash: chunk.fields.attributes_hash.clone(),
            position: chunk.fields.position.clone(),
        };
        chunks.iter().map(row).collect()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_what_is_new_is_embedded() {
        let before = stored(&wanted(&texts(&["a", "b", "c", "d"]), "1", 0));
        // "b" is gone, "x" is new, "c" and "d" stay where they are, "a" has not moved.
        let after = wanted(&texts(&["a", "x", "c", "d"]), "1", 1);
        let expect = Diff {
            unchanged: 3,
            rewrite: vec![],
            embed: vec![1],
            delete: vec![before[1].id.clone()],
        };
        assert_eq!(diff(&before, &after), expect);
        // A chunk put in front moves all others: they are written again, not embedded again.
        let after = wanted(&texts(&["x", "a", "b", "c", "d"]), "1", 1);
        let expect = Diff { rewrite: vec![1, 2, 3, 4], embed: vec![0], ..Diff::default() };
        assert_eq!(diff(&before, &after), expect);
        // So does a new version.
        let after = wanted(&texts(&["a", "b", "c", "d"]), "2", 1);
        assert_eq!(diff(&before, &after).rewrite, [0, 1, 2, 3]);
    }

    #[test]
    fn equal_texts_are_counted() {
        let before = stored(&wanted(&texts(&["a", "a", "a"]), "1", 0));
        let after = wanted(&texts(&["a", "a"]), "1", 1);
        let diff = diff(&before, &after);
        assert_eq!((diff.unchanged, diff.delete), (2, vec![before[2].id.clone()]));
    }

    #[test]
    fn no_chunks_delete_the_document_once_a_row() {
        let mut rows = stored(&wanted(&texts(&["a", "b"]), "1", 0));
        // A store without unique keys may hold a row twice.
        rows.push(rows[0].clone());
        let diff = diff(&rows, &[]);
        assert_eq!(diff.delete, vec![rows[0].id.clone(), rows[1].id.clone()]);
        assert!(!diff.is_empty());
    }

    #[test]
    fn older_records_of_the_same_partition_are_replays() {
        let rows = stored(&wanted(&texts(&["a"]), "1", 10));
        assert!(is_replay(&rows, None, &position(0, 9)));
        // The record itself may have been interrupted.
        assert!(!is_replay(&rows, None, &position(0, 10)));
        assert!(!is_replay(&rows, None, &position(0, 11)));
        assert!(!is_replay(&rows, None, &position(1, 9)));
        let other_topic = SourcePosition { topic: "u".into(), ..position(0, 9) };
        assert!(!is_replay(&rows, None, &other_topic));
        assert!(!is_replay(&[], None, &position(0, 9)));
    }

    #[test]
    fn records_before_a_deletion_are_replays_also_without_rows() {
        assert!(is_replay(&[], Some(10), &position(0, 9)));
        assert!(!is_replay(&[], Some(10), &position(0, 10)), "the tombstone itself");
        assert!(!is_replay(&[], Some(10), &position(0, 11)));
        // Created again at 12, which leaves the entry behind.
        let rows = stored(&wanted(&texts(&["a"]), "1", 12));
        assert!(is_replay(&rows, Some(10), &position(0, 11)));
        assert!(!is_replay(&rows, Some(10), &position(0, 12)));
    }

    proptest! {
        /// The diff, applied, gives the wanted rows, and applying it again changes nothing.
        #[test]
        fn a_diff_leads_from_what_is_stored_to_what_is_wanted(
            before in prop::collection::vec("[a-d]", 0..12),
            after in prop::collection::vec("[a-d]", 0..12),
            same_version in any::<bool>(),
        ) {
            let before = stored(&wanted(&before, "1", 0));
            let after = wanted(&after, if same_version { "1" } else { "2" }, 1);
            let diff_1 = diff(&before, &after);
            prop_assert_eq!(diff_1.unchanged + diff_1.rewrite.len() + diff_1.embed.len(), after.len());

            let mut rows: HashMap<ChunkId, StoredRow> =
                before.iter().map(|row| (row.id.clone(), row.clone())).collect();
            for row in stored(&after).into_iter().zip(0..).filter(|(_, i)| diff_1.rewrite.contains(i)).map(|(row, _)| row) {
                prop_assert!(rows.insert(row.id.clone(), row).is_some(), "rewritten rows have a vector");
            }
            for row in stored(&after).into_iter().zip(0..).filter(|(_, i)| diff_1.embed.contains(i)).map(|(row, _)| row) {
                prop_assert!(rows.insert(row.id.clone(), row).is_none(), "embedded rows are new");
            }
            for id in &diff_1.delete {
                prop_assert!(rows.remove(id).is_some());
            }
            prop_assert_eq!(rows.len(), after.len());
            let rows: Vec<StoredRow> = rows.into_values().collect();
            prop_assert!(diff(&rows, &after).is_empty());
        }
    }
}
