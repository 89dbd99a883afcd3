//! Attention: lengths, prefixes, masks, groups of heads.

use half::bf16;
use livedex_cuda::plan::{self, Span};

use crate::{
    emulator::{Emulator, SCHEDULES, Shape, emulator},
    memory::{Matrix, activation, random},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mask {
    Full,
    Causal,
    Near(u32),
}

/// Query rows, own keys, and the sequence that it continues.
type Sequence = (u32, u32, Option<usize>);

/// A call of the kernel.
pub(crate) struct Case {
    pub(crate) head_dim: usize,
    heads: usize,
    group: usize,
    pub(crate) mask: Mask,
    scale: f64,
    pub(crate) spans: Vec<Span>,
    q: Matrix<bf16>,
    k: Matrix<bf16>,
    pub(crate) v: Matrix<bf16>,
}

impl Case {
    pub(crate) fn new(
        seed: u64,
        head_dim: usize,
        (heads, group): (usize, usize),
        mask: Mask,
        sequences: &[Sequence],
    ) -> Self {
        let mut random = random(seed);
        let mut spans: Vec<Span> = Vec::new();
        let (mut q_start, mut k_start) = (0, 0);
        for (q_len, k_len, prefix) in sequences.iter().copied() {
            let prefix = prefix.map_or_else(Span::default, |prefix| spans[prefix]);
            let (p_start, p_len) = (prefix.k_start, prefix.k_len);
            spans.push(Span { q_start, q_len, k_start, k_len, p_start, p_len });
            q_start += q_len;
            k_start += k_len;
        }
        let (q_width, k_width) = (heads * head_dim, heads / group * head_dim);
        // Views of wider matrices, each of its own width.
        let mut matrix = |rows: u32, width, more, column| {
            Matrix::poisoned(rows as usize, width, width + more, column)
                .filled(|| activation(&mut random))
        };
        Self {
            head_dim,
            heads,
            group,
            mask,
            scale: (head_dim as f64).powf(-0.5),
            q: matrix(q_start, q_width, 16, 8),
            k: matrix(k_start, k_width, 8, 0),
            v: matrix(k_start, k_width, 40, 16),
            spans,
        }
    }

    pub(crate) fn shape(&self, blocks: &[[u32; 2]], schedule: u32) -> Shape {
        Shape {
            grid: (blocks.len() as u32, self.heads as u32),
            threads: plan::ATTENTION_THREADS,
            shared_bytes: plan::shared_bytes(self.head_dim as u32),
            schedule,
        }
    }

    /// Computes these blocks; NaN is left in all other rows.
    pub(crate) fn launch(
        &self,
        emulator: &Emulator,
        blocks: &[[u32; 2]],
        shape: Shape,
    ) -> Result<Matrix<bf16>, String> {
        let mut out = Matrix::<bf16>::poisoned(self.q.rows, self.q.width, self.q.width + 24, 8);
        let spans: Vec<[u32; 6]> = self.spans.iter().map(Span::words).collect();
        let (mask, window) = match self.mask {
            Mask::Full => (0u32, 0),
            Mask::Causal => (1, 0),
            Mask::Near(window) => (2, window),
        };
        let arguments = [
            out.pointer_mut().into(),
            (out.ld as u32).into(),
            self.q.pointer().into(),
            (self.q.ld as u32).into(),
            self.k.pointer().into(),
            (self.k.ld as u32).into(),
            self.v.pointer().into(),
            (self.v.ld as u32).into(),
            spans.as_ptr().into(),
            blocks.as_ptr().into(),
            (self.group as u32).into(),
            (self.scale as f32).into(),
            mask.into(),
            window.into(),
        ];
        let kernel = format!("attention_{}", self.head_dim);
        // SAFETY: the signature in attention.cu; the spans are rows of the matrices.
        unsafe { emulator.launch(&kernel, shape, &arguments) }?;
        out.assert_neighbours_untouched();
        Ok(out)
    }

    pub(crate) fn run(&self, emulator: &Emulator, schedule: u32) -> Result<Matrix<bf16>, String> {
        let blocks = plan::blocks(&self.spans);
        self.launch(emulator, &blocks, self.shape(&blocks, schedule))
    }

    /// The keys that a query of a sequence sees, as rows of the matrices.
    fn seen(&self, span: &Span, query: u32) -> Vec<usize> {
        let prefix = span.p_start..span.p_start + span.p_len;
        let own = (0..span.k_len).filter(|key| match self.mask {
            Mask::Full => true,
            Mask::Causal => *key <= span.k_len - span.q_len + query,
            Mask::Near(window) => key.abs_diff(query) <= window,
        });
        prefix.chain(own.map(|key| span.k_start + key)).map(|row| row as usize).collect()
    }

    /// Compares the rows of these blocks.
    pub(crate) fn check(&self, out: &Matrix<bf16>, blocks: &[[u32; 2]]) -> Result<(), String> {
        let d = self.head_dim;
        for [sequence, first] in blocks {
            let span = &self.spans[*sequence as usize];
            for query in *first..span.q_len.min(first + plan::BLOCK_ROWS) {
                let row = (span.q_start + query) as usize;
                let keys = self.seen(span, query);
                let (mut expected, mut sizes) = (Vec::new(), Vec::new());
                for head in 0..self.heads {
                    let of = |matrix: &Matrix<bf16>, row: usize, head: usize| {
                        matrix.row(row)[head * d..][..d]
                            .iter()
                            .map(|x| x.to_f64())
                            .collect::<Vec<_>>()
                    };
                    let q = of(&self.q, row, head);
                    let dot = |k: Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                    let score =
                        |key: &usize| self.scale * dot(of(&self.k, *key, head / self.group));
                    let scores: Vec<f64> = keys.iter().map(score).collect();
                    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|x| (x - most).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    let (mut result, mut size) = (vec![0.0; d], vec![0.0; d]);
                    for (key, weight) in keys.iter().zip(weights) {
                        let v = of(&self.v, *key, head / self.group);
                        for i in 0..d {
                            result[i] += weight / sum * v[i];
                            size[i] += weight / sum * v[i].abs();
                        }
                    }
                    expected.extend(result);
                    sizes.extend(size);
                }
                // Each weight is rounded to bf16, and so is the result: 2^-8 of what was added up,
                // which may cancel out, twice. A twentieth more for f32 scores and powers.
                out.compare(row, &expected, |i, _| sizes[i] * 2f64.powi(-7) * 1.05 + 1e-6)?;
            }
        }
        Ok(())
    }

    fn assert_right(&self, emulator: &Emulator, schedule: u32) {
        let out = self.run(emulator, schedule).unwrap();
        self.check(&out, &plan::blocks(&self.spans)).unwrap();
    }
}

/// Around tiles of 64, and as chunks of documents are.
const LENGTHS: [u32; 8] = [1, 63, 64, 65, 300, 17, 128, 2];

fn whole(lengths: &[u32]) -> Vec<Sequence> {
    lengths.iter().map(|n| (*n, *n, None)).collect()
}

#[test]
fn every_query_sees_its_sequence() {
    let Some(emulator) = emulator() else { return };
    for (i, (d, heads)) in [(32, (4, 1)), (64, (4, 2)), (128, (4, 4))].into_iter().enumerate() {
        let case = Case::new(31, d, heads, Mask::Full, &whole(&LENGTHS));
        case.assert_right(&emulator, SCHEDULES[i]);
    }
}

#[test]
fn causal_queries_see_what_comes_before_them() {
    let Some(emulator) = emulator() else { return };
    for (i, (d, heads)) in [(32, (2, 2)), (64, (4, 4)), (128, (4, 2))].into_iter().enumerate() {
        let case = Case::new(32, d, heads, Mask::Causal, &whole(&LENGTHS));
        case.assert_right(&emulator, SCHEDULES[i + 1]);
    }
}

#[test]
fn near_queries_see_their_neighbours() {
    let Some(emulator) = emulator() else { return };
    for (window, d) in [(64, 64), (5, 128), (0, 32), (u32::MAX, 64)] {
        let case = Case::new(33, d, (2, 1), Mask::Near(window), &whole(&LENGTHS));
        case.assert_right(&emulator, 0);
    }
    // The first positions only, as in a last layer.
    let case =
        Case::new(34, 64, (2, 1), Mask::Near(64), &[(1, 300, None), (1, 1, None), (70, 200, None)]);
    case.assert_right(&emulator, 3);
}

#[test]
fn fewer_queries_than_keys_are_the_last_ones() {
    let Some(emulator) = emulator() else { return };
    let sequences = [(1, 300, None), (1, 1, None), (64, 65, None), (100, 180, None), (1, 64, None)];
    for mask in [Mask::Causal, Mask::Full] {
        Case::new(35, 128, (4, 2), mask, &sequences).assert_right(&emulator, 1);
    }
    // A full mask does not care how many there are.
    Case::new(36, 32, (2, 1), Mask::Full, &[(90, 3, None), (2, 1, None)])
        .assert_right(&emulator, 0);
}

#[test]
fn continued_sequences_see_all_of_their_prefix() {
    let Some(emulator) = emulator() else { return };
    for (d, prefix) in [(128, 90), (64, 64), (32, 1), (128, 130)] {
        let all = [
            (prefix, prefix, None),
            (20, 20, Some(0)),
            (65, 65, Some(0)),
            (1, 130, Some(0)),
            (7, 7, None),
        ];
        Case::new(37, d, (4, 2), Mask::Causal, &all).assert_right(&emulator, 2);
        // The last layer: the prefix is only read, and the last token of each sequence asks.
        let last =
            [(0, prefix, None), (1, 20, Some(0)), (1, 65, Some(0)), (0, 9, None), (1, 9, Some(3))];
        Case::new(38, d, (4, 2), Mask::Causal, &last).assert_right(&emulator, 3);
    }
}

#[test]
fn large_scores_stay_finite() {
    let Some(emulator) = emulator() else { return };
    let mut case = Case::new(39, 128, (2, 1), Mask::Causal, &whole(&[200, 70]));
    // Scores of some hundred: any exponential function of one of them would be infinite.
    case.scale = 1.0;
    let out = case.run(&emulator, 0).unwrap();
    // f32 sums of such size are off by 1e-4, and so are the powers.
    case.check(&out, &plan::blocks(&case.spans)).unwrap();
}

#[test]
fn rows_without_any_key_are_zeros() {
    let Some(emulator) = emulator() else { return };
    let case = Case::new(40, 64, (2, 1), Mask::Full, &[(5, 0, None), (3, 3, None)]);
    let out = case.run(&emulator, 0).unwrap();
    assert!((0..5).all(|row| out.row(row).iter().all(|x| x.to_f32() == 0.0)));
    case.check(&out, &[[1, 0]]).unwrap();
}

#[test]
fn the_order_of_threads_and_copies_changes_nothing() {
    let Some(emulator) = emulator() else { return };
    for d in [32, 64, 128] {
        let sequences = [(90, 90, None), (200, 200, None), (70, 100, Some(0))];
        let case = Case::new(41, d, (2, 2), Mask::Causal, &sequences);
        let [first, others @ ..] = SCHEDULES.map(|schedule| case.run(&emulator, schedule).unwrap());
        for (i, other) in others.iter().enumerate() {
            assert!(
                (0..first.rows).all(|row| first.row(row) == other.row(row)),
                "schedule {}",
                i + 1
            );
        }
    }
}

#[test]
fn tiles_lie_in_all_banks() {
    let Some(emulator) = emulator() else { return };
    let before = emulator.bank_conflicts();
    for d in [32, 64, 128] {
        Case::new(43, d, (1, 1), Mask::Full, &whole(&[100])).assert_right(&emulator, 0);
    }
    assert_eq!(emulator.bank_conflicts(), before);
}

#[test]
fn tiles_that_the_mask_hides_are_not_read() {
    let Some(emulator) = emulator() else { return };
    // Mask, the block, and the keys that its tiles have.
    for (mask, first, read) in [
        (Mask::Causal, 64, 0..128),
        (Mask::Near(10), 0, 0..128),
        (Mask::Near(10), 128, 64..256),
        (Mask::Near(64), 256, 192..300),
    ] {
        let mut case = Case::new(42, 64, (2, 1), mask, &whole(&[300]));
        for key in (0..300).filter(|key| !read.contains(key)) {
            // A weight of 0 would not hide it.
            case.v.row_mut(key).fill(bf16::NAN);
        }
        let blocks = [[0, first]];
        let out = case.launch(&emulator, &blocks, case.shape(&blocks, 0)).unwrap();
        // A weight of 0 times NaN is NaN in the reference as well, so only seen keys enter it.
        case.check(&out, &blocks).unwrap();
    }
}
