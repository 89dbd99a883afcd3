//! The seam between the forward passes and the runtime that owns the device.
//!
//! A backend is the part that lives on the device thread and takes packed batches of token
//! ids; its tokenizer is the part that runs on the caller's side. The runtime knows nothing of
//! model families, the backends know nothing of lanes, deadlines and budgets, so either can be
//! replaced (and tested) alone.

use std::sync::Arc;

use livedex_core::ports::{ModelInfo, TokenCounter};

pub use pending::Pending;

mod pending;

/// Why a tokenizer or a forward pass gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The device has no room for this batch; a smaller one may fit.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The input itself is at fault (it cannot be tokenized, or is empty, too long, or has an
    /// id beyond the vocabulary); it will never work, others may.
    #[error("{0}")]
    Input(String),
    /// The device or its library failed; nothing is known about later batches.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A device's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Taken, by whomever.
    pub used: u64,
    /// All that it has.
    pub total: u64,
}

/// A bi-encoder's forward pass. Owned by one thread.
pub trait EmbedBackend: Send {
    /// What it is.
    fn info(&self) -> &ModelInfo;
    /// The tokenizer that makes its input.
    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer>;
    /// One vector per sequence, in order: `info().dimension` numbers, L2-normalised. Each
    /// sequence has `1..=info().max_tokens` ids, as the tokenizer makes them; otherwise the
    /// whole batch is refused with [`ForwardError::Input`]. An empty batch gives an empty
    /// result. Values are not checked for NaN: that is the caller's, which can bisect.
    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError>;
    /// Begins the forward pass of a batch and returns as soon as the device has all that it needs, while
    /// it still computes an earlier batch; up to two are begun and not waited for. What goes wrong
    /// may show here or in the result's [`Pending::wait`], which may come after this backend was
    /// dropped. By default the pass is over on return.
    fn submit(&mut self, batch: &[Vec<u32>]) -> Result<Pending<Vec<Vec<f32>>>, ForwardError> {
        self.forward(batch).map(Pending::ready)
    }
    /// Whether the device computes on its own, so that `submit` returns before it is done.
    fn is_asynchronous(&self) -> bool {
        false
    }
    /// The device's memory; `None` where it is the machine's.
    fn memory(&self) -> Option<Memory> {
        None
    }
}

/// Text to token ids for a bi-encoder, truncated to the model's `max_tokens`, special tokens
/// and prompts included: what is cut is not in the vector. The texts of ingestion are chunks,
/// which its chunker keeps below that limit; a text that is cut is counted as
/// [`TRUNCATED_TOTAL`](crate::scheduler::telemetry::TRUNCATED_TOTAL). As a [`TokenCounter`] it counts without special tokens and without a
/// limit. Pure: runs on the caller's side, off the device thread.
pub trait EmbedTokenizer: TokenCounter {
    /// A document's ids, with the model's document prompt where it has one.
    fn encode_document(&self, text: &str) -> Result<Vec<u32>, ForwardError>;
    /// A query's ids, with the model's query prompt. `instruction` replaces the model's default
    /// task; models without instructions ignore it.
    fn encode_query(
        &self,
        query: &str,
        instruction: Option<&str>,
    ) -> Result<Vec<u32>, ForwardError>;
}

/// A cross-encoder's forward pass. Owned by one thread.
pub trait RerankBackend: Send {
    /// What it is. Its dimension is 1.
    fn info(&self) -> &ModelInfo;
    /// The tokenizer that makes its input.
    fn tokenizer(&self) -> Arc<dyn PairTokenizer>;
    /// One probability (0..=1) per pair, in order. The rules of [`EmbedBackend::forward`] hold.
    fn forward(&mut self, batch: &[PairTokens]) -> Result<Vec<f32>, ForwardError>;
    /// As [`EmbedBackend::submit`].
    fn submit(&mut self, batch: &[PairTokens]) -> Result<Pending<Vec<f32>>, ForwardError> {
        self.forward(batch).map(Pending::ready)
    }
    /// As [`EmbedBackend::is_asynchronous`].
    fn is_asynchronous(&self) -> bool {
        false
    }
    /// As [`EmbedBackend::memory`].
    fn memory(&self) -> Option<Memory> {
        None
    }
}

/// A query and a document to token ids for a cross-encoder. Only the document is cut, so that a
/// template's suffix survives; a query that alone leaves no room is [`ForwardError::Input`].
pub trait PairTokenizer: Send + Sync {
    /// The pair's ids. A document that does not fit is truncated, or gives a pair for each of its
    /// parts, whose best score is the document's: see
    /// [`LongDocuments`](crate::spec::LongDocuments). Never empty. `instruction` replaces the
    /// model's default task; models without instructions ignore it.
    fn encode(
        &self,
        query: &str,
        instruction: Option<&str>,
        document: &str,
    ) -> Result<Vec<PairTokens>, ForwardError>;
}

/// A tokenized pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTokens {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The segment of each token (BERT's token types): as many as `ids`, all 0 for families
    /// without segments.
    pub type_ids: Vec<u32>,
    /// How many leading ids depend on the query and instruction alone, and so are the same for
    /// every document of that query. In a causal model their keys and values may be computed
    /// once for all candidates; 0 where that is not possible (bidirectional attention).
    pub shared_prefix: usize,
}

/// A bi-encoder, ready for the runtime or for direct use.
pub type LoadedEmbedder = Box<dyn EmbedBackend>;

/// A cross-encoder, ready for the runtime or for direct use.
pub type LoadedReranker = Box<dyn RerankBackend>;
