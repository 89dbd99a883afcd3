//! The Kafka side of Livedex, over librdkafka.
//!
//! What it keeps: records are handed out in offset order within a partition, each at least once;
//! the committed offset of a partition never passes an unfinished record (INV-3); nothing is
//! committed for a partition after its lease died, and a lease dies by the clock if nothing else
//! ends it (INV-4); what is read and not finished is
//! bounded in bytes (INV-5).
//!
//! # Layout
//! - `config`: what to connect to and what to read, and the check of it
//! - `properties`: which librdkafka properties a user may set, and which are secrets
//! - `error`: typed errors, one line each
//! - `client`: librdkafka's settings for each kind of client
//! - `diagnostics`: librdkafka's log lines and complaints
//! - `limiter`: a repeated complaint is said rarely
//! - `reach`: the first contact with a broker
//! - `partitions`: leases, watermarks and bytes in flight of the owned partitions
//! - `gate`: back-pressure with hysteresis
//! - `commit`: commits, with their results and with a deadline
//! - `member`: rebalances and lag
//! - `poll`: the poll thread
//! - `session`: how long leases live without the poll thread
//! - `shared`: what the poll thread shares: acknowledger and monitor
//! - `source`: the source of records
//! - `record`: messages as records
//! - `producer`: messages that are durable once sent
//! - `publisher`: documents onto the topic
//! - `dead_letters`: records that can never be processed
//! - `dlq`: dead letters read and replayed by an operator
//! - `admin`: topics, lag, and whether Kafka is there
//! - `lag`: how far a group has come, by the broker's word
//! - `ends`: what there was to read when a partition was assigned
//! - `keys`: the keys that are alive on a topic
//! - `peek`: some records of a topic, read without a trace
//! - [`metrics`]: the names of the metrics

mod admin;
mod client;
mod commit;
mod config;
mod dead_letters;
mod diagnostics;
mod dlq;
mod ends;
mod error;
mod gate;
mod keys;
mod lag;
mod limiter;
mod member;
pub mod metrics;
mod partitions;
mod peek;
mod poll;
mod producer;
mod properties;
mod publisher;
mod reach;
mod record;
mod session;
mod shared;
mod source;

pub use admin::{Admin, TopicSpec};
pub use config::{
    ConfigProblem, DEFAULT_MAX_IN_FLIGHT_BYTES, DEFAULT_MAX_POLL_RECORDS, KafkaConfig,
};
pub use dead_letters::KafkaDeadLetters;
pub use dlq::{
    DeadLetterReader, Marks, Refusal, Replay, ReplayOptions, ReplaySummary, Skip, Start, read_one,
    replay_group,
};
pub use error::KafkaError;
pub use lag::PartitionLag;
pub use partitions::{CatchUp, PartitionStatus, Span};
pub use peek::{PeekFrom, Peeked};
pub use properties::is_secret_property;
pub use publisher::Publisher;
pub use shared::SourceMonitor;
pub use source::{EndMode, KafkaSource, Stopper};
