//! Cross-encoders: a forward pass and a head that gives probabilities.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use livedex_core::ports::ModelInfo;

use crate::{
    backend::{ForwardError, PairTokenizer, PairTokens, RerankBackend},
    bert::{Bert, Classifier},
    modernbert::{Head, ModernBert},
    packed::{Packed, Wanted, forward_error},
    qwen3::{Qwen3, Verdict, second_of_two},
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

    fn scores(&self, batch: &Packed, types: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Bert(bert, head, _) => {
                let firsts = bert.forward(batch, Some(types), Wanted::Firsts)?;
                probabilities(&head.logits(&firsts, bert.kernels())?)
            }
            Self::ModernBert(bert, head, _) => probabilities(&head.logits(bert, batch)?),
            Self::Qwen3(qwen, head, _) => head.probabilities(&qwen.forward(batch)?),
        }
    }
}

/// Of one label or two: `[sequences, labels]`.
fn probabilities(logits: &Tensor) -> Result<Vec<f32>> {
    let logits = logits.to_vec2::<f32>()?;
    Ok(logits
        .iter()
        .map(|row| match row.as_slice() {
            [one] => 1.0 / (1.0 + (-one).exp()),
            two => second_of_two(two),
        })
        .collect())
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
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(pair) = batch.iter().find(|p| p.ids.len() != p.type_ids.len()) {
            return Err(ForwardError::Input(format!(
                "a pair has {} tokens and {} segments",
                pair.ids.len(),
                pair.type_ids.len()
            )));
        }
        let (max_tokens, vocabulary) = (self.info.max_tokens, self.scorer.vocabulary());
        let packed = match &self.scorer {
            Scorer::Qwen3(..) => Packed::sharing(batch, max_tokens, vocabulary, &self.device),
            _ => {
                let ids = batch.iter().map(|pair| pair.ids.as_slice());
                Packed::new(ids, max_tokens, vocabulary, &self.device)
            }
        }?;
        let types: Vec<u32> = batch.iter().flat_map(|pair| pair.type_ids.iter().copied()).collect();
        self.scorer.scores(&packed, &types).map_err(forward_error)
    }
}
