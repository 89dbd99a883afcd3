//! What each device does in its own way: attention and the fused element-wise steps.
//!
//! Linear layers are in `matrix`; the rest of a forward pass goes through [`Kernels`]. Activations are
//! packed, `[tokens, features]`, sequences end to end without padding: f32 on a CPU, bf16 on a GPU.

mod attention;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod few;
mod math;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "cuda"))]
mod unfused;
mod vector;

#[cfg(test)]
use candle_core::Device;
use candle_core::{Result, Tensor};

use crate::backend::{Memory, Pending};

pub(crate) use cpu::Cpu;

/// A few numbers of a batch, known on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    /// In main memory.
    pub(crate) host: Vec<u32>,
    /// The same, `[numbers]`, u32.
    pub(crate) device: Tensor,
}

impl Numbers {
    /// On the CPU both sides are one.
    #[cfg(test)]
    pub(crate) fn on_cpu(host: &[u32]) -> Result<Self> {
        Ok(Self { host: host.to_vec(), device: Tensor::new(host, &Device::Cpu)? })
    }
}

/// [`Spans`] as a GPU's kernels read them: see `livedex_cuda::plan`.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "a GPU's kernels alone read it"))]
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// Six numbers for each sequence.
    pub(crate) spans: Tensor,
    /// Two for each block of queries.
    pub(crate) blocks: Tensor,
}

/// Lengths of packed sequences, on the side of the queries and of the keys. They differ where
/// queries are computed for some positions only; [`Mask`] says which those may be.
///
/// A sequence may continue another one of the batch: its keys are then two segments, those of
/// the prefix and its own. Any number may continue the same prefix, whose keys and values are
/// there once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans<'a> {
    /// Query rows of each sequence.
    pub(crate) queries: &'a [usize],
    /// Key rows of each sequence, its prefix's not counted.
    pub(crate) keys: &'a [usize],
    /// The sequence that each one continues, which must not continue one itself. Empty: none
    /// continues another.
    pub(crate) prefixes: &'a [Option<usize>],
    /// The same for a device that asked for it ([`Kernels::wants_tables`]).
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "a GPU's kernels alone read it"))]
    pub(crate) tables: Option<&'a Tables>,
}

impl Spans<'_> {
    /// The sequence that this one continues.
    fn prefix(&self, sequence: usize) -> Option<usize> {
        self.prefixes.get(sequence).copied().flatten()
    }

    /// Every prefix is a sequence that is whole by itself.
    fn prefixes_fit(&self) -> bool {
        let whole = |prefix: &usize| *prefix < self.keys.len() && self.prefix(*prefix).is_none();
        (self.prefixes.is_empty() || self.prefixes.len() == self.keys.len())
            && self.prefixes.iter().flatten().all(whole)
    }
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All keys of its sequence. The queries may be any.
    Full,
    /// Those up to its own. The queries are the last ones of a sequence: the last query sees the
    /// last key, each earlier query one key less.
    Causal,
    /// Those at most this many positions away, on either side. The queries are the first ones of
    /// a sequence.
    Near(usize),
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
    /// `[features]`; none for RMS norms, and for layer norms that only scale.
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

/// A device's own steps. Arguments called `out` are changed in place and must be nobody else's. On a
/// GPU none of them waits for the work that it starts, but for the one that says so.
pub(crate) trait Kernels: Send + Sync {
    /// Whether [`Spans`] are to come with [`Tables`].
    fn wants_tables(&self) -> bool {
        false
    }

    /// The device's memory; `None` where it is the machine's.
    fn memory(&self) -> Option<Memory> {
        None
    }

    /// Numbers of a batch, on the device: `[numbers]`, u32.
    fn place(&self, numbers: &[u32]) -> Result<Tensor>;

    /// Rows of a matrix in main memory, when the device is done.
    fn land(&self, matrix: &Tensor) -> Result<Pending<Vec<Vec<f32>>>>;

    /// Of a table `[rows, features]` the rows `ids`.
    fn rows(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor>;

    /// `out += delta`.
    fn add(&self, out: &Tensor, delta: &Tensor) -> Result<()>;

    /// `out += delta`, if there is one; and the RMS norm of the result.
    fn add_rms_norm(&self, out: &Tensor, delta: Option<&Tensor>, norm: &Norm) -> Result<Tensor>;

    /// The mean of each sequence's rows (its first one and how many), of that the leading
    /// `dimension` numbers, scaled to length 1: `[sequences, dimension]`, f32. A mean of length 0
    /// becomes NaN, which callers of a backend check for.
    fn pool(
        &self,
        x: &Tensor,
        firsts: &Numbers,
        counts: &Numbers,
        dimension: usize,
    ) -> Result<Tensor>;

    /// The mean of each sequence's rows, as activations are: `[sequences, features]`.
    fn means(&self, x: &Tensor, firsts: &Numbers, counts: &Numbers) -> Result<Tensor>;

    /// Products of each row with a few others, `[others, features]`: `[rows, others]`, f32.
    fn dots(&self, x: &Tensor, others: &Tensor) -> Result<Tensor>;

    /// Variable-length attention. `q` has `sum(queries)` rows, `k` and `v` have `sum(keys)`; the
    /// heads of `q` are a multiple of those of `k` and `v`. Of a prefix every query sees every key.
    /// Gives `[sum(queries), heads of q * d]`.
    fn attention(
        &self,
        q: Heads<'_>,
        k: Heads<'_>,
        v: Heads<'_>,
        spans: Spans<'_>,
        mask: Mask,
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

    /// `norm(x)`, mean and variance over the features; `x` stays as it is.
    fn layer_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor>;

    /// RMS norm of each head (if there is one), then rotation by the token's position, halves
    /// against each other as in transformers. Gives a contiguous `[tokens, heads * d]`.
    fn norm_rope(
        &self,
        x: Heads<'_>,
        norm: Option<&Norm>,
        rope: &Rope,
        positions: &Numbers,
    ) -> Result<Tensor>;

    /// `silu(gate) * up` of `[tokens, 2 * features]` whose rows are gate, then up. Gives
    /// `[tokens, features]`.
    fn silu_mul(&self, gate_up: &Tensor) -> Result<Tensor>;

    /// As [`Self::silu_mul`], with the GELU of the gate (by the error function).
    fn gelu_mul(&self, gate_up: &Tensor) -> Result<Tensor>;
}
