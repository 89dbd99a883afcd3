//! A worker that can be made to die, and everything to prove what its death leaves behind.
//!
//! The worker is the binary `livedex-crash-worker`: production's Kafka source, dead letters,
//! pipeline, chunker and collection, put together as `livedex` does, with the hash embedder in the
//! model's place and a layer around the ports that kills, stops or fails at a named point. Nothing
//! of that is in production's code.
//!
//! - [`faults`]: the points, and what happens at them
//! - [`ports`]: the layer around the ports
//! - [`spec`]: what a worker is told
//! - [`run`]: the worker itself
//! - [`process`]: the worker as its parent sees it

pub mod faults;
pub mod ports;
pub mod process;
pub mod run;
pub mod spec;

pub use faults::{Action, Fault, Point};
pub use process::Worker;
pub use spec::WorkerSpec;
