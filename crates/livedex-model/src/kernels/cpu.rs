//! The CPU's kernels: plain loops over rows in parallel, vectorised by the compiler for the
//! instruction set that is found at run time. candle's own element-wise operations run on one
//! thread and in the lowest common instruction set, which would cost as much as the matrix
//! products beside them.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use pulp::Arch;
use rayon::prelude::*;

use super::{
    Activation, Heads, Kernels, Norm, Rope, Spans,
    attention::{self, Inputs, Rows},
    few, math,
    vector::vectorised,
};

/// Elements that one thread takes at a time: below it, handing work out costs more than it saves.
const GRAIN: usize = 16 * 1024;

/// The CPU.
pub(crate) struct Cpu {
    arch: Arch,
}

impl Cpu {
    /// With the best instruction set of this processor.
    pub(crate) fn new() -> Self {
        Self { arch: Arch::new() }
    }
}

impl Kernels for Cpu {
    fn attention(
        &self,
        q: Heads<'_>,
        k: Heads<'_>,
        v: Heads<'_>,
        spans: Spans<'_>,
        causal: bool,
        scale: f32,
    ) -> Result<Tensor> {
        let (rows, width) = q.rows.dims2()?;
        let (keys, kv_width) = k.rows.dims2()?;
        let d = width / q.count.max(1);
        let fits = spans.queries.len() == spans.keys.len()
            && spans.queries.iter().sum::<usize>() == rows
            && spans.keys.iter().sum::<usize>() == keys
            && k.rows.dims() == v.rows.dims()
            && k.count == v.count
            && d * q.count == width
            && d * k.count == kv_width
            && k.count > 0
            && q.count.is_multiple_of(k.count)
            && (!causal || spans.queries.iter().zip(spans.keys).all(|(q, k)| q <= k));
        if !fits {
            bail!(
                "attention of {} heads {:?} over {} heads {:?} does not fit {spans:?}",
                q.count,
                q.rows.dims(),
                k.count,
                k.rows.dims()
            );
        }
        let out = with_rows(q, |q| {
            with_rows(k, |k| {
                with_rows(v, |v| {
                    let inputs = Inputs { q, k, v, d, causal, scale };
                    Ok(attention::attention(self.arch, inputs, spans))
                })
            })
        })?;
        Tensor::from_vec(out, (rows, width), q.rows.device())
    }

    fn product_of_few(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        let outputs = weights.dim(0)?;
        if weights.dim(1)? != inputs {
            bail!("{:?} does not fit weights of {:?}", x.dims(), weights.dims());
        }
        let out = with_slice(x, |x| {
            with_slice(weights, |weights| Ok(few::product(self.arch, x, weights, inputs)))
        })?;
        Tensor::from_vec(out, (outputs, rows), x.device())?.t()?.contiguous()
    }

    fn bias_activation(&self, out: &Tensor, bias: &Tensor, activation: Activation) -> Result<()> {
        with_slice(bias, |bias| {
            in_place(out, |rows, width| {
                debug_assert_eq!(width, bias.len());
                add_activate(rows, bias, activation);
            })
        })
    }

    fn add_layer_norm(
        &self,
        out: &Tensor,
        bias: Option<&Tensor>,
        residual: &Tensor,
        norm: &Norm,
    ) -> Result<()> {
        if residual.dims() != out.dims() {
            bail!("residual {:?} does not fit {:?}", residual.dims(), out.dims());
        }
        let Some(shift) = &norm.bias else {
            bail!("a layer norm has a bias");
        };
        let zeros;
        let bias = match bias {
            Some(bias) => bias,
            None => {
                zeros = shift.zeros_like()?;
                &zeros
            }
        };
        let arch = self.arch;
        with_slice(bias, |bias| {
            with_slice(&norm.weight, |weight| {
                with_slice(shift, |shift| {
                    with_slice(residual, |residual| {
                        in_place_indexed(out, |first, chunk, width| {
                            let residual = &residual[first..first + chunk.len()];
                            vectorised(
                                arch,
                                #[inline(always)]
                                || {
                                    for (row, rest) in chunk
                                        .chunks_exact_mut(width)
                                        .zip(residual.chunks_exact(width))
                                    {
                                        layer_norm_row(row, rest, bias, weight, shift, norm.eps);
                                    }
                                },
                            );
                        })
                    })
                })
            })
        })
    }

    fn norm_rope(
        &self,
        x: Heads<'_>,
        norm: &Norm,
        rope: &Rope,
        positions: &[u32],
    ) -> Result<Tensor> {
        let (tokens, width) = x.rows.dims2()?;
        let d = width / x.count.max(1);
        let (table, half) = rope.cos.dims2()?;
        if positions.len() != tokens
            || half * 2 != d
            || d * x.count != width
            || norm.weight.dims() != [d]
            || positions.iter().any(|p| *p as usize >= table)
        {
            bail!("rotary tables of {table} positions do not fit {tokens} tokens");
        }
        let mut out = vec![0.0; tokens * width];
        let arch = self.arch;
        with_rows(x, |x| {
            with_slice(&norm.weight, |weight| {
                with_slice(&rope.cos, |cos| {
                    with_slice(&rope.sin, |sin| {
                        let rows = (GRAIN / width).max(1);
                        out.par_chunks_mut(rows * width).enumerate().for_each(|(chunk, out)| {
                            vectorised(
                                arch,
                                #[inline(always)]
                                || {
                                    for (i, out) in out.chunks_exact_mut(width).enumerate() {
                                        let token = chunk * rows + i;
                                        let at = positions[token] as usize * half;
                                        let source = &x.data[token * x.stride..][..width];
                                        norm_rope_row(
                                            source,
                                            out,
                                            weight,
                                            &cos[at..at + half],
                                            &sin[at..at + half],
                                            norm.eps,
                                        );
                                    }
                                },
                            );
                        });
                        Ok(())
                    })
                })
            })
        })?;
        Tensor::from_vec(out, (tokens, width), x.rows.device())
    }

    fn silu_mul(&self, gate_up: &Tensor) -> Result<Tensor> {
        let (tokens, both) = gate_up.dims2()?;
        let width = both / 2;
        let mut out = vec![0.0; tokens * width];
        let arch = self.arch;
        with_slice(gate_up, |source| {
            let rows = (GRAIN / width.max(1)).max(1);
            out.par_chunks_mut(rows * width).zip(source.par_chunks(rows * both)).for_each(
                |(out, source)| {
                    vectorised(
                        arch,
                        #[inline(always)]
                        || {
                            for (out, row) in
                                out.chunks_exact_mut(width).zip(source.chunks_exact(both))
                            {
                                let (gate, up) = row.split_at(width);
                                for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                                    *o = g * math::sigmoid(*g) * u;
                                }
                            }
                        },
                    );
                },
            );
            Ok(())
        })?;
        Tensor::from_vec(out, (tokens, width), gate_up.device())
    }
}

/// `rows = activation(rows + bias)`, on the calling thread.
pub(crate) fn add_activate(rows: &mut [f32], bias: &[f32], activation: Activation) {
    vectorised(
        Arch::new(),
        #[inline(always)]
        || match activation {
            Activation::Identity => add_then(rows, bias, |x| x),
            Activation::Gelu => add_then(rows, bias, |x| math::gelu(x)),
            Activation::GeluTanh => add_then(rows, bias, |x| math::gelu_tanh(x)),
            Activation::Relu => add_then(rows, bias, |x| x.max(0.0)),
            Activation::Tanh => add_then(rows, bias, |x| math::tanh(x)),
        },
    );
}

#[inline(always)]
fn add_then(rows: &mut [f32], bias: &[f32], f: impl Fn(f32) -> f32) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x = f(*x + b);
        }
    }
}

#[inline(always)]
fn layer_norm_row(
    row: &mut [f32],
    residual: &[f32],
    bias: &[f32],
    weight: &[f32],
    shift: &[f32],
    eps: f32,
) {
    for ((x, r), b) in row.iter_mut().zip(residual).zip(bias) {
        *x += r + b;
    }
    let n = row.len() as f32;
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    let factor = 1.0 / (variance + eps).sqrt();
    for ((x, w), b) in row.iter_mut().zip(weight).zip(shift) {
        *x = ((*x - mean) * factor).mul_add(*w, *b);
    }
}

#[inline(always)]
fn norm_rope_row(
    source: &[f32],
    out: &mut [f32],
    weight: &[f32],
    cos: &[f32],
    sin: &[f32],
    eps: f32,
) {
    let d = weight.len();
    let half = d / 2;
    for (source, out) in source.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
        let factor = 1.0 / (sum(source, |x| x * x) / d as f32 + eps).sqrt();
        let (low, high) = source.split_at(half);
        let (weight_low, weight_high) = weight.split_at(half);
        let (out_low, out_high) = out.split_at_mut(half);
        for i in 0..half {
            let a = low[i] * factor * weight_low[i];
            let b = high[i] * factor * weight_high[i];
            out_low[i] = a * cos[i] - b * sin[i];
            out_high[i] = b * cos[i] + a * sin[i];
        }
    }
}

/// A sum in 16 lanes: fast, and more exact than one running sum.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let mut chunks = row.chunks_exact(16);
    for chunk in chunks.by_ref() {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(*x);
    }
    lanes.iter().sum()
}

/// The contiguous elements of a tensor.
pub(crate) fn with_slice<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        bail!("a contiguous tensor in main memory is needed");
    };
    f(&storage.as_slice::<f32>()?[start..end])
}

/// The rows of heads that may be some columns of a wider matrix.
fn with_rows<R>(heads: Heads<'_>, f: impl FnOnce(Rows<'_>) -> Result<R>) -> Result<R> {
    let (rows, width) = heads.rows.dims2()?;
    let (storage, layout) = heads.rows.storage_and_layout();
    let (Storage::Cpu(storage), [stride, 1]) = (&*storage, layout.stride()) else {
        bail!("rows in main memory are needed");
    };
    let data = &storage.as_slice::<f32>()?[layout.start_offset()..];
    if rows > 0 && data.len() < (rows - 1) * stride + width {
        bail!("a view reaches behind its matrix");
    }
    f(Rows { data, stride: *stride, heads: heads.count })
}

/// Runs `f(rows, width)` over parts of a `[rows, width]` tensor, in place and in parallel.
fn in_place(tensor: &Tensor, f: impl Fn(&mut [f32], usize) + Sync) -> Result<()> {
    in_place_indexed(tensor, |_, rows, width| f(rows, width))
}

/// As [`in_place`], with the index of the part's first element.
fn in_place_indexed(tensor: &Tensor, f: impl Fn(usize, &mut [f32], usize) + Sync) -> Result<()> {
    struct Op<F>(F);
    impl<F: Fn(usize, &mut [f32], usize) + Sync> InplaceOp1 for Op<F> {
        fn name(&self) -> &'static str {
            "livedex-in-place"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
            let (CpuStorage::F32(data), Some((start, end))) =
                (storage, layout.contiguous_offsets())
            else {
                bail!("a contiguous f32 tensor is needed");
            };
            let width = layout.dims().last().copied().unwrap_or(1).max(1);
            let part = (GRAIN / width).max(1) * width;
            data[start..end]
                .par_chunks_mut(part)
                .enumerate()
                .for_each(|(i, rows)| (self.0)(i * part, rows, width));
            Ok(())
        }
    }
    tensor.inplace_op1(&Op(f))
}
