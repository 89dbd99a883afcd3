//! Query workers that cost what one says: processes that can be killed, and load on them.
//!
//! The service is the real one (`livedex-query`, in the process `livedex-query-worker`); its models and its
//! collection take the time that they are told to, and nothing else.

pub mod load;
pub mod ports;
pub mod worker;

pub use load::{Load, Outcome, Report};
pub use worker::{QueryWorker, WorkerSpec};
