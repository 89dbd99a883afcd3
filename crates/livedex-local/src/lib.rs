//! A local Kafka, NATS and Milvus for trying Livedex out, and for its tests.
//!
//! The Kafka broker runs inside the process; nats-server and Milvus Lite are child processes from a
//! private Python environment with pinned versions. All of them listen on 127.0.0.1 only and keep
//! their data in one folder. Nothing here is for production, and the `livedex` binary contains none
//! of it.
//!
//! - [`venv`]: the private Python environment, set up on first use
//! - [`python`]: finds the interpreter it is made from
//! - [`models`]: the default models, checked and put in place
//! - [`child`]: a child process that never outlives its parent
//! - [`nats`], [`milvus_lite`], [`broker`]: the three servers
//! - [`data`]: the data folder: its layout, its lock, what is refused
//! - [`config`]: the `livedex.toml` for the running stack
//! - [`stack`]: all of it together
//! - [`port`]: free ports, ports in use
//! - [`ready`]: waits for a condition with a deadline
//! - [`stop`]: a flag that ends every wait here
//! - [`progress`]: what a person sees meanwhile
//! - [`error`]: what can go wrong, and what to do about it
//!
//! Everything blocks: from async code call it through `spawn_blocking`.

pub mod broker;
pub mod child;
pub mod config;
pub mod data;
pub mod error;
pub mod milvus_lite;
pub mod models;
pub mod nats;
pub mod port;
pub mod progress;
pub mod python;
pub mod ready;
pub mod stack;
pub mod stop;
pub mod venv;

pub use broker::EmbeddedKafka;
pub use data::DataDir;
pub use error::LocalError;
pub use milvus_lite::MilvusLite;
pub use nats::NatsServer;
pub use progress::Progress;
pub use stack::Stack;
pub use stop::Stop;
pub use venv::Venv;
