//! The pure domain of Livedex.
//!
//! No I/O, no clock, nothing spawned (INV-2): time and randomness are arguments, and the
//! [`ports`] are traits that other crates implement.
//!
//! # Layout
//! - [`ids`]: document ids, tenants, content-addressed chunk ids
//! - [`document`]: a document, its metadata and what an event does to it
//! - [`record`]: a raw record of the source, its position and its dead-letter reason
//! - [`deletion`]: what is kept of a document that was deleted
//! - [`dead_letter`]: the header names of a dead letter, and reading one back
//! - [`replay`]: records that are sent again, and how old they count
//! - [`lease`]: the right to write for a partition, dead after a revoke
//! - [`watermark`]: the first unfinished offset of a partition
//! - [`html`]: the main content of an HTML page as markdown
//! - [`chunk`]: token-aware, structure-aware chunks
//! - [`row`]: what a chunk looks like in the collection
//! - [`diff`]: what has to change in the collection for a document
//! - [`filter`]: the typed filter tree
//! - [`query`]: a two-stage query and its hits
//! - [`requests`]: what else a client asks: to rerank, to embed, to read a document
//! - [`ranking`]: stage scores to final scores, order and ties
//! - [`ports`]: the traits that the pipeline and the service are written against
//! - [`limits`]: every bound, with its unit and its reason

pub mod chunk;
pub mod dead_letter;
pub mod deletion;
pub mod diff;
pub mod document;
pub mod filter;
pub mod html;
pub mod ids;
pub mod lease;
pub mod limits;
pub mod ports;
pub mod query;
pub mod ranking;
pub mod record;
pub mod replay;
pub mod requests;
pub mod row;
pub mod watermark;
