//! The weights of linear layers, and who multiplies with them.

use std::ops::Range;

use candle_core::{
    DType, Device, Module, Result, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};
use livedex_onednn::Packed;

use crate::{
    kernels::{Activation, Kernels, cpu, rows},
    precision::Products,
};

/// candle's quantised products are fast for whole blocks of so many inputs only; a layer with
/// other inputs stays in f32, where it is faster and more exact.
pub(crate) const QUANTISED_INPUTS: usize = 256;

/// Rows of one quantised product: more at a time are slower, their quantised form leaves the
/// cache.
const QUANTISED_ROWS: usize = 128;

/// Below so many rows candle's product, which repacks the weights each time, takes longer than
/// reading them once.
const FEW_ROWS: usize = 24;

/// `[outputs, inputs]`, as a device likes it best.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// candle multiplies, in the numbers that it has.
    Plain(Tensor),
    /// candle multiplies in 8 bits, with a part for each stacked layer.
    Quantised(Vec<(Range<usize>, QMatMul)>),
    /// oneDNN multiplies.
    Packed(Packed),
}

impl Matrix {
    /// Stacks matrices of the same inputs.
    pub(crate) fn new(products: Products, layers: &[Tensor], inputs: usize) -> Result<Self> {
        match products {
            Products::Quantised if inputs.is_multiple_of(QUANTISED_INPUTS) => quantise(layers),
            Products::Candle | Products::Quantised => Ok(Self::Plain(Tensor::cat(layers, 0)?)),
            Products::Gpu => {
                let layers = layers.iter().map(|layer| layer.to_dtype(DType::BF16));
                Ok(Self::Plain(Tensor::cat(&layers.collect::<Result<Vec<_>>>()?, 0)?))
            }
            Products::OneDnn(library, precision) => {
                let layers: Vec<Tensor> =
                    layers.iter().map(Tensor::contiguous).collect::<Result<_>>()?;
                let lent: Vec<_> = layers.iter().map(Tensor::storage_and_layout).collect();
                let layers: Vec<&[f32]> = lent
                    .iter()
                    .map(|(storage, layout)| cpu::slice(storage, layout))
                    .collect::<Result<_>>()?;
                Packed::new(library, &layers, inputs, precision)
                    .map(Self::Packed)
                    .map_err(candle_core::Error::wrap)
            }
        }
    }

    /// `x W^T` for some outputs, then plus their bias and through an activation.
    pub(crate) fn multiply(
        &self,
        x: &Tensor,
        outputs: &Range<usize>,
        finish: Option<(&Tensor, Activation)>,
        kernels: &dyn Kernels,
    ) -> Result<Tensor> {
        let out = match self {
            Self::Plain(weights) => {
                let weights = weights.narrow(0, outputs.start, outputs.len())?;
                match (x.dim(0)?, x.device()) {
                    (..FEW_ROWS, Device::Cpu) => kernels.product_of_few(x, &weights)?,
                    _ => x.matmul(&weights.t()?)?,
                }
            }
            Self::Quantised(parts) => {
                let parts = parts
                    .iter()
                    .filter(|(range, _)| range.start >= outputs.start && range.end <= outputs.end);
                let products =
                    parts.map(|(_, part)| by_rows(x, part)).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&products, 1)?
            }
            Self::Packed(packed) => return multiply_packed(packed, x, outputs, finish),
        };
        if let Some((bias, activation)) = finish {
            kernels.bias_activation(&out, bias, activation)?;
        }
        Ok(out)
    }
}

fn quantise(layers: &[Tensor]) -> Result<Matrix> {
    let mut start = 0;
    let part = |layer: &Tensor| {
        let range = start..start + layer.dim(0)?;
        start = range.end;
        Ok((range, QMatMul::from_qtensor(QTensor::quantize(layer, GgmlDType::Q8_0)?)?))
    };
    layers.iter().map(part).collect::<Result<_>>().map(Matrix::Quantised)
}

fn by_rows(x: &Tensor, part: &QMatMul) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let blocks = (0..rows)
        .step_by(QUANTISED_ROWS)
        .map(|first| part.forward(&x.narrow(0, first, QUANTISED_ROWS.min(rows - first))?));
    Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 0)
}

fn multiply_packed(
    packed: &Packed,
    x: &Tensor,
    outputs: &Range<usize>,
    finish: Option<(&Tensor, Activation)>,
) -> Result<Tensor> {
    let count = x.dim(0)?;
    let product = cpu::with_slice(x, |x| {
        let product = match finish {
            None => packed.multiply(x, outputs.clone(), &|_, _| {}),
            Some((bias, activation)) => cpu::with_slice(bias, |bias| {
                let finish = |tile: &mut [f32], part: Range<usize>| {
                    let part = part.start - outputs.start..part.end - outputs.start;
                    rows::add_activate(tile, &bias[part], activation);
                };
                Ok(packed.multiply(x, outputs.clone(), &finish))
            })?,
        };
        product.map_err(candle_core::Error::wrap)
    })?;
    Tensor::from_vec(product, (count, outputs.len()), x.device())
}
