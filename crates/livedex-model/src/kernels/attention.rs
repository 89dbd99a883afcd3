//! Variable-length attention on the CPU, in f32.
//!
//! Keys and values are first laid out in panels of 32 or 16 columns (keys transposed), then blocks of
//! query rows are worked off in parallel: six rows of scores at a time, softmax, six rows of
//! output, so that the scores never leave the first-level cache. A sequence that continues a
//! prefix takes its keys and values from two sets of panels, the prefix's and its own, so a
//! prefix is laid out once however many continue it. The two products share one
//! micro-kernel of fixed size whose accumulators the compiler keeps in vector registers; the
//! instruction set is chosen at run time.
//!
//! candle-nn's `flash_attn_varlen_cpu`, which takes one query row and one key at a time, is the
//! peer that the tests compare with. Measured side by side on two busy cores with AVX-512
//! (`measure_attention` in the tests): 1.3x at 16 tokens, 12x at 200, 20x at 2,048 (12 heads of 32);
//! 1x, 5x and 11x with 16 heads of 128 over 8.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::{Mask, Spans, math};

/// Columns of a panel where the processor has AVX-512: two vectors. Less, and loading operands
/// would take longer than multiplying them.
const WIDE: usize = 32;
/// Columns of a panel elsewhere: two vectors of AVX2.
const NARROW: usize = 16;
/// Query rows of one micro-kernel call: six times two vectors are as many accumulators as fit
/// AVX2's registers, and enough to hide the latency of a multiplication.
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
struct Panels<const PANEL: usize> {
    keys: usize,
    /// `[kv_heads][keys / PANEL, rounded up][d][PANEL]`
    k: Vec<f32>,
    /// `[kv_heads][d / PANEL, rounded up][keys][PANEL]`
    v: Vec<f32>,
}

/// One parallel task: some query rows of one sequence and where their output goes.
struct Task<'a> {
    sequence: usize,
    /// The sequence that it continues.
    prefix: Option<usize>,
    /// The first row, among all queries.
    row: usize,
    /// The key of its own sequence that stands for the first row.
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
    #[cfg(target_arch = "x86_64")]
    if matches!(arch, Arch::V4(_)) {
        return in_panels::<WIDE>(arch, inputs, spans);
    }
    in_panels::<NARROW>(arch, inputs, spans)
}

fn in_panels<const PANEL: usize>(arch: Arch, inputs: Inputs<'_>, spans: Spans<'_>) -> Vec<f32> {
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
    let panels: Vec<Panels<PANEL>> = starts
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
            let prefix = spans.prefix(sequence);
            tasks.push(Task { sequence, prefix, row: row + first, own, out: chunk });
        }
        row += queries;
    }
    tasks.into_par_iter().for_each(|task| {
        let own = &panels[task.sequence];
        let prefix = task.prefix.map(|prefix| &panels[prefix]);
        arch.dispatch(
            #[inline(always)]
            || run(task, inputs, prefix, own),
        );
    });
    out
}

impl<const PANEL: usize> Panels<PANEL> {
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

impl<const PANEL: usize> Panels<PANEL> {
    /// A head's keys: a panel is `d * PANEL` numbers.
    #[inline(always)]
    fn k(&self, head: usize, d: usize) -> &[f32] {
        let n = self.keys.div_ceil(PANEL) * d * PANEL;
        &self.k[head * n..][..n]
    }

    /// A head's values in some columns: `PANEL` numbers a key.
    #[inline(always)]
    fn v(&self, head: usize, column: usize, d: usize) -> &[f32] {
        let n = self.keys * PANEL;
        &self.v[(head * d.div_ceil(PANEL) + column) * n..][..n]
    }
}

impl Mask {
    /// The keys, of `keys` in all, that the query at `own` sees. Start and end never decrease
    /// with `own`.
    #[inline(always)]
    fn seen(self, own: usize, keys: usize) -> Range<usize> {
        match self {
            Self::Full => 0..keys,
            Self::Causal => 0..own + 1,
            Self::Near(reach) => {
                own.saturating_sub(reach)..own.saturating_add(reach).saturating_add(1).min(keys)
            }
        }
    }
}

#[inline(always)]
fn run<const PANEL: usize>(
    task: Task<'_>,
    inputs: Inputs<'_>,
    prefix: Option<&Panels<PANEL>>,
    own: &Panels<PANEL>,
) {
    let Inputs { q, k, d, mask, scale, .. } = inputs;
    let width = q.heads * d;
    let rows = task.out.len() / width;
    let group = q.heads / k.heads;
    // Scores of six rows. Own scores begin where the prefix's end, not where its last panel
    // does, so that a row has no gap: the first own panel overwrites what that one has too much.
    let before = prefix.map_or(0, |prefix| prefix.keys);
    let stride = before + own.keys.div_ceil(PANEL) * PANEL;
    let mut scores = vec![0.0f32; ROWS * stride];
    for head in 0..q.heads {
        let kv_head = head / group;
        for first in (0..rows).step_by(ROWS) {
            let n = ROWS.min(rows - first);
            // A last group with fewer rows computes its last row again.
            let q_rows: [&[f32]; ROWS] =
                std::array::from_fn(|i| q.head(task.row + first + i.min(n - 1), head, d));
            let seen = |i: usize| mask.seen(task.own + first + i, own.keys);
            // What one of the rows sees of its own keys, from the start of a panel: own scores
            // begin there. It is 0 wherever there is a prefix.
            let from = seen(0).start / PANEL * PANEL;
            let most = seen(n - 1).end - from;
            if let Some(prefix) = prefix {
                write_scores::<PANEL>(&mut scores, stride, 0, q_rows, prefix.k(kv_head, d));
            }
            let visible = &own.k(kv_head, d)[from * d..][..most.div_ceil(PANEL) * d * PANEL];
            write_scores::<PANEL>(&mut scores, stride, before, q_rows, visible);
            let mut sums = [0.0; ROWS];
            for i in 0..ROWS {
                let row = &mut scores[i * stride..][..before + most];
                let Range { start, end } = seen(i.min(n - 1));
                sums[i] = softmax::<PANEL>(row, start - from..before + end - from, scale);
            }
            let p_rows = |from: usize, len: usize| -> [&[f32]; ROWS] {
                std::array::from_fn(|i| &scores[i * stride + from..][..len])
            };
            for column in 0..d.div_ceil(PANEL) {
                let v = &own.v(kv_head, column, d)[from * PANEL..(from + most) * PANEL];
                let mut products = micro::<PANEL>(p_rows(before, most), v);
                if let Some(prefix) = prefix {
                    let more = micro::<PANEL>(p_rows(0, before), prefix.v(kv_head, column, d));
                    for (x, y) in products.iter_mut().flatten().zip(more.iter().flatten()) {
                        *x += y;
                    }
                }
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

/// Six rows' scores for the keys of whole panels, from column `at` on.
#[inline(always)]
fn write_scores<const PANEL: usize>(
    scores: &mut [f32],
    stride: usize,
    at: usize,
    q_rows: [&[f32]; ROWS],
    panels: &[f32],
) {
    for (block, panel) in panels.chunks_exact(q_rows[0].len() * PANEL).enumerate() {
        let products = micro::<PANEL>(q_rows, panel);
        for (i, product) in products.iter().enumerate() {
            scores[i * stride + at + block * PANEL..][..PANEL].copy_from_slice(product);
        }
    }
}

/// `rows x panel`: six rows of length n times n rows of a panel.
#[inline(always)]
fn micro<const PANEL: usize>(rows: [&[f32]; ROWS], panel: &[f32]) -> [[f32; PANEL]; ROWS] {
    let (columns, _) = panel.as_chunks::<PANEL>();
    // Of one length, so that no index has to be checked below.
    let rows = rows.map(|row| &row[..columns.len()]);
    let mut sums = [[0.0f32; PANEL]; ROWS];
    for j in 0..columns.len() {
        // A copy, which stays in registers for all rows.
        let column = columns[j];
        for (sum, row) in sums.iter_mut().zip(&rows) {
            let x = row[j];
            for (s, c) in sum.iter_mut().zip(&column) {
                *s = x.mul_add(*c, *s);
            }
        }
    }
    sums
}

/// Turns scores into unnormalised weights, zero outside `seen`; gives the factor that makes
/// them sum to 1.
#[inline(always)]
fn softmax<const PANEL: usize>(row: &mut [f32], seen: Range<usize>, scale: f32) -> f32 {
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
