//! The Milvus side of Livedex.
//!
//! The only crate that names Milvus (INV-1). [`Milvus::connect`] reaches a server,
//! [`Milvus::ensure_collection`] (writers) or [`Milvus::open_collection`] (readers) gives a
//! [`Collection`], and that is the pipeline's `ChunkStore` and the query service's `Retriever`.
//!
//! Works with Milvus >= 2.6 and with Milvus Lite 3.2; where they differ, the module says so.
//!
//! # Layout
//! - [`config`]: where the server is and how to reach it
//! - `connect`: reaching it, with one clear line for each way that fails
//! - [`error`]: what goes wrong before a collection is open
//! - `classify`: which failure is tried again and which is not
//! - `client`: one RPC: deadline, metrics, error class
//! - `schema`: fields, indexes and properties of the collection
//! - `steps`: making any collection ready, while others may do the same
//! - `collection`: creating, checking, loading, counting, dropping it
//! - `ledger`: the collection of deletions beside it
//! - `literal`: strings and numbers in filter text
//! - [`filter`]: the typed filter tree as filter text (INV-6)
//! - `columns`: rows to columns and back
//! - `words`: BM25: the field that Milvus fills by itself, and its analyzer
//! - `batch`: rows cut into upserts bounded in rows and bytes
//! - `page`: queries larger than one reply
//! - `store`: the `ChunkStore`
//! - `retrieve`: the `Retriever`
//! - `passages`: chunks by their places in their documents
//! - [`names`]: the metrics

mod batch;
mod classify;
mod client;
mod collection;
mod columns;
pub mod config;
mod connect;
pub mod error;
pub mod filter;
mod ledger;
mod literal;
pub mod names;
mod page;
mod passages;
mod retrieve;
mod schema;
mod steps;
mod store;
mod words;

pub use client::Milvus;
pub use collection::{Collection, CollectionInfo};
pub use config::{Analyzer, FlushPolicy, MilvusConfig, MilvusTls};
pub use connect::MAX_COLLECTION_NAME;
pub use error::MilvusError;
pub use ledger::ledger_name;
