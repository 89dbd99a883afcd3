//! The NATS service and the two-stage search.
//!
//! A request arrives on `<prefix>.query`, is admitted or refused at once, and ends in a reply or a
//! typed error before its deadline: embed the query, search for candidates, rerank them, fuse.
//! The search itself is written against [`livedex_core::ports`]; only this crate knows NATS.
//!
//! # Layout
//! - [`config`]: where NATS is, and the bounds of the service
//! - [`connect`](mod@connect): a connection, or one line that says why there is none
//! - [`service`]: the models, the collections, and what is remembered
//! - [`two_stage`]: one query from its text to its hits; `retrieve` and `rerank` are its stages
//! - `cache`: what was computed before
//! - [`freshness`]: how far ingestion is, and waiting for it; [`watermarks`] brings it over NATS
//! - [`deadline`]: how long a caller still waits
//! - [`error`]: how a request fails, as a typed error of the contract
//! - [`endpoint`]: names, subjects and contracts of what can be asked
//! - `handlers`: one request, from its bytes to the bytes of its reply
//! - [`admission`]: how many requests are answered at once
//! - `intake`: the connection that requests come in on, and how it leaves without losing one
//! - `membership`: whether requests are taken from the queue group
//! - `discovery`: PING, INFO and STATS
//! - [`reply`]: replies and errors as messages that the server lets through
//! - [`server`]: the service: listening, admission, shutdown
//! - [`status`](mod@status): what an instance says about itself
//! - [`client`]: asking a service
//! - [`metrics`](mod@metrics): what a metrics endpoint shows

pub mod admission;
pub(crate) mod cache;
pub mod client;
pub mod config;
pub mod connect;
pub mod deadline;
pub(crate) mod discovery;
pub mod endpoint;
pub mod error;
pub mod freshness;
pub(crate) mod handlers;
pub(crate) mod intake;
pub(crate) mod membership;
pub mod metrics;
pub mod reply;
pub(crate) mod rerank;
pub(crate) mod retrieve;
pub mod server;
pub mod service;
pub mod status;
pub mod two_stage;
pub mod watermarks;

pub use client::{ClientError, Instance, QueryClient};
pub use config::{NatsConfig, QueryConfig};
pub use connect::{Connection, NatsError, ServerInfo, connect};
pub use endpoint::Endpoint;
pub use error::QueryError;
pub use server::{ServeError, serve};
pub use service::{Searched, Service};
pub use two_stage::Answer;
pub use watermarks::announce;
