//! Servers as child processes, generators and checkers for the tests of Livedex.
//!
//! - [`suite`]: a black-box suite that counts what it skips as skipped
//! - [`kafka`]: Apache Kafka as a child process
//! - [`broker`]: Apache Kafka or the embedded broker
//! - [`registry`]: a schema registry that stands in
//! - [`servers`]: nats-server and Milvus Lite
//! - [`binary`]: the `livedex` binary, run as a user runs it
//! - [`responder`]: a service that answers as it is told
//! - [`clients`]: NATS clients of other languages
//! - [`stack`]: Kafka, NATS and Milvus Lite for one test, and a worker's configuration for them
//! - [`workload`]: documents, updates and deletions from a seed
//! - [`poison`]: records that can never be processed
//! - [`check`]: compares the whole collection with what it should say
//! - [`history`]: what was produced, and what every committed offset promises
//! - [`rows`]: the rows of documents while they are being changed
//! - [`letters`]: the dead-letter topic, followed
//! - [`case`]: one test's topic, group and collection, and what is done with them
//! - [`sampler`]: looks at a case while it runs
//! - [`crash`]: a worker that can be made to die at a named point
//! - [`proxy`]: a network that is slow, silent or broken
//! - [`milvus_proxy`]: Milvus' error answers, in front of a Milvus that has none
//! - [`embedder`]: an embedder without a model
//! - [`specified`]: processes of its own, told by a file what they are to be
//! - [`figures`]: what benchmarks print
//! - [`query`]: query workers that cost what one says, and load on them
//! - [`data`]: data that is too large to keep beside the code
//! - [`topic`]: what is put on a topic, and what lies there
//! - [`wait`]: waits for a condition with a deadline

pub mod binary;
pub mod broker;
pub mod case;
pub mod check;
pub mod clients;
pub mod crash;
pub mod data;
pub mod embedder;
pub mod figures;
pub mod history;
pub mod kafka;
pub mod letters;
pub mod milvus_proxy;
pub mod poison;
pub mod proxy;
pub mod query;
pub mod registry;
pub mod responder;
pub mod rows;
pub mod sampler;
pub mod servers;
pub mod specified;
pub mod stack;
pub mod suite;
pub mod topic;
pub mod wait;
pub mod workload;

pub use binary::Livedex;
pub use broker::{Broker, SharedBroker};
pub use case::Case;
pub use kafka::Kafka;
pub use milvus_proxy::MilvusProxy;
pub use proxy::TcpProxy;
pub use sampler::Sampler;
pub use servers::{MilvusLite, Nats};
pub use stack::Stack;
pub use suite::{Need, Suite};
