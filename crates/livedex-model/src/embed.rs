//! Bi-encoders: a forward pass, pooling, normalisation.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use livedex_core::ports::ModelInfo;

use crate::{
    backend::{EmbedBackend, EmbedTokenizer, ForwardError, Memory, Pending},
    bert::Bert,
    device::Device,
    kernels::Kernels,
    modernbert::ModernBert,
    packed::{Packed, Shape, Wanted, forward_error},
    qwen3::Qwen3,
    settings::Pooling,
    tokenize::Embedding,
};

/// The bare model and its vocabulary's size.
pub(crate) enum Encoder {
    /// With first-token or mean pooling.
    Bert(Bert, usize),
    /// As `Bert`.
    ModernBert(ModernBert, usize),
    /// With last-token pooling.
    Qwen3(Qwen3, usize),
}

impl Encoder {
    fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(_, n) | Self::ModernBert(_, n) | Self::Qwen3(_, n) => *n,
        }
    }

    /// Each sequence's vector, L2-normalised: `[sequences, dimension]`.
    fn pooled(&self, batch: &Packed, kernels: &dyn Kernels, dimension: usize) -> Result<Tensor> {
        let hidden = match self {
            Self::Bert(bert, _) => bert.forward(batch)?,
            Self::ModernBert(bert, _) => bert.forward(batch)?,
            Self::Qwen3(qwen, _) => qwen.forward(batch)?,
        };
        let (firsts, counts) = &batch.pooled;
        kernels.pool(&hidden, firsts, counts, dimension)
    }
}

/// The rows that pooling needs.
fn wanted(pooling: Pooling) -> Wanted {
    match pooling {
        Pooling::Cls => Wanted::Firsts,
        Pooling::Mean => Wanted::All,
        Pooling::Last => Wanted::Lasts,
    }
}

/// Tokens a thread of one pass through the layers, on a CPU: more, and what one layer leaves is out
/// of the cache when the next one takes it up (5 to 8 % slower with all-MiniLM-L6-v2); less, and
/// reading the weights shows.
const SLICE_TOKENS: usize = 512;

/// Cuts a batch into parts of at most `limit` tokens; a longer sequence is one of its own.
fn slices(batch: &[Vec<u32>], limit: usize) -> impl Iterator<Item = &[Vec<u32>]> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |ids: &&Vec<u32>| {
            tokens += ids.len();
            tokens <= limit
        };
        let taken = rest.iter().take_while(fits).count().max(1);
        let (slice, tail) = rest.split_at_checked(taken)?;
        rest = tail;
        Some(slice)
    })
}

/// A loaded bi-encoder.
pub(crate) struct Embedder {
    info: ModelInfo,
    encoder: Encoder,
    pooling: Pooling,
    tokenizer: Arc<Embedding>,
    device: Device,
}

impl Embedder {
    pub(crate) fn new(
        info: ModelInfo,
        encoder: Encoder,
        pooling: Pooling,
        tokenizer: Embedding,
        device: Device,
    ) -> Self {
        Self { info, encoder, pooling, tokenizer: Arc::new(tokenizer), device }
    }
}

impl EmbedBackend for Embedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer> {
        self.tokenizer.clone()
    }

    fn forward(&mut self, batch: &[Vec<u32>]) -> std::result::Result<Vec<Vec<f32>>, ForwardError> {
        let mut vectors = Vec::with_capacity(batch.len());
        let limit = match self.is_asynchronous() {
            false => SLICE_TOKENS * rayon::current_num_threads(),
            true => usize::MAX,
        };
        for slice in slices(batch, limit) {
            vectors.extend(self.submit(slice)?.wait()?);
        }
        Ok(vectors)
    }

    fn submit(
        &mut self,
        batch: &[Vec<u32>],
    ) -> std::result::Result<Pending<Vec<Vec<f32>>>, ForwardError> {
        if batch.is_empty() {
            return Ok(Pending::ready(Vec::new()));
        }
        let (kernels, info) = (self.device.kernels(), &self.info);
        let vocabulary = self.encoder.vocabulary();
        let shape = Shape { max_tokens: info.max_tokens, vocabulary, wanted: wanted(self.pooling) };
        let packed = Packed::new(batch.iter().map(Vec::as_slice), shape, kernels)?;
        let vectors = self.encoder.pooled(&packed, kernels, info.dimension);
        vectors.and_then(|vectors| kernels.land(&vectors)).map_err(forward_error)
    }

    fn is_asynchronous(&self) -> bool {
        self.device.is_asynchronous()
    }

    fn memory(&self) -> Option<Memory> {
        self.device.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_keep_order_and_limit() {
        let batch: Vec<Vec<u32>> = [3, 4, 9, 1, 2, 5, 5].map(|n| vec![0; n]).to_vec();
        let lengths = |slice: &[Vec<u32>]| slice.iter().map(Vec::len).collect::<Vec<_>>();
        let cut: Vec<Vec<usize>> = slices(&batch, 8).map(lengths).collect();
        assert_eq!(cut, [vec![3, 4], vec![9], vec![1, 2, 5], vec![5]]);
        assert_eq!(slices(&batch, usize::MAX).count(), 1);
        assert_eq!(slices(&[], 8).count(), 0);
    }
}
