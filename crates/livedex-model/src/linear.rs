//! Linear layers over packed activations.

use candle_core::{Result, Tensor};

use crate::{
    error::LoadError,
    kernels::{Activation, Kernels},
    weights::Weights,
};

/// `x W^T + b`, several layers of one input possibly stacked into one.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`, as checkpoints have it.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// The layers `names` of one input, stacked by output: each `[outputs, inputs]`.
    pub(crate) fn load(
        weights: &Weights,
        names: &[(String, usize)],
        inputs: usize,
        bias: bool,
    ) -> std::result::Result<Self, LoadError> {
        let mut matrices = Vec::new();
        let mut vectors = Vec::new();
        for (name, outputs) in names {
            matrices.push(weights.get(&format!("{name}.weight"), (*outputs, inputs))?);
            if bias {
                vectors.push(weights.get(&format!("{name}.bias"), *outputs)?);
            }
        }
        let stack = |parts: &[Tensor]| match parts {
            [one] => Ok(one.clone()),
            several => Tensor::cat(several, 0),
        };
        let prepared = |source| LoadError::Device {
            model: weights.checkpoint().files()[0].display().to_string(),
            source,
        };
        Ok(Self {
            weight: stack(&matrices).map_err(prepared)?,
            bias: if bias { Some(stack(&vectors).map_err(prepared)?) } else { None },
        })
    }

    /// The part with outputs `start..start + len`.
    pub(crate) fn part(&self, start: usize, len: usize) -> Result<Self> {
        Ok(Self {
            weight: self.weight.narrow(0, start, len)?,
            bias: match &self.bias {
                Some(bias) => Some(bias.narrow(0, start, len)?),
                None => None,
            },
        })
    }

    /// `[tokens, in]` to `[tokens, out]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        kernels: &dyn Kernels,
        activation: Activation,
    ) -> Result<Tensor> {
        let out = self.product(x)?;
        match &self.bias {
            Some(bias) => kernels.bias_activation(&out, bias, activation)?,
            None if activation == Activation::Identity => {}
            None => candle_core::bail!("a layer without bias has no activation here"),
        }
        Ok(out)
    }

    /// Without the bias, for a caller that adds it itself.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight.t()?)
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}
