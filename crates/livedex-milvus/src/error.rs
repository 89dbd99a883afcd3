//! What goes wrong before a collection is open. Each is one line that says what and what to do.

use livedex_core::ports::ServiceError;

/// Why a server or a collection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MilvusError {
    /// The URI is none.
    #[error("the milvus uri `{uri}` {problem}; write it like http://127.0.0.1:19530")]
    Address {
        /// As configured.
        uri: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The name of a database or a collection is none.
    #[error(
        "milvus.{key} is `{name}`, but a name starts with a letter or an underscore, goes on with \
         letters, digits and underscores, and has {limit} characters at most"
    )]
    Name {
        /// Which key.
        key: &'static str,
        /// As configured.
        name: String,
        /// The limit, inclusive.
        limit: usize,
    },
    /// Nothing answers there.
    #[error("cannot reach milvus at {uri}: {reason}; is it running there?")]
    Unreachable {
        /// As configured.
        uri: String,
        /// What the operating system said.
        reason: String,
    },
    /// Something listens there, but it is no Milvus, or it is not ready.
    #[error(
        "{uri} accepts connections, but no milvus answered there (waited up to {seconds} s); is it milvus' \
         gRPC port (19530), is it still starting, and is TLS on at both ends or at neither?"
    )]
    NotMilvus {
        /// As configured.
        uri: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// TLS failed.
    #[error(
        "cannot open a TLS connection to milvus at {uri}: {reason}; check milvus.tls, and that the server has TLS on"
    )]
    Tls {
        /// As configured.
        uri: String,
        /// What failed.
        reason: String,
    },
    /// The token is missing, wrong or does not allow it.
    #[error(
        "milvus at {uri} does not accept the {token}; set milvus.token to user:password or an API key \
         that may use database `{database}`"
    )]
    Unauthorized {
        /// As configured.
        uri: String,
        /// `given token` or `missing token`.
        token: &'static str,
        /// As configured.
        database: String,
    },
    /// The database does not exist.
    #[error("milvus at {uri} has no database `{database}`; create it, or set milvus.database")]
    UnknownDatabase {
        /// As configured.
        uri: String,
        /// As configured.
        database: String,
    },
    /// The collection does not exist, and a reader does not create it.
    #[error("database `{database}` has no collection `{collection}`; `livedex ingest` creates it")]
    NoCollection {
        /// As configured.
        database: String,
        /// As configured.
        collection: String,
    },
    /// Livedex did not make the collection.
    #[error(
        "collection `{collection}` was not made by livedex; set milvus.collection to another name, and it \
         is left alone"
    )]
    Foreign {
        /// As configured.
        collection: String,
    },
    /// The collection holds another model's embeddings.
    #[error(
        "collection `{collection}` holds embeddings of {stored}, but {configured} is configured; set \
         milvus.collection to another name, or drop the collection to index again"
    )]
    OtherModel {
        /// As configured.
        collection: String,
        /// Name, dimension and fingerprint of the collection's model.
        stored: String,
        /// Name, dimension and fingerprint of the configured model.
        configured: String,
    },
    /// The collection's fields are those of another version, or were changed.
    #[error(
        "collection `{collection}` does not have the schema of this livedex: {difference}; set \
         milvus.collection to another name, or drop the collection to index again"
    )]
    OtherSchema {
        /// As configured.
        collection: String,
        /// The first difference: what it has and what is expected.
        difference: String,
    },
    /// An RPC failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}
