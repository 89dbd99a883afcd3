//! Deletions that are remembered.
//!
//! A document's rows say which record they are from, so a record older than they are is known as
//! a replay ([`crate::diff::is_replay`]). A document that was deleted, or has no text any more, has
//! no rows. Without a word kept about it, reading its partition again from an earlier offset would
//! embed its old versions and bring them back until its tombstone comes by. So a deletion leaves
//! one small entry behind, in a ledger of its own beside the rows.

use std::fmt;

use crate::{
    ids::{ContentHash, DocumentKey},
    record::SourcePosition,
};

/// The primary key of an entry: one for a document and a partition, because offsets of different
/// partitions have no order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeletionId(ContentHash);

impl DeletionId {
    /// The key of the deletion of `document` by a record of this partition.
    pub fn new(document: &DocumentKey, topic: &str, partition: i32) -> Self {
        Self(ContentHash::of([
            document.tenant.as_str().as_bytes(),
            document.id.as_str().as_bytes(),
            topic.as_bytes(),
            &partition.to_le_bytes(),
        ]))
    }

    /// Takes a key as it was stored.
    pub fn from_stored(value: impl Into<String>) -> Self {
        Self(ContentHash::from_stored(value))
    }

    /// The 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for DeletionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An entry of the ledger: since this record the document has no chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The document.
    pub document: DocumentKey,
    /// The version that deleted or emptied it: as a row's ([`crate::row::ChunkFields::position`]).
    pub position: SourcePosition,
    /// That record's timestamp, milliseconds since 1970; 0 if it has none.
    pub deleted_at_ms: i64,
}

impl Deletion {
    /// Its primary key.
    pub fn id(&self) -> DeletionId {
        DeletionId::new(&self.document, &self.position.topic, self.position.partition)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::ids::{DocumentId, Tenant};

    #[test]
    fn a_document_has_one_entry_a_partition() {
        let key = |tenant: &str, id: &str| DocumentKey {
            tenant: Tenant::new(tenant).unwrap(),
            id: DocumentId::new(id).unwrap(),
        };
        let ids = [
            DeletionId::new(&key("", "a"), "topic", 0),
            DeletionId::new(&key("t", "a"), "topic", 0),
            DeletionId::new(&key("", "b"), "topic", 0),
            DeletionId::new(&key("", "a"), "other", 0),
            DeletionId::new(&key("", "a"), "topic", 1),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(ids[..i].iter().all(|other| other != id), "{i}");
        }
        let position = SourcePosition { topic: "topic".into(), partition: 0, offset: 7 };
        let later = SourcePosition { offset: 8, ..position.clone() };
        for position in [position, later] {
            let deletion = Deletion { document: key("", "a"), position, deleted_at_ms: 0 };
            assert_eq!(deletion.id(), ids[0]);
        }
        // Stored keys must stay what they are across releases.
        assert_eq!(DeletionId::from_stored(ids[0].as_str()), ids[0]);
        assert_eq!(ids[0].as_str().len(), 32);
    }
}
