//! Linear layers over packed activations.

use std::{ops::Range, sync::Arc};

use candle_core::{Result, Tensor};

use crate::{
    error::LoadError,
    kernels::{Activation, Kernels},
    matrix::Matrix,
    weights::Weights,
};

/// `x W^T + b`, several layers of one input possibly stacked into one.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    matrix: Arc<Matrix>,
    /// Of the outputs that are computed.
    bias: Option<Tensor>,
    /// Those that are computed.
    outputs: Range<usize>,
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
            matrices.push(weights.read_for_place(&format!("{name}.weight"), (*outputs, inputs))?);
            if bias {
                vectors.push(weights.read(&format!("{name}.bias"), *outputs)?);
            }
        }
        Self::new(weights, &matrices, &vectors, inputs)
    }

    /// As [`Self::load`], of layers that the checkpoint holds stacked under one name: `layers` of
    /// them, of `outputs` each.
    pub(crate) fn load_stacked(
        weights: &Weights,
        name: &str,
        (layers, outputs): (usize, usize),
        inputs: usize,
        bias: bool,
    ) -> std::result::Result<Self, LoadError> {
        let all = layers * outputs;
        let stacked = weights.read_for_place(&format!("{name}.weight"), (all, inputs))?;
        let matrices = stacked.chunk(layers, 0).map_err(|source| prepared(weights, source))?;
        let vector = bias.then(|| weights.read(&format!("{name}.bias"), all)).transpose()?;
        Self::new(weights, &matrices, vector.as_slice(), inputs)
    }

    fn new(
        weights: &Weights,
        matrices: &[Tensor],
        biases: &[Tensor],
        inputs: usize,
    ) -> std::result::Result<Self, LoadError> {
        let stack = || -> Result<Self> {
            let bias = match biases {
                [] => None,
                biases => Some(weights.place(&Tensor::cat(biases, 0)?)?),
            };
            let outputs = 0..matrices.iter().map(|m| m.dims()[0]).sum();
            let matrix = match Matrix::new(weights.products(), matrices, inputs)? {
                Matrix::Plain(stacked) => Matrix::Plain(weights.place(&stacked)?),
                packed => packed,
            };
            let matrix = Arc::new(matrix);
            Ok(Self { matrix, bias, outputs })
        };
        stack().map_err(|source| prepared(weights, source))
    }

    /// The part with outputs `start..start + len`, which begins and ends where a stacked layer
    /// does.
    pub(crate) fn part(&self, start: usize, len: usize) -> Result<Self> {
        let outputs = start..start + len;
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, start, len)).transpose()?;
        Ok(Self { matrix: self.matrix.clone(), bias, outputs })
    }

    /// `[tokens, in]` to `[tokens, out]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        kernels: &dyn Kernels,
        activation: Activation,
    ) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => self.matrix.multiply(x, &self.outputs, Some((bias, activation)), kernels),
            None if activation == Activation::Identity => self.product(x, kernels),
            None => candle_core::bail!("a layer without bias has no activation here"),
        }
    }

    /// Without the bias, for a caller that adds it itself.
    pub(crate) fn product(&self, x: &Tensor, kernels: &dyn Kernels) -> Result<Tensor> {
        self.matrix.multiply(x, &self.outputs, None, kernels)
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

fn prepared(weights: &Weights, source: candle_core::Error) -> LoadError {
    let model = weights.checkpoint().files()[0].display().to_string();
    LoadError::Device { model, source }
}
