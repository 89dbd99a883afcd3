//! A raw record of the source, its position, and why it became a dead letter.

use std::{
    fmt,
    ops::{AddAssign, SubAssign},
    sync::Arc,
};

use crate::lease::Lease;

/// Where a record stands in the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourcePosition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record's own offset (what is committed is this plus one).
    pub offset: i64,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// The header of a `document.v1` record that names its tenant; absent for the default tenant.
///
/// It stands beside the key, not in the value, because a tombstone has no value.
pub const TENANT_HEADER: &str = "livedex-tenant";

/// A header of a record.
pub type Header = (String, Option<Vec<u8>>);

/// A record as it came: nothing decoded, nothing lost.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// Where it stands.
    pub position: SourcePosition,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Its timestamp in milliseconds since 1970, if the broker has one.
    pub timestamp_ms: Option<i64>,
    /// The right to write for its partition.
    pub lease: Lease,
}

impl RawRecord {
    /// Bytes of key, value and headers: what it costs to hold.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }
}

/// Records that wait somewhere, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// How many.
    pub records: usize,
    /// Bytes of their keys, values and headers.
    pub bytes: usize,
}

impl AddAssign for Depth {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
    }
}

impl SubAssign for Depth {
    fn sub_assign(&mut self, less: Self) {
        self.records -= less.records;
        self.bytes -= less.bytes;
    }
}

/// The step that refused a record. The names are those written to the dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Bytes to a document.
    Decode,
    /// A document to chunks.
    Chunk,
    /// Chunks to vectors.
    Embed,
    /// Rows to Milvus.
    Write,
}

impl Stage {
    /// The name in `__connect.errors.stage`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "DECODE",
            Self::Chunk => "CHUNK",
            Self::Embed => "EMBED",
            Self::Write => "WRITE",
        }
    }
}

/// Why a record cannot be processed, ever: what is tried again is no dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterReason {
    /// The step that refused it.
    pub stage: Stage,
    /// A stable name of the error's kind, for counting (`DecodeError.Json`).
    pub class: String,
    /// What was wrong, with the value and the limit, never the document's text.
    pub message: String,
}
