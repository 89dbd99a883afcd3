//! What each device does in its own way: attention and the fused element-wise steps.
//!
//! Linear layers are in `matrix`; the rest of a forward pass goes through [`Kernels`]. Activations are packed, `[tokens, features]`, f32, sequences end to end without
//! padding.

mod attention;
pub(crate) mod cpu;
mod few;
mod math;
#[cfg(test)]
mod tests;
mod vector;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

pub(crate) use cpu::Cpu;

/// Lengths of packed sequences, on the side of the queries and of the keys. They differ where
/// queries are computed for some positions only: a sequence's queries are then its last ones
/// (causal), or any (not causal).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans<'a> {
    /// Query rows of each sequence.
    pub(crate) queries: &'a [usize],
    /// Key rows of each sequence.
    pub(crate) keys: &'a [usize],
}

/// Attention heads side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads<'a> {
    /// `[tokens, heads * d]`; may be a range of columns of a wider matrix.
    pub(crate) rows: &'a Tensor,
    /// How many.
    pub(crate) count: usize,
}

/// The element-wise function between two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// None.
    Identity,
    /// `x * Phi(x)`, by the error function.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// tanh.
    Tanh,
}

/// The scale, shift and epsilon of a normalisation.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    /// `[features]`.
    pub(crate) weight: Tensor,
    /// `[features]`; none for RMS norms.
    pub(crate) bias: Option<Tensor>,
    /// Added to the variance.
    pub(crate) eps: f32,
}

/// Rotary position tables, `[positions, head_dim / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// Cosines.
    pub(crate) cos: Tensor,
    /// Sines.
    pub(crate) sin: Tensor,
}

/// A device's own steps. Arguments called `out` are changed in place and must be nobody else's.
pub(crate) trait Kernels: Send + Sync {
    /// Variable-length attention. `q` has `sum(queries)` rows, `k` and `v` have `sum(keys)`; the
    /// heads of `q` are a multiple of those of `k` and `v`. `causal`: the last query of a
    /// sequence sees its last key, each earlier query one key less. Gives
    /// `[sum(queries), heads of q * d]`.
    fn attention(
        &self,
        q: Heads<'_>,
        k: Heads<'_>,
        v: Heads<'_>,
        spans: Spans<'_>,
        causal: bool,
        scale: f32,
    ) -> Result<Tensor>;

    /// `x W^T` for a few rows of `x`; `weights` has a row for each output.
    fn product_of_few(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor>;

    /// `out = activation(out + bias)`, the bias `[features]`.
    fn bias_activation(&self, out: &Tensor, bias: &Tensor, activation: Activation) -> Result<()>;

    /// `out = norm(out + bias + residual)`, mean and variance over the features.
    fn add_layer_norm(
        &self,
        out: &Tensor,
        bias: Option<&Tensor>,
        residual: &Tensor,
        norm: &Norm,
    ) -> Result<()>;

    /// RMS norm of each head, then rotation by the token's position, halves against each other
    /// as in transformers. Gives a contiguous `[tokens, heads * d]`.
    fn norm_rope(
        &self,
        x: Heads<'_>,
        norm: &Norm,
        rope: &Rope,
        positions: &[u32],
    ) -> Result<Tensor>;

    /// `silu(gate) * up` of `[tokens, 2 * features]` whose rows are gate, then up. Gives
    /// `[tokens, features]`.
    fn silu_mul(&self, gate_up: &Tensor) -> Result<Tensor>;
}

/// The kernels of a device.
pub(crate) fn for_device(device: &Device) -> Result<Arc<dyn Kernels>> {
    match device {
        Device::Cpu => Ok(Arc::new(Cpu::new())),
        other => candle_core::bail!("no kernels for {other:?}"),
    }
}
