//! Kernels that take a matrix row by row.

use candle_core::{Result, Tensor, bail};
use half::bf16;

use super::{
    Argument::{At, Count, Real},
    Kernels,
};
use crate::{
    plan,
    tensors::{Rows, address, dense, empty, number, rows, vector},
};

impl Kernels {
    /// `table[ids]`: of a `[rows, width]` table the rows of `ids`, u32.
    pub fn gather_rows(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        let (from, count) = (rows(table)?, ids.elem_count());
        let out = self.empty(count, from.width)?;
        let (to, ids) = (rows(&out)?, vector::<u32>(Some(ids), count)?);
        self.launch(
            "gather_rows",
            to.count,
            plan::row_threads(from.width),
            &[At(to.at), At(from.at), Count(from.stride), At(ids), Count(from.width)],
        )?;
        Ok(out)
    }

    /// `x += delta`, in place, and the RMS norm of the sum.
    pub fn add_rms_norm(
        &self,
        x: &Tensor,
        delta: Option<&Tensor>,
        weight: &Tensor,
        eps: f32,
    ) -> Result<Tensor> {
        let at = dense(x)?;
        let out = self.empty(at.count as usize, at.width)?;
        let to = dense(&out)?.at;
        let delta = same(delta, at)?;
        let weight = vector::<bf16>(Some(weight), at.width as usize)?;
        self.launch(
            "add_rms_norm",
            at.count,
            plan::row_threads(at.width),
            &[At(to), At(at.at), At(delta), At(weight), Count(at.width), Real(eps)],
        )?;
        Ok(out)
    }

    /// RMS norm of each head, if there is a `weight`, then rotation by `positions`, `[rows]` u32,
    /// with tables `[positions, head_dim / 2]` in f32.
    pub fn norm_rope(
        &self,
        x: &Tensor,
        heads: usize,
        norm: Option<(&Tensor, f32)>,
        (cos, sin): (&Tensor, &Tensor),
        positions: &Tensor,
    ) -> Result<Tensor> {
        let from = rows(x)?;
        let d = from.width / number(heads)?.max(1);
        if !d.is_multiple_of(16) || d > 256 {
            bail!("heads of {d} numbers: on a GPU they have a multiple of 16, at most 256");
        }
        if cos.dims2()?.1 != d as usize / 2 || cos.dims() != sin.dims() {
            bail!("rotary tables {:?} do not fit heads of {d}", cos.shape());
        }
        let out = self.empty(from.count as usize, from.width)?;
        let to = rows(&out)?;
        let weight = vector::<bf16>(norm.map(|(weight, _)| weight), d as usize)?;
        let eps = norm.map_or(0.0, |(_, eps)| eps);
        let (cos, sin) = (address::<f32>(cos)?, address::<f32>(sin)?);
        let positions = vector::<u32>(Some(positions), from.count as usize)?;
        let heads = number(heads)?;
        self.launch(
            "norm_rope",
            from.count,
            plan::rope_threads(heads, d),
            &[
                At(to.at),
                Count(to.stride),
                At(from.at),
                Count(from.stride),
                At(weight),
                At(cos),
                At(sin),
                At(positions),
                Count(heads),
                Count(d),
                Real(eps),
            ],
        )?;
        Ok(out)
    }

    /// `f(gate) * up` of rows that are gate, then up; `f` is SiLU (0) or GELU by the error function (1).
    pub fn gated(&self, gate_up: &Tensor, kind: u32) -> Result<Tensor> {
        let from = dense(gate_up)?;
        let out = self.empty(from.count as usize, from.width / 2)?;
        let to = dense(&out)?;
        self.launch(
            "gated",
            from.count,
            plan::row_threads(to.width),
            &[At(to.at), At(from.at), Count(to.width), Count(kind)],
        )?;
        Ok(out)
    }

    /// `x += delta`, in place.
    pub fn add(&self, x: &Tensor, delta: &Tensor) -> Result<()> {
        let to = dense(x)?;
        let delta = same(Some(delta), to)?;
        let arguments = [At(to.at), At(delta), Count(to.width)];
        self.launch("add", to.count, plan::row_threads(to.width), &arguments)
    }

    /// `x = f(x + bias)`, in place; `f` is the identity (0), GELU by the error function (1) or by tanh
    /// (2), ReLU (3) or tanh (4).
    pub fn bias_activation(&self, x: &Tensor, bias: &Tensor, kind: u32) -> Result<()> {
        let (count, width) = x.dims2()?;
        // Of other rows, such as a classifier's, the kernel reads a number at a time.
        let at = match width.is_multiple_of(plan::WIDE as usize) {
            true => dense(x)?.at,
            false => vector::<bf16>(Some(x), count * width)?,
        };
        let bias = vector::<bf16>(Some(bias), width)?;
        let (count, width) = (number(count)?, number(width)?);
        self.launch(
            "bias_activation",
            count,
            plan::row_threads(width),
            &[At(at), At(bias), Count(width), Count(kind)],
        )
    }

    /// The layer norm of `x + bias + residual`, into `out`, which may be `x`.
    pub fn layer_norm(
        &self,
        out: &Tensor,
        x: &Tensor,
        (bias, residual): (Option<&Tensor>, Option<&Tensor>),
        (weight, shift): (&Tensor, Option<&Tensor>),
        eps: f32,
    ) -> Result<()> {
        let from = dense(x)?;
        let (to, width) = (same(Some(out), from)?, from.width as usize);
        let residual = same(residual, from)?;
        let [bias, weight, shift] = [bias, Some(weight), shift];
        let bias = vector::<bf16>(bias, width)?;
        let (weight, shift) = (vector::<bf16>(weight, width)?, vector::<bf16>(shift, width)?);
        self.launch(
            "layer_norm",
            from.count,
            plan::row_threads(from.width),
            &[
                At(to),
                At(from.at),
                At(bias),
                At(residual),
                At(weight),
                At(shift),
                Count(from.width),
                Real(eps),
            ],
        )
    }

    /// A matrix like `x` for a result.
    pub fn like(&self, x: &Tensor) -> Result<Tensor> {
        let (count, width) = x.dims2()?;
        self.empty(count, number(width)?)
    }

    /// The mean of each sequence's rows (`firsts` and `counts`, u32), of that the leading
    /// `dimension` numbers, scaled to length 1 if `unit`: f32.
    pub fn pool(
        &self,
        x: &Tensor,
        (firsts, counts): (&Tensor, &Tensor),
        dimension: usize,
        unit: bool,
    ) -> Result<Tensor> {
        let (from, sequences) = (dense(x)?, firsts.elem_count());
        let out = empty::<f32>(self.gpu.cuda(), sequences, dimension)?;
        let to = address::<f32>(&out)?;
        let firsts = vector::<u32>(Some(firsts), sequences)?;
        let counts = vector::<u32>(Some(counts), sequences)?;
        let dimension = number(dimension)?;
        self.launch(
            "pool",
            number(sequences)?,
            plan::row_threads(dimension),
            &[
                At(to),
                At(from.at),
                At(firsts),
                At(counts),
                Count(from.width),
                Count(dimension),
                Count(unit.into()),
            ],
        )?;
        Ok(out)
    }

    /// The products of each row of `x` with a few others: `[rows of x, others]`, f32.
    pub fn dots(&self, x: &Tensor, others: &Tensor) -> Result<Tensor> {
        let (from, others) = (dense(x)?, dense(others)?);
        if from.width != others.width {
            bail!("rows of {} numbers do not fit rows of {}", from.width, others.width);
        }
        let out = empty::<f32>(self.gpu.cuda(), from.count as usize, others.count as usize)?;
        let to = address::<f32>(&out)?;
        self.launch(
            "dots",
            from.count,
            plan::DOTS_THREADS,
            &[At(to), At(from.at), At(others.at), Count(others.count), Count(from.width)],
        )?;
        Ok(out)
    }
}

/// The address of a matrix of exactly these measures, without gaps; 0 for none.
fn same(tensor: Option<&Tensor>, wanted: Rows) -> Result<u64> {
    let Some(tensor) = tensor else { return Ok(0) };
    let found = dense(tensor)?;
    if (found.count, found.width) != (wanted.count, wanted.width) {
        bail!("{:?} is not {} rows of {}", tensor.shape(), wanted.count, wanted.width);
    }
    Ok(found.at)
}
