//! What the CPU does row by row. Everything here is inlined into loops that are compiled for the best
//! instruction set.

use pulp::Arch;

use super::{Activation, math, vector::vectorised};

/// `rows = activation(rows + bias)`, on the calling thread.
#[allow(
    clippy::redundant_closure,
    reason = "closures are inlined, which names of functions are not"
)]
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
pub(super) fn layer_norm_row(row: &mut [f32], weight: &[f32], shift: &[f32], eps: f32) {
    let n = row.len() as f32;
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    let factor = 1.0 / (variance + eps).sqrt();
    for ((x, w), b) in row.iter_mut().zip(weight).zip(shift) {
        *x = ((*x - mean) * factor).mul_add(*w, *b);
    }
}

/// `norm`: weight and epsilon.
#[inline(always)]
pub(super) fn norm_rope_row(
    source: &[f32],
    out: &mut [f32],
    norm: Option<(&[f32], f32)>,
    cos: &[f32],
    sin: &[f32],
) {
    let half = cos.len();
    let d = 2 * half;
    for (source, out) in source.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
        let (low, high) = source.split_at(half);
        let out = out.split_at_mut(half);
        match norm {
            Some((weight, eps)) => {
                let factor = 1.0 / (sum(source, |x| x * x) / d as f32 + eps).sqrt();
                let (weight_low, weight_high) = weight.split_at(half);
                let low = |i: usize| low[i] * factor * weight_low[i];
                rotate(low, |i| high[i] * factor * weight_high[i], out, cos, sin);
            }
            None => rotate(|i| low[i], |i| high[i], out, cos, sin),
        }
    }
}

/// Turns two halves of a head against each other.
#[inline(always)]
fn rotate(
    low: impl Fn(usize) -> f32,
    high: impl Fn(usize) -> f32,
    (out_low, out_high): (&mut [f32], &mut [f32]),
    cos: &[f32],
    sin: &[f32],
) {
    for i in 0..cos.len() {
        let (a, b) = (low(i), high(i));
        out_low[i] = a * cos[i] - b * sin[i];
        out_high[i] = b * cos[i] + a * sin[i];
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
