//! Where the server is and how to reach it.

use std::{fmt, path::PathBuf, time::Duration};

/// Where Milvus is. [`MilvusConfig::default`] is a server on this machine without a password.
#[derive(Clone, PartialEq, Eq)]
pub struct MilvusConfig {
    /// `http://host:port` or `https://host:port`; port 19530 if none is given.
    pub uri: String,
    /// `user:password`, or an API key.
    pub token: Option<String>,
    /// The database. It must exist; `default` always does.
    pub database: String,
    /// The collection (an alias works as well once the collection exists). Another one, with
    /// `_deleted` behind the name, remembers deletions.
    pub collection: String,
    /// TLS settings; `https://` without them uses the system's roots.
    pub tls: MilvusTls,
    /// The deadline of connecting and of every RPC. Keep it below the consumer group's session
    /// timeout, so that a paused worker's write ends before its partitions have a new owner.
    pub timeout: Duration,
    /// Whether to flush when the pipeline is idle.
    pub flush: FlushPolicy,
    /// How long a deletion is remembered, in whole seconds; `None`: for ever. Reading records again
    /// that are older brings deleted documents back for as long as it takes to reach their
    /// tombstones. Milvus Lite forgets nothing.
    pub deletions_ttl: Option<Duration>,
    /// How texts become words, for BM25. It is part of a collection from when it is made: one that
    /// is there keeps its own.
    pub analyzer: Analyzer,
}

impl Default for MilvusConfig {
    fn default() -> Self {
        Self {
            uri: "http://127.0.0.1:19530".to_owned(),
            token: None,
            database: "default".to_owned(),
            collection: "livedex".to_owned(),
            tls: MilvusTls::default(),
            timeout: Duration::from_secs(10),
            flush: FlushPolicy::default(),
            deletions_ttl: None,
            analyzer: Analyzer::default(),
        }
    }
}

/// Redacts the token (INV-7).
impl fmt::Debug for MilvusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MilvusConfig")
            .field("uri", &self.uri)
            .field("token", &self.token.as_ref().map(|_| "[redacted]"))
            .field("database", &self.database)
            .field("collection", &self.collection)
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .field("flush", &self.flush)
            .field("deletions_ttl", &self.deletions_ttl)
            .field("analyzer", &self.analyzer)
            .finish()
    }
}

/// How the server's certificate is checked. Either setting turns TLS on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MilvusTls {
    /// A PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must carry, if it is not the host of the URI.
    pub domain: Option<String>,
}

/// Whether [`settle`](livedex_core::ports::ChunkStore::settle) flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FlushPolicy {
    /// Never: Milvus seals and flushes segments by itself, and a flush per idle moment would
    /// leave it with many small ones.
    #[default]
    Never,
    /// Once the pipeline has caught up, if rows were written since the last flush. For Milvus
    /// Lite, which indexes flushed rows only and searches all others one by one.
    WhenIdle,
}

/// How Milvus cuts texts and queries into words for BM25: its own built-in analyzers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Analyzer {
    /// Words at spaces and punctuation, in lower case: for any language that writes spaces.
    #[default]
    Standard,
    /// The same, with words reduced to their stems and without stop words. Milvus Lite has no
    /// stems: there only the stop words are left out.
    English,
    /// Words found by jieba's dictionary. Milvus Lite needs the Python package `jieba` for it.
    Chinese,
    /// The collection has no BM25: it cannot be searched by words.
    None,
}

impl Analyzer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Standard, Self::English, Self::Chinese, Self::None];

    /// Its name in the configuration and among the collection's properties.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::English => "english",
            Self::Chinese => "chinese",
            Self::None => "none",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|analyzer| analyzer.name() == name)
    }
}
