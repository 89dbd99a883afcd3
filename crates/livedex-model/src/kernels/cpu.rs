//! The CPU's kernels: plain loops over rows in parallel, vectorised by the compiler for the
//! instruction set that is found at run time. candle's own element-wise operations run on one
//! thread and in the lowest common instruction set, which would cost as much as the matrix
//! products beside them.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use pulp::Arch;
use rayon::prelude::*;

use super::{
    Activation, Heads, Kernels, Mask, Norm, Numbers, Rope, Spans,
    attention::{self, Inputs, Rows},
    few, math,
    rows::{add_activate, layer_norm_row, norm_rope_row},
    vector::vectorised,
};
use crate::backend::Pending;

/// Elements that one thread takes at a time: below it, handing work out costs more than it saves.
const GRAIN: usize = 16 * 1024;

/// The CPU.
pub(crate) struct Cpu {
    pub(super) arch: Arch,
}

impl Cpu {
    /// With the best instruction set of this processor.
    pub(crate) fn new() -> Self {
        Self { arch: Arch::new() }
    }
}

impl Kernels for Cpu {
    fn place(&self, numbers: &[u32]) -> Result<Tensor> {
        Tensor::new(numbers, &Device::Cpu)
    }

    fn land(&self, matrix: &Tensor) -> Result<Pending<Vec<Vec<f32>>>> {
        Ok(Pending::ready(matrix.to_vec2()?))
    }

    fn rows(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        table.index_select(ids, 0)
    }

    fn add(&self, out: &Tensor, delta: &Tensor) -> Result<()> {
        add(out, delta)
    }

    fn add_rms_norm(&self, out: &Tensor, delta: Option<&Tensor>, norm: &Norm) -> Result<Tensor> {
        if let Some(delta) = delta {
            add(out, delta)?;
        }
        candle_nn::ops::rms_norm(out, &norm.weight, norm.eps)
    }

    fn pool(
        &self,
        x: &Tensor,
        firsts: &Numbers,
        counts: &Numbers,
        dimension: usize,
    ) -> Result<Tensor> {
        by_sequence(x, (firsts, counts), dimension, |mean| {
            let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
            mean.iter_mut().for_each(|x| *x /= norm);
        })
    }

    fn means(&self, x: &Tensor, firsts: &Numbers, counts: &Numbers) -> Result<Tensor> {
        by_sequence(x, (firsts, counts), x.dim(1)?, |_| {})
    }

    fn dots(&self, x: &Tensor, others: &Tensor) -> Result<Tensor> {
        x.matmul(&others.t()?)
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
        let (rows, width) = q.rows.dims2()?;
        let (keys, kv_width) = k.rows.dims2()?;
        let d = width / q.count.max(1);
        let fits = spans.queries.len() == spans.keys.len()
            && spans.queries.iter().sum::<usize>() == rows
            && spans.keys.iter().sum::<usize>() == keys
            && spans.prefixes_fit()
            // A window would have to be counted across both segments.
            && (!matches!(mask, Mask::Near(_)) || spans.prefixes.is_empty())
            && k.rows.dims() == v.rows.dims()
            && k.count == v.count
            && d * q.count == width
            && d * k.count == kv_width
            && k.count > 0
            && q.count.is_multiple_of(k.count)
            && (mask == Mask::Full || spans.queries.iter().zip(spans.keys).all(|(q, k)| q <= k));
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
                    let inputs = Inputs { q, k, v, d, mask, scale };
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
        let zeros = norm.weight.zeros_like()?;
        let (bias, shift) = (bias.unwrap_or(&zeros), norm.bias.as_ref().unwrap_or(&zeros));
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
                                        for ((x, r), b) in row.iter_mut().zip(rest).zip(bias) {
                                            *x += r + b;
                                        }
                                        layer_norm_row(row, weight, shift, norm.eps);
                                    }
                                },
                            );
                        })
                    })
                })
            })
        })
    }

    fn layer_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let zeros = norm.weight.zeros_like()?;
        let shift = norm.bias.as_ref().unwrap_or(&zeros);
        let out = x.copy()?;
        let arch = self.arch;
        with_slice(&norm.weight, |weight| {
            with_slice(shift, |shift| {
                in_place(&out, |chunk, width| {
                    vectorised(
                        arch,
                        #[inline(always)]
                        || {
                            for row in chunk.chunks_exact_mut(width) {
                                layer_norm_row(row, weight, shift, norm.eps);
                            }
                        },
                    );
                })
            })
        })?;
        Ok(out)
    }

    fn norm_rope(
        &self,
        x: Heads<'_>,
        norm: Option<&Norm>,
        rope: &Rope,
        positions: &Numbers,
    ) -> Result<Tensor> {
        let positions = &positions.host;
        let (tokens, width) = x.rows.dims2()?;
        let d = width / x.count.max(1);
        let (table, half) = rope.cos.dims2()?;
        if positions.len() != tokens
            || half * 2 != d
            || d * x.count != width
            || norm.is_some_and(|norm| norm.weight.dims() != [d])
            || positions.iter().any(|p| *p as usize >= table)
        {
            bail!("rotary tables of {table} positions do not fit {tokens} tokens");
        }
        let mut out = vec![0.0; tokens * width];
        let arch = self.arch;
        // Without a norm the table stands in for a weight that is not looked at.
        let weight = norm.map_or(&rope.cos, |norm| &norm.weight);
        with_rows(x, |x| {
            with_slice(weight, |weight| {
                let norm = norm.map(|norm| (weight, norm.eps));
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
                                        let (cos, sin) = (&cos[at..][..half], &sin[at..][..half]);
                                        norm_rope_row(source, out, norm, cos, sin);
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
        gated(self.arch, gate_up, |x| x * math::sigmoid(x))
    }

    #[allow(clippy::redundant_closure, reason = "it is inlined, which a function's name is not")]
    fn gelu_mul(&self, gate_up: &Tensor) -> Result<Tensor> {
        gated(self.arch, gate_up, |x| math::gelu(x))
    }
}

/// The mean of each sequence's rows, cut to `dimension`, and what `finish` makes of it.
fn by_sequence(
    x: &Tensor,
    (firsts, counts): (&Numbers, &Numbers),
    dimension: usize,
    finish: impl Fn(&mut [f32]),
) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    let mut out = vec![0.0f32; firsts.host.len() * dimension];
    with_slice(x, |x| {
        let ranges = firsts.host.iter().zip(&counts.host);
        for ((first, count), mean) in ranges.zip(out.chunks_exact_mut(dimension)) {
            let rows = &x[*first as usize * width..][..*count as usize * width];
            for row in rows.chunks_exact(width) {
                for (sum, x) in mean.iter_mut().zip(row) {
                    *sum += x;
                }
            }
            let factor = 1.0 / *count as f32;
            mean.iter_mut().for_each(|x| *x *= factor);
            finish(mean);
        }
        Ok(())
    })?;
    Tensor::from_vec(out, (firsts.host.len(), dimension), x.device())
}

/// `out += delta`.
fn add(out: &Tensor, delta: &Tensor) -> Result<()> {
    if out.dims() != delta.dims() {
        bail!("{:?} does not fit {:?}", delta.dims(), out.dims());
    }
    with_slice(delta, |delta| {
        in_place_indexed(out, |first, rows, _| {
            for (x, d) in rows.iter_mut().zip(&delta[first..]) {
                *x += d;
            }
        })
    })
}

/// `f(gate) * up` of rows that are gate, then up.
fn gated(arch: Arch, gate_up: &Tensor, f: impl Fn(f32) -> f32 + Copy + Sync) -> Result<Tensor> {
    let (tokens, both) = gate_up.dims2()?;
    let width = both / 2;
    let mut out = vec![0.0; tokens * width];
    with_slice(gate_up, |source| {
        let rows = (GRAIN / width.max(1)).max(1);
        out.par_chunks_mut(rows * width).zip(source.par_chunks(rows * both)).for_each(
            |(out, source)| {
                vectorised(
                    arch,
                    #[inline(always)]
                    || {
                        for (out, row) in out.chunks_exact_mut(width).zip(source.chunks_exact(both))
                        {
                            let (gate, up) = row.split_at(width);
                            for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                                *o = f(*g) * u;
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

/// The contiguous elements of a tensor.
pub(crate) fn with_slice<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    f(slice(&storage, layout)?)
}

/// The numbers of a contiguous tensor.
pub(crate) fn slice<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let (Storage::Cpu(storage), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        bail!("a contiguous tensor in main memory is needed");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
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
