//! Why a pipeline ends.

use livedex_core::ports::{ModelError, ServiceError};

/// An error that the pipeline cannot outlive. Everything else is tried again or becomes a dead
/// letter. Whatever was in flight is not acknowledged and comes again at the next start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The embedder is gone; the process should end.
    #[error("the embedder has stopped: {0}")]
    Model(#[source] ModelError),
    /// The source is gone.
    #[error("the source has failed: {0}")]
    Source(#[source] ServiceError),
    /// A step panicked: a bug. Going on could lose records.
    #[error("a step of the pipeline panicked: {0}")]
    Panic(String),
    /// A port broke its contract: a bug.
    #[error("{port} broke its contract: {what}")]
    Contract {
        /// Which one.
        port: &'static str,
        /// How.
        what: String,
    },
}
