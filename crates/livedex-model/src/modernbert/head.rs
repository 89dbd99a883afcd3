//! The classifier of `ModernBertForSequenceClassification`.

use std::path::Path;

use candle_core::{DType, Result, Tensor};

use super::{Config, ModernBert, load_norm};
use crate::{
    error::LoadError,
    kernels::{Activation, Norm},
    linear::Linear,
    packed::Packed,
    settings::Pooling,
    weights::Weights,
};

/// Pooling, a layer, a norm, labels.
pub(crate) struct Head {
    pooling: Pooling,
    dense: Linear,
    /// Zeros where the layer has no bias.
    bias: Tensor,
    activation: Activation,
    norm: Norm,
    classifier: Linear,
}

impl Head {
    /// With one label (sigmoid) or two (softmax, the second is "relevant").
    pub(crate) fn load(
        config: &Config,
        config_path: &Path,
        labels: usize,
        weights: &Weights,
    ) -> std::result::Result<Self, LoadError> {
        let hidden = config.hidden_size;
        let dense = ("head.dense".to_owned(), hidden);
        let dense = Linear::load(weights, &[dense], hidden, config.classifier_bias)?;
        let bias = match dense.bias() {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(hidden, DType::F32, &candle_core::Device::Cpu)
                .and_then(|zeros| weights.place(&zeros))
                .map_err(|source| LoadError::Device {
                    model: config_path.display().to_string(),
                    source,
                })?,
        };
        Ok(Self {
            pooling: config.classifier_pooling(config_path)?,
            dense,
            bias,
            activation: config.classifier_activation(config_path)?,
            norm: load_norm(config, weights, "head.norm")?,
            classifier: Linear::load(weights, &[("classifier".into(), labels)], hidden, true)?,
        })
    }

    /// How its input is pooled.
    pub(crate) fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The labels of each sequence: `[sequences, labels]`.
    pub(crate) fn logits(&self, model: &ModernBert, batch: &Packed) -> Result<Tensor> {
        let hidden = model.forward(batch)?;
        let pooled = match self.pooling {
            Pooling::Mean => means(&hidden, &batch.lengths)?,
            _ => hidden,
        };
        let kernels = model.kernels();
        let out = self.dense.product(&pooled, kernels)?;
        kernels.bias_activation(&out, &self.bias, self.activation)?;
        let normed = kernels.layer_norm(&out, &self.norm)?;
        self.classifier.forward(&normed, kernels, Activation::Identity)
    }
}

/// The mean of each sequence's rows, in main memory: on a GPU this waits.
fn means(hidden: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let rows = hidden.to_dtype(DType::F32)?.to_device(&candle_core::Device::Cpu)?;
    let mut start = 0;
    let means = lengths.iter().map(|length| {
        let of = rows.narrow(0, start, *length)?;
        start += length;
        of.mean_keepdim(0)
    });
    let means = Tensor::cat(&means.collect::<Result<Vec<_>>>()?, 0)?;
    means.to_dtype(hidden.dtype())?.to_device(hidden.device())
}
