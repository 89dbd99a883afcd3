//! The scheduler: one thread owns a device's models, and everybody else asks.
//!
//! A request is admitted (or refused) and tokenized on the caller's side, queued in its lane,
//! and answered by the device thread, which forms batches after `policy`.
//!
//! # Layout
//! - `policy`: what runs next; pure, without threads and clocks
//! - `execute`: one batch on a model: out of memory, bad inputs, bad results
//! - `job`: what a caller hands to the device thread
//! - `admission`: bounded lanes, health, and the way to the device thread
//! - `device`: the device thread
//! - `models`: a device's models behind one door
//! - `flight`: the batches that are on an asynchronous device
//! - `waiter`: the thread that waits for an asynchronous device
//! - `activity`: what the device is doing, and since when
//! - `watchdog`: a device that hangs is dead
//! - `self_test`: what must work before the runtime is ready
//! - `measure`: how large a batch pays on a device
//! - `ports`: `Embedder` and `Reranker` over all this
//! - [`limits`]: every bound, with unit and reason
//! - [`telemetry`]: names and descriptions of the metrics

pub(crate) mod activity;
pub(crate) mod admission;
pub(crate) mod device;
pub(crate) mod execute;
pub(crate) mod flight;
pub(crate) mod job;
pub mod limits;
pub(crate) mod measure;
pub(crate) mod models;
pub(crate) mod policy;
pub(crate) mod ports;
pub(crate) mod self_test;
pub mod telemetry;
pub(crate) mod waiter;
pub(crate) mod watchdog;
