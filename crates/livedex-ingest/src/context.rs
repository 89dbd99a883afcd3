//! What the steps of a wave share.

use std::sync::Arc;

use livedex_core::{
    chunk::Chunker,
    ports::{Acknowledger, ChunkStore, DeadLetters, Embedder},
};

use crate::{config::Backoff, progress::Progress};

/// What every wave works with.
pub(crate) struct Context {
    pub(crate) chunker: Chunker,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) store: Arc<dyn ChunkStore>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) acknowledger: Arc<dyn Acknowledger>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) backoff: Backoff,
}
