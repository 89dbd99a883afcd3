//! Bi-encoders: a forward pass, pooling, normalisation.

use std::sync::Arc;

use candle_core::{Device, Result};
use livedex_core::ports::ModelInfo;

use crate::{
    backend::{EmbedBackend, EmbedTokenizer, ForwardError},
    bert::Bert,
    modernbert::ModernBert,
    packed::{self, Packed, Wanted, forward_error},
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

    fn pooled(&self, batch: &Packed, pooling: Pooling) -> Result<Vec<Vec<f32>>> {
        let wanted = match pooling {
            Pooling::Cls => Wanted::Firsts,
            Pooling::Mean | Pooling::Last => Wanted::All,
        };
        let hidden = match self {
            Self::Bert(bert, _) => bert.forward(batch, None, wanted)?,
            Self::ModernBert(bert, _) => bert.forward(batch, wanted)?,
            Self::Qwen3(qwen, _) => return qwen.forward(batch)?.to_vec2(),
        };
        match pooling {
            Pooling::Cls => hidden.to_vec2(),
            Pooling::Mean => packed::mean(&hidden, &batch.lengths),
            Pooling::Last => {
                let rows = candle_core::Tensor::new(batch.lasts(), batch.ids.device())?;
                hidden.index_select(&rows, 0)?.to_vec2()
            }
        }
    }
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
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let packed = Packed::new(
            batch.iter().map(Vec::as_slice),
            self.info.max_tokens,
            self.encoder.vocabulary(),
            &self.device,
        )?;
        let vectors = self.encoder.pooled(&packed, self.pooling).map_err(forward_error)?;
        Ok(vectors.into_iter().map(|v| packed::finish(v, self.info.dimension)).collect())
    }
}
