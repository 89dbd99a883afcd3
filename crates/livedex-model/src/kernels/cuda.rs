//! A GPU's kernels.

use candle_core::{Result, Tensor, bail};
use livedex_cuda::{Attended, Gpu, OpenError, Transfer};

use super::{Activation, Heads, Kernels, Mask, Norm, Numbers, Rope, Spans, unfused};
use crate::{
    backend::{Memory, Pending},
    choice::Attention,
    packed::forward_error,
};

/// A GPU.
pub(crate) struct Cuda {
    gpu: Gpu,
    kernels: livedex_cuda::Kernels,
    transfer: Transfer,
    attention: Attention,
}

impl Cuda {
    pub(crate) fn new(gpu: &Gpu, attention: Attention) -> std::result::Result<Self, OpenError> {
        let kernels = livedex_cuda::Kernels::load(gpu)?;
        Ok(Self { gpu: gpu.clone(), kernels, transfer: Transfer::new(gpu), attention })
    }
}

impl Kernels for Cuda {
    fn wants_tables(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<Memory> {
        let (used, total) = self.gpu.memory().ok()?;
        Some(Memory { used: used as u64, total: total as u64 })
    }

    fn place(&self, numbers: &[u32]) -> Result<Tensor> {
        self.transfer.upload(numbers)
    }

    fn land(&self, matrix: &Tensor) -> Result<Pending<Vec<Vec<f32>>>> {
        let landing = self.transfer.land(matrix)?;
        Ok(Pending::running(move || landing.wait().map_err(forward_error)))
    }

    fn rows(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        self.kernels.gather_rows(table, ids)
    }

    fn add(&self, out: &Tensor, delta: &Tensor) -> Result<()> {
        self.kernels.add(out, delta)
    }

    fn add_rms_norm(&self, out: &Tensor, delta: Option<&Tensor>, norm: &Norm) -> Result<Tensor> {
        self.kernels.add_rms_norm(out, delta, &norm.weight, norm.eps)
    }

    fn pool(
        &self,
        x: &Tensor,
        firsts: &Numbers,
        counts: &Numbers,
        dimension: usize,
    ) -> Result<Tensor> {
        self.kernels.pool(x, (&firsts.device, &counts.device), dimension, true)
    }

    fn means(&self, x: &Tensor, firsts: &Numbers, counts: &Numbers) -> Result<Tensor> {
        let rows = (&firsts.device, &counts.device);
        self.kernels.pool(x, rows, x.dim(1)?, false)?.to_dtype(x.dtype())
    }

    fn dots(&self, x: &Tensor, others: &Tensor) -> Result<Tensor> {
        self.kernels.dots(x, others)
    }

    fn attention(
        &self,
        q: Heads<'_>,
        k: Heads<'_>,
        v: Heads<'_>,
        spans: Spans<'_>,
        mask: Mask,
        scale: f32,
    ) -> Result<Tensor> {
        let head_dim = q.rows.dim(1)? / q.count.max(1);
        if self.attention == Attention::Cublas || !self.kernels.attends(head_dim) {
            return unfused::attention(unfused::SCORES, (q, k, v), spans, mask, scale);
        }
        let Some(tables) = spans.tables else { bail!("the spans came without tables") };
        let (mask, window) = match mask {
            Mask::Full => (0, 0),
            Mask::Causal => (1, 0),
            Mask::Near(reach) => (2, u32::try_from(reach).unwrap_or(u32::MAX)),
        };
        let (spans, blocks) = (&tables.spans, &tables.blocks);
        let what = Attended { spans, blocks, mask, window, scale };
        self.kernels.attention((q.rows, q.count), (k.rows, v.rows, k.count), what)
    }

    fn product_of_few(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        x.matmul(&weights.t()?)
    }

    fn bias_activation(&self, out: &Tensor, bias: &Tensor, activation: Activation) -> Result<()> {
        let kind = match activation {
            Activation::Identity => 0,
            Activation::Gelu => 1,
            Activation::GeluTanh => 2,
            Activation::Relu => 3,
            Activation::Tanh => 4,
        };
        self.kernels.bias_activation(out, bias, kind)
    }

    fn add_layer_norm(
        &self,
        out: &Tensor,
        bias: Option<&Tensor>,
        residual: &Tensor,
        norm: &Norm,
    ) -> Result<()> {
        let scaled = (&norm.weight, norm.bias.as_ref());
        self.kernels.layer_norm(out, out, (bias, Some(residual)), scaled, norm.eps)
    }

    fn layer_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let out = self.kernels.like(x)?;
        let scaled = (&norm.weight, norm.bias.as_ref());
        self.kernels.layer_norm(&out, x, (None, None), scaled, norm.eps)?;
        Ok(out)
    }

    fn norm_rope(
        &self,
        x: Heads<'_>,
        norm: Option<&Norm>,
        rope: &Rope,
        positions: &Numbers,
    ) -> Result<Tensor> {
        let norm = norm.map(|norm| (&norm.weight, norm.eps));
        self.kernels.norm_rope(x.rows, x.count, norm, (&rope.cos, &rope.sin), &positions.device)
    }

    fn silu_mul(&self, gate_up: &Tensor) -> Result<Tensor> {
        self.kernels.gated(gate_up, 0)
    }

    fn gelu_mul(&self, gate_up: &Tensor) -> Result<Tensor> {
        self.kernels.gated(gate_up, 1)
    }
}
