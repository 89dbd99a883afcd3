//! Document ids, tenants and content-addressed chunk ids.

use std::fmt;

use crate::limits::{MAX_DOCUMENT_ID_BYTES, MAX_TENANT_BYTES};

/// Why a string is not a document id or a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The id is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which id.
        what: &'static str,
    },
    /// The id is longer than its limit.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// Its length in UTF-8 bytes.
        bytes: usize,
        /// The limit in bytes, inclusive.
        limit: usize,
    },
    /// The id holds a control character, which no id of a file, page or row has.
    #[error("{what} holds the control character U+{code:04X} at byte {at}")]
    Control {
        /// Which id.
        what: &'static str,
        /// The code point.
        code: u32,
        /// Its byte index.
        at: usize,
    },
}

fn check(what: &'static str, value: &str, limit: usize) -> Result<(), IdError> {
    if value.len() > limit {
        return Err(IdError::TooLong { what, bytes: value.len(), limit });
    }
    match value.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(IdError::Control { what, code: c as u32, at }),
        None => Ok(()),
    }
}

/// The id of a document within its tenant: 1 to [`MAX_DOCUMENT_ID_BYTES`] bytes of UTF-8
/// without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId(String);

impl DocumentId {
    /// Checks `value` and makes it an id.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        if value.is_empty() {
            return Err(IdError::Empty { what: "document id" });
        }
        check("document id", &value, MAX_DOCUMENT_ID_BYTES)?;
        Ok(Self(value))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tenant a document belongs to: up to [`MAX_TENANT_BYTES`] bytes without control
/// characters. The empty tenant is the default one, not "any tenant".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Tenant(String);

impl Tenant {
    /// Checks `value` and makes it a tenant.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        check("tenant", &value, MAX_TENANT_BYTES)?;
        Ok(Self(value))
    }

    /// The tenant as text; empty for the default tenant.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a document in the collection: the id is unique within its tenant only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The owner.
    pub tenant: Tenant,
    /// The id within the tenant.
    pub id: DocumentId,
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant.as_str().is_empty() {
            write!(f, "{}", self.id)
        } else {
            write!(f, "{}/{}", self.tenant, self.id)
        }
    }
}

/// The first 128 bits of a BLAKE3 hash, as 32 lower-case hexadecimal digits.
///
/// 128 bits: among 2^40 chunks the chance of one collision is about 2^-49.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(String);

impl ContentHash {
    /// Hashes `parts`, each with its length in front, so that moving a byte from one part to
    /// the next changes the hash.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().to_hex()[..32].to_owned())
    }

    /// Takes a hash as it was stored. It is not checked: a foreign value equals no real hash.
    pub fn from_stored(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The primary key of a chunk: content-addressed, so that a replay writes the same rows and
/// an unchanged chunk of an updated document keeps its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(ContentHash);

impl ChunkId {
    /// The key of the `occurrence`-th chunk (from 0) with the embedded text `embed_text` in
    /// document `key`, embedded by the model with `fingerprint`.
    pub fn new(key: &DocumentKey, fingerprint: &str, embed_text: &str, occurrence: u32) -> Self {
        Self(ContentHash::of([
            key.tenant.as_str().as_bytes(),
            key.id.as_str().as_bytes(),
            fingerprint.as_bytes(),
            embed_text.as_bytes(),
            &occurrence.to_le_bytes(),
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

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_checked() {
        assert_eq!(DocumentId::new(""), Err(IdError::Empty { what: "document id" }));
        assert_eq!(DocumentId::new("a".repeat(1024)).unwrap().as_str().len(), 1024);
        // Bytes are counted, not characters.
        let error = DocumentId::new("ä".repeat(513)).unwrap_err();
        assert_eq!(error.to_string(), "document id has 1026 bytes, the limit is 1024");
        let error = DocumentId::new("a\u{9}b").unwrap_err();
        assert_eq!(error.to_string(), "document id holds the control character U+0009 at byte 1");
        assert!(DocumentId::new("наука/вода 水.md").is_ok());
        assert_eq!(Tenant::new("").unwrap(), Tenant::default());
        assert!(Tenant::new("t".repeat(257)).is_err());
    }

    #[test]
    fn a_chunk_id_depends_on_all_that_it_is_made_of() {
        let key = |tenant: &str, id: &str| DocumentKey {
            tenant: Tenant::new(tenant).unwrap(),
            id: DocumentId::new(id).unwrap(),
        };
        let ids = [
            ChunkId::new(&key("", "a"), "model", "text", 0),
            ChunkId::new(&key("t", "a"), "model", "text", 0),
            ChunkId::new(&key("", "b"), "model", "text", 0),
            ChunkId::new(&key("", "a"), "other", "text", 0),
            ChunkId::new(&key("", "a"), "model", "texts", 0),
            ChunkId::new(&key("", "a"), "model", "text", 1),
            // The same bytes, divided in another way.
            ChunkId::new(&key("", "am"), "odel", "text", 0),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(ids[..i].iter().all(|other| other != id), "{i}");
        }
        // Stored keys must stay what they are across releases: this value is written in
        // collections.
        assert_eq!(ids[0].as_str(), "384419d7ce520009e5b62d042a4b42e1");
        assert_eq!(ChunkId::from_stored(ids[0].as_str()), ids[0]);
    }

    proptest! {
        #[test]
        fn hashes_tell_how_parts_are_divided(parts in prop::collection::vec("[a-c]{0,3}", 0..5), other in prop::collection::vec("[a-c]{0,3}", 0..5)) {
            let hash = |parts: &[String]| ContentHash::of(parts.iter().map(String::as_bytes));
            prop_assert_eq!(hash(&parts) == hash(&other), parts == other);
            prop_assert_eq!(hash(&parts).as_str().len(), 32);
        }
    }
}
