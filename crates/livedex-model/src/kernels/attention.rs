//! Variable-length attention on the CPU, in f32.
//!
//! Keys and values are first laid out in panels of 16 columns (keys transposed), then blocks of
//! query rows are worked off in parallel: six rows of scores at a time, softmax, six rows of
//! output, so that the scores never leave the first-level cache. The two products share one
//! micro-kernel of fixed size whose accumulators the compiler keeps in vector registers; the
//! instruction set is chosen at run time.
//!
//! candle-nn's `flash_attn_varlen_cpu`, which takes one query row and one key at a time, is the
//! peer that the tests compare with. Measured side by side on two busy cores with AVX-512
//! (`measure_attention` in the tests): 2x at 16 tokens, 4-7x at 200, 7-9x at 2,048 (12 heads of
//! 32); 1x, 3x and 5-6x with 16 heads of 128 over 8.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::{Mask, Spans, math};

/// Columns of a panel: one vector of AVX-512, two of AVX2.
const PANEL: usize = 16;
/// Query rows of one micro-kernel call: 6 x 16 accumulators fit AVX2's registers.
const ROWS: usize = 6;
/// Query rows of one parallel task, all heads.
const TASK_ROWS: usize = 48;

/// Rows of `[heads, d]` within a wider matrix.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// From the first row's first element on.
    pub(super) data: &'a [f32],
    /// Elements from one row to the next.
    pub(super) stride: usize,
    /// Heads of a row, `d` elements each, contiguous.
    pub(super) heads: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn head(&self, row: usize, head: usize, d: usize) -> &[f32] {
        let start = row * self.stride + head * d;
        &self.data[start..start + d]
    }
}

/// The keys and values of one sequence, in panels.
struct Panels {
    keys: usize,
    /// `[kv_heads][keys / 16, rounded up][d][16]`
    k: Vec<f32>,
    /// `[kv_heads][d / 16, rounded up][keys][16]`
    v: Vec<f32>,
}

/// One parallel task: some query rows of one sequence and where their output goes.
struct Task<'a> {
    sequence: usize,
    /// The first row, among all queries.
    row: usize,
    /// The key that stands for the first row, of its sequence.
    own: usize,
    out: &'a mut [f32],
}

/// What attention is computed of; `d` numbers a head.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) q: Rows<'a>,
    pub(super) k: Rows<'a>,
    pub(super) v: Rows<'a>,
    pub(super) d: usize,
    pub(super) mask: Mask,
    pub(super) scale: f32,
}

/// Attention over packed sequences; see [`Kernels::attention`](super::Kernels::attention).
/// The caller has checked that the rows are as many as the spans say.
pub(super) fn attention(arch: Arch, inputs: Inputs<'_>, spans: Spans<'_>) -> Vec<f32> {
    let Inputs { q, k, v, d, mask, .. } = inputs;
    let starts: Vec<usize> = spans
        .keys
        .iter()
        .scan(0, |at, n| {
            let start = *at;
            *at += n;
            Some(start)
        })
        .collect();
    let panels: Vec<Panels> = starts
        .par_iter()
        .zip(spans.keys)
        .map(|(&start, &keys)| Panels::new(k, v, d, start, keys))
        .collect();

    let width = q.heads * d;
    let rows: usize = spans.queries.iter().sum();
    let mut out = vec![0.0; rows * width];
    let mut tasks = Vec::new();
    let mut rest = out.as_mut_slice();
    let mut row = 0;
    for (sequence, (&queries, &keys)) in spans.queries.iter().zip(spans.keys).enumerate() {
        for first in (0..queries).step_by(TASK_ROWS) {
            let n = TASK_ROWS.min(queries - first);
            let (chunk, tail) = rest.split_at_mut(n * width);
            rest = tail;
            let own = if mask == Mask::Causal { keys - queries + first } else { first };
            tasks.push(Task { sequence, row: row + first, own, out: chunk });
        }
        row += queries;
    }
    tasks.into_par_iter().for_each(|task| {
        let panels = &panels[task.sequence];
        arch.dispatch(
            #[inline(always)]
            || run(task, inputs, panels),
        );
    });
    out
}

impl Panels {
    fn new(k: Rows<'_>, v: Rows<'_>, d: usize, start: usize, keys: usize) -> Self {
        let blocks = keys.div_ceil(PANEL);
        let columns = d.div_ceil(PANEL);
        let mut packed_k = vec![0.0; k.heads * blocks * d * PANEL];
        let mut packed_v = vec![0.0; k.heads * columns * keys * PANEL];
        for head in 0..k.heads {
            let into = &mut packed_k[head * blocks * d * PANEL..][..blocks * d * PANEL];
            for (block, panel) in into.chunks_exact_mut(d * PANEL).enumerate() {
                let first = block * PANEL;
                for j in 0..PANEL.min(keys - first) {
                    let row = k.head(start + first + j, head, d);
                    for (slot, x) in panel[j..].iter_mut().step_by(PANEL).zip(row) {
                        *slot = *x;
                    }
                }
            }
            let into = &mut packed_v[head * columns * keys * PANEL..][..columns * keys * PANEL];
            for (column, panel) in into.chunks_exact_mut(keys * PANEL).enumerate() {
                let first = column * PANEL;
                let width = PANEL.min(d - first);
                for (j, slot) in panel.chunks_exact_mut(PANEL).enumerate() {
                    let row = v.head(start + j, head, d);
                    slot[..width].copy_from_slice(&row[first..first + width]);
                }
            }
        }
        Self { keys, k: packed_k, v: packed_v }
    }
}

impl Mask {
    /// How many keys before its own, and how many behind it, a query sees.
    fn reach(self) -> (usize, usize) {
        match self {
            Self::Full => (usize::MAX, usize::MAX),
            Self::Causal => (usize::MAX, 0),
            Self::Near(reach) => (reach, reach),
        }
    }
}

#[inline(always)]
fn run(task: Task<'_>, inputs: Inputs<'_>, panels: &Panels) {
    let Inputs { q, k, d, mask, scale, .. } = inputs;
    let kv_heads = k.heads;
    let (before, behind) = mask.reach();
    let width = q.heads * d;
    let rows = task.out.len() / width;
    let keys = panels.keys;
    let group = q.heads / kv_heads;
    let blocks = keys.div_ceil(PANEL);
    let columns = d.div_ceil(PANEL);
    // Scores of six rows; a row's stride is a whole number of panels.
    let stride = blocks * PANEL;
    let mut scores = vec![0.0f32; ROWS * stride];
    for head in 0..q.heads {
        let kv_head = head / group;
        let k = &panels.k[kv_head * blocks * d * PANEL..][..blocks * d * PANEL];
        let v = &panels.v[kv_head * columns * keys * PANEL..][..columns * keys * PANEL];
        for first in (0..rows).step_by(ROWS) {
            let n = ROWS.min(rows - first);
            // A last group with fewer rows computes its last row again.
            let q_rows: [&[f32]; ROWS] =
                std::array::from_fn(|i| q.head(task.row + first + i.min(n - 1), head, d));
            let seen = |i: usize| {
                let own = task.own + first + i;
                own.saturating_sub(before)..own.saturating_add(behind).saturating_add(1).min(keys)
            };
            // What one of the rows sees, from the start of a panel: scores begin there.
            let from = seen(0).start / PANEL * PANEL;
            let most = seen(n - 1).end - from;
            let panels = k[from * d..].chunks_exact(d * PANEL);
            for (block, panel) in panels.enumerate().take(most.div_ceil(PANEL)) {
                let products = micro(q_rows, panel);
                for (i, product) in products.iter().enumerate() {
                    scores[i * stride + block * PANEL..][..PANEL].copy_from_slice(product);
                }
            }
            let mut sums = [0.0; ROWS];
            for i in 0..ROWS {
                let row = &mut scores[i * stride..][..most];
                let Range { start, end } = seen(i.min(n - 1));
                sums[i] = softmax(row, start - from..end - from, scale);
            }
            let p_rows: [&[f32]; ROWS] =
                std::array::from_fn(|i| &scores[i * stride..i * stride + most]);
            for (column, panel) in v.chunks_exact(keys * PANEL).enumerate() {
                let products = micro(p_rows, &panel[from * PANEL..][..most * PANEL]);
                let at = column * PANEL;
                let take = PANEL.min(d - at);
                for i in 0..n {
                    let into = &mut task.out[(first + i) * width + head * d + at..][..take];
                    for (slot, x) in into.iter_mut().zip(&products[i]) {
                        *slot = x * sums[i];
                    }
                }
            }
        }
    }
}

/// `rows x panel`: six rows of length n times n rows of 16.
#[inline(always)]
fn micro(rows: [&[f32]; ROWS], panel: &[f32]) -> [[f32; PANEL]; ROWS] {
    let (columns, _) = panel.as_chunks::<PANEL>();
    let [a, b, c, d, e, f] = rows.map(|row| &row[..columns.len()]);
    // Six variables and not an array of six: whether the compiler unrolls a loop over the rows
    // depends on the code around it, and without that the sums would live in memory.
    let [mut s0, mut s1, mut s2, mut s3, mut s4, mut s5] = [[0.0f32; PANEL]; ROWS];
    for (j, column) in columns.iter().enumerate() {
        add_scaled(&mut s0, a[j], column);
        add_scaled(&mut s1, b[j], column);
        add_scaled(&mut s2, c[j], column);
        add_scaled(&mut s3, d[j], column);
        add_scaled(&mut s4, e[j], column);
        add_scaled(&mut s5, f[j], column);
    }
    [s0, s1, s2, s3, s4, s5]
}

#[inline(always)]
fn add_scaled(sum: &mut [f32; PANEL], x: f32, column: &[f32; PANEL]) {
    for (s, c) in sum.iter_mut().zip(column) {
        *s = x.mul_add(*c, *s);
    }
}

/// Turns scores into unnormalised weights, zero outside `seen`; gives the factor that makes
/// them sum to 1.
#[inline(always)]
fn softmax(row: &mut [f32], seen: Range<usize>, scale: f32) -> f32 {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    let visible = &mut row[seen];
    let mut most = [f32::NEG_INFINITY; PANEL];
    let mut chunks = visible.chunks_exact(PANEL);
    for chunk in chunks.by_ref() {
        for (m, x) in most.iter_mut().zip(chunk) {
            *m = m.max(*x);
        }
    }
    for (m, x) in most.iter_mut().zip(chunks.remainder()) {
        *m = m.max(*x);
    }
    // The scale is positive, so the largest score stays the largest.
    let most = most.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)) * scale;
    let mut sums = [0.0f32; PANEL];
    let mut chunks = visible.chunks_exact_mut(PANEL);
    for chunk in chunks.by_ref() {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *x = math::exp(x.mul_add(scale, -most));
            *s += *x;
        }
    }
    for (s, x) in sums.iter_mut().zip(chunks.into_remainder()) {
        *x = math::exp(x.mul_add(scale, -most));
        *s += *x;
    }
    1.0 / sums.iter().sum::<f32>()
}
