//! The ingestion pipeline over the traits of `livedex-core`.
//!
//! Records come in, and the collection follows: decode, collapse, compare with what is stored,
//! embed what is new, write, delete what is gone, acknowledge. The crate knows neither Kafka nor
//! Milvus nor candle; it is written against [`livedex_core::ports`].
//!
//! What it promises, and where the promise is kept:
//! - a record is acknowledged only when it, or a newer record of its document, is in the
//!   collection or in the dead-letter topic: `wave`
//! - new chunks are written before old ones are deleted, and nothing is written, deleted or
//!   acknowledged for a partition whose lease is dead (INV-4): `write`
//! - events of one document take effect in partition order: `queue`
//!
//! # Layout
//! - [`config`]: the bounds of a pipeline
//! - [`pipeline`]: the run loop
//! - `decode`: what records say
//! - `queue`: decoded records, and which of them form the next wave
//! - `context`: what the steps of a wave share
//! - `wave`: one wave from its records to their acknowledgement
//! - `read`: what the collection knows of the documents of a wave
//! - `plan`: what a document's event changes in the collection
//! - `embed`: vectors for the rows to write
//! - `write`: rows into the collection, and out of it
//! - `letters`: records that can never be processed
//! - `retry`: waiting for servers that are away
//! - [`progress`]: counters and depths that a progress bar and a status read
//! - [`freshness`]: how old the last records were when they became searchable
//! - [`metrics`](mod@metrics): the same and more for a metrics endpoint
//! - [`error`]: why a pipeline ends

pub mod config;
mod context;
pub(crate) mod decode;
pub(crate) mod embed;
pub mod error;
pub mod freshness;
pub(crate) mod letters;
pub mod metrics;
pub mod pipeline;
pub(crate) mod plan;
pub mod progress;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod retry;
pub(crate) mod wave;
pub(crate) mod write;

pub use config::{Backoff, PipelineConfig};
pub use error::IngestError;
pub use freshness::Freshness;
pub use pipeline::Pipeline;
pub use progress::{Depths, Progress, Summary};
