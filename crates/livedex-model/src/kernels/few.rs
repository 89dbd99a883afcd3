//! `x W^T` for a few rows: a single query, the last layer of a few sequences.
//!
//! The time is that of reading the weights, so each row of them is read once for all rows of `x`.

use pulp::Arch;
use rayon::prelude::*;

use super::vector::vectorised;

/// Outputs of one parallel task.
const TASK: usize = 64;
/// Rows of `x` that share one pass over a row of weights.
const ROWS: usize = 8;
const LANES: usize = 16;

/// Gives `[outputs][rows]`.
pub(super) fn product(arch: Arch, x: &[f32], weights: &[f32], inputs: usize) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut out = vec![0.0; weights.len() / inputs * rows];
    out.par_chunks_mut(TASK * rows).zip(weights.par_chunks(TASK * inputs)).for_each(
        |(out, weights)| {
            vectorised(
                arch,
                #[inline(always)]
                || {
                    for (out, row) in out.chunks_exact_mut(rows).zip(weights.chunks_exact(inputs)) {
                        for (out, x) in out.chunks_mut(ROWS).zip(x.chunks(ROWS * inputs)) {
                            dots(x, row, out);
                        }
                    }
                },
            );
        },
    );
    out
}

/// The dot products of up to eight rows of `x` with one row of weights.
#[inline(always)]
fn dots(x: &[f32], row: &[f32], out: &mut [f32]) {
    let n = row.len();
    // Missing rows are the last one again.
    let rows: [&[f32]; ROWS] = std::array::from_fn(|i| {
        let i = i.min(out.len() - 1);
        &x[i * n..][..n]
    });
    let mut sums = [[0.0f32; LANES]; ROWS];
    let whole = n / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let w: &[f32] = &row[at..at + LANES];
        for (sum, x) in sums.iter_mut().zip(&rows) {
            let x = &x[at..at + LANES];
            for ((s, x), w) in sum.iter_mut().zip(x).zip(w) {
                *s = x.mul_add(*w, *s);
            }
        }
    }
    for ((out, sum), x) in out.iter_mut().zip(&sums).zip(&rows) {
        let rest: f32 = x[whole..].iter().zip(&row[whole..]).map(|(x, w)| x * w).sum();
        *out = sum.iter().sum::<f32>() + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_plain_loops() {
        let numbers = |n: usize, step: usize| -> Vec<f32> {
            (0..n).map(|i| ((i * step) % 23) as f32 / 11.0 - 1.0).collect()
        };
        for (rows, inputs, outputs) in
            [(1, 1, 1), (7, 16, 65), (8, 33, 64), (9, 130, 3), (23, 48, 130)]
        {
            let (x, weights) = (numbers(rows * inputs, 7), numbers(outputs * inputs, 5));
            for arch in [Arch::new(), Arch::Scalar] {
                let got = product(arch, &x, &weights, inputs);
                assert_eq!(got.len(), outputs * rows);
                for (i, y) in got.iter().enumerate() {
                    let (output, row) = (i / rows, i % rows);
                    let (a, b) =
                        (&x[row * inputs..][..inputs], &weights[output * inputs..][..inputs]);
                    let expected: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    assert!((y - expected).abs() < 1e-4, "{rows} x {inputs} x {outputs}: {i}");
                }
            }
        }
    }
}
