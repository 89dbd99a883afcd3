//! The contracts of Livedex: JSON in and out, records to documents.
//!
//! Only this crate parses or prints JSON of the contracts (INV-1). What comes in is checked field by
//! field, and an error names the field, the value where it is no text of a document or a query
//! (INV-7), and the limit. What goes out (replies, [`status`], [`worker_status`], [`error`],
//! [`dead_letter`]) may gain fields: clients ignore those they do not know.
//!
//! # Layout
//! - [`document`]: `document.v1`, a record to a change of a document, and back
//! - [`mapping`]: any producer's records to changes of documents
//! - `metadata`: the flat object of scalars inside a document
//! - [`query`]: `query.v1`, a request
//! - [`filter`]: the filter tree inside a request
//! - [`reply`]: `reply.v1`, the hits of a query
//! - [`rerank`]: `rerank.v1` and `rerank_reply.v1`, stage 2 alone
//! - [`embed`]: `embed.v1` and `embed_reply.v1`, the embedder alone
//! - [`documents`]: `documents_get.v1` and `documents_reply.v1`, a document by its id
//! - [`request`]: what the requests have in common
//! - [`error`]: `error.v1`, why there is no reply
//! - [`status`]: `status.v1`, what a service is and does
//! - [`room`]: `room.v1`, whether an instance has room for a request
//! - [`watermarks`]: `watermarks.v1`, how far an ingester is
//! - [`worker_status`]: `worker_status.v1`, what a worker knows of itself
//! - [`dead_letter`]: `dead_letter.v1`, a dead letter for people and scripts
//! - [`schemas`]: the JSON Schemas of all of them
//! - [`time`]: RFC 3339 to milliseconds and back
//! - [`fields`]: JSON objects field by field, with typed errors

pub mod dead_letter;
pub mod document;
pub mod documents;
pub mod embed;
pub mod error;
pub mod fields;
pub mod filter;
pub mod mapping;
mod metadata;
pub mod query;
pub mod reply;
pub mod request;
pub mod rerank;
pub mod room;
pub mod schemas;
pub mod status;
pub mod time;
pub mod watermarks;
pub mod worker_status;
