//! The NATS service and the two-stage search.
//!
//! A request arrives on `<prefix>.query`, is admitted or refused at once, and ends in a reply or a
//! typed error before its deadline: embed the query, search for candidates, rerank them, fuse.
//! The search itself is written against [`livedex_core::ports`]; only this crate knows NATS.
//!
//! # Layout
//! - [`config`]: where NATS is, and the bounds of the service
//! - [`connect`](mod@connect): a connection, or one line that says why there is none
//! - [`two_stage`]: one query from its text to its hits
//! - [`deadline`]: how long a caller still waits
//! - [`error`]: how a request fails, as a typed error of the contract
//! - `intake`: the connection that requests come in on, and how it stops without losing one
//! - [`reply`]: replies and errors as messages that the server lets through
//! - [`server`]: the service: discovery, admission, handlers, shutdown
//! - [`status`]: what an instance says about itself
//! - [`client`]: asking a service
//! - [`metrics`](mod@metrics): what a metrics endpoint shows

pub mod client;
pub mod config;
pub mod connect;
pub mod deadline;
pub mod error;
pub(crate) mod intake;
pub mod metrics;
pub mod reply;
pub mod server;
pub mod status;
pub mod two_stage;

pub use client::{ClientError, Instance, QueryClient};
pub use config::{NatsConfig, QueryConfig};
pub use connect::{Connection, NatsError, ServerInfo, connect};
pub use error::QueryError;
pub use server::{ServeError, serve};
pub use two_stage::{Answer, Service};
