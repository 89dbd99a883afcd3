//! Cross-encoders: a forward pass and a head that gives probabilities.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use livedex_core::ports::ModelInfo;

use crate::{
    backend::{ForwardError, Memory, PairTokenizer, PairTokens, Pending, RerankBackend},
    bert::{Bert, Classifier},
    device::Device,
    modernbert::{Head, ModernBert},
    packed::{Packed, Shape, Wanted, forward_error},
    qwen3::{Qwen3, Verdict, second_of_two},
    settings::Pooling,
};

/// The bare model, its head and its vocabulary's size.
pub(crate) enum Scorer {
    /// With a classifier over the pooled first token.
    Bert(Bert, Classifier, usize),
    /// With a classifier over the pooled sequence.
    ModernBert(ModernBert, Head, usize),
    /// With the rows for "yes" and "no" of the language model's head.
    Qwen3(Qwen3, Verdict, usize),
}

impl Scorer {
    fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(_, _, n) | Self::ModernBert(_, _, n) | Self::Qwen3(_, _, n) => *n,
        }
    }

    /// The rows that the head needs.
    fn wanted(&self) -> Wanted {
        match self {
            Self::Bert(..) => Wanted::Firsts,
            Self::ModernBert(_, head, _) if head.pooling() == Pooling::Mean => Wanted::All,
            Self::ModernBert(..) => Wanted::Firsts,
            Self::Qwen3(..) => Wanted::Lasts,
        }
    }

    /// `[sequences, labels]`.
    fn logits(&self, batch: &Packed) -> Result<Tensor> {
        match self {
            Self::Bert(bert, head, _) => head.logits(&bert.forward(batch)?, bert.kernels()),
            Self::ModernBert(bert, head, _) => head.logits(bert, batch),
            Self::Qwen3(qwen, head, _) => head.logits(qwen, &qwen.forward(batch)?),
        }
    }
}

/// Of one label or two each.
fn probabilities(logits: Vec<Vec<f32>>) -> Vec<f32> {
    logits
        .iter()
        .map(|row| match row.as_slice() {
            [one] => 1.0 / (1.0 + (-one).exp()),
            two => second_of_two(two),
        })
        .collect()
}

/// A loaded cross-encoder.
pub(crate) struct Reranker {
    info: ModelInfo,
    scorer: Scorer,
    tokenizer: Arc<dyn PairTokenizer>,
    device: Device,
}

impl Reranker {
    pub(crate) fn new(
        info: ModelInfo,
        scorer: Scorer,
        tokenizer: Arc<dyn PairTokenizer>,
        device: Device,
    ) -> Self {
        Self { info, scorer, tokenizer, device }
    }
}

impl RerankBackend for Reranker {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn PairTokenizer> {
        self.tokenizer.clone()
    }

    fn forward(&mut self, batch: &[PairTokens]) -> std::result::Result<Vec<f32>, ForwardError> {
        self.submit(batch)?.wait()
    }

    fn submit(
        &mut self,
        batch: &[PairTokens],
    ) -> std::result::Result<Pending<Vec<f32>>, ForwardError> {
        if batch.is_empty() {
            return Ok(Pending::ready(Vec::new()));
        }
        if let Some(pair) = batch.iter().find(|p| p.ids.len() != p.type_ids.len()) {
            return Err(ForwardError::Input(format!(
                "a pair has {} tokens and {} segments",
                pair.ids.len(),
                pair.type_ids.len()
            )));
        }
        let kernels = self.device.kernels();
        let shape = Shape {
            max_tokens: self.info.max_tokens,
            vocabulary: self.scorer.vocabulary(),
            wanted: self.scorer.wanted(),
        };
        let packed = match &self.scorer {
            Scorer::Qwen3(..) => Packed::sharing(batch, shape, kernels)?,
            _ => {
                let ids = batch.iter().map(|pair| pair.ids.as_slice());
                let types = batch.iter().flat_map(|pair| pair.type_ids.iter().copied()).collect();
                Packed::new(ids, shape, kernels)?.with_types(types)
            }
        };
        let logits = self.scorer.logits(&packed).and_then(|logits| kernels.land(&logits));
        logits.map_err(forward_error)?.map(|logits| Ok(probabilities(logits)))
    }

    fn is_asynchronous(&self) -> bool {
        self.device.is_asynchronous()
    }

    fn memory(&self) -> Option<Memory> {
        self.device.memory()
    }
}
