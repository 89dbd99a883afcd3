//! Servers as child processes, generators and checkers for the tests of Livedex.
//!
//! - [`suite`]: a black-box suite that counts what it skips as skipped
//! - [`kafka`]: Apache Kafka as a child process
//! - [`broker`]: Apache Kafka or the embedded broker
//! - [`registry`]: a schema registry that stands in
//! - [`servers`]: nats-server and Milvus Lite
//! - [`binary`]: the `livedex` binary, run as a user runs it
//! - [`stack`]: Kafka, NATS and Milvus Lite for one test, and a worker's configuration for them
//! - [`workload`]: documents, updates and deletions from a seed
//! - [`check`]: compares the whole collection with what it should say
//! - [`embedder`]: an embedder without a model
//! - [`data`]: data that is too large to keep beside the code
//! - [`wait`]: waits for a condition with a deadline

pub mod binary;
pub mod broker;
pub mod check;
pub mod data;
pub mod embedder;
pub mod kafka;
pub mod registry;
pub mod servers;
pub mod stack;
pub mod suite;
pub mod wait;
pub mod workload;

pub use binary::Livedex;
pub use broker::{Broker, SharedBroker};
pub use kafka::Kafka;
pub use servers::{MilvusLite, Nats};
pub use stack::Stack;
pub use suite::{Need, Suite};
