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
        let (hidden, kernels) = (model.forward(batch)?, model.kernels());
        let pooled = match self.pooling {
            Pooling::Mean => kernels.means(&hidden, &batch.pooled.0, &batch.pooled.1)?,
            _ => hidden,
        };
        let out = self.dense.product(&pooled, kernels)?;
        kernels.bias_activation(&out, &self.bias, self.activation)?;
        let normed = kernels.layer_norm(&out, &self.norm)?;
        self.classifier.forward(&normed, kernels, Activation::Identity)
    }
}
