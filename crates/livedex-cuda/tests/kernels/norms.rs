//! RMS norms, rotation, layer norms.

use half::bf16;
use livedex_cuda::plan;
use rand::RngExt;

use crate::{
    emulator::{Argument, NULL, SCHEDULES, Shape, emulator},
    memory::{Matrix, activation, one_rounding, random, rounded, vector},
};

/// Large, so that it counts.
const EPS: f32 = 0.5;

/// Rounded where transformers rounds. The kernel's f32 may fall on the other side of a rounding
/// than this f64, so what is compared with it has room for one unit more.
fn rms_norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let squares: f64 = x.iter().map(|x| x * x).sum();
    let factor = 1.0 / (squares / x.len() as f64 + f64::from(EPS)).sqrt();
    x.iter().zip(weight).map(|(x, w)| rounded(rounded(x * factor) * w)).collect()
}

fn two_roundings(x: f64) -> f64 {
    2.0 * one_rounding(x)
}

#[test]
fn an_addition_comes_before_the_rms_norm() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(11);
    for (width, with_delta) in [(8usize, true), (1000, true), (1024, false), (4096, true)] {
        let mut x = Matrix::poisoned(6, width, width, 0).filled(|| activation(&mut random));
        let before = x.clone();
        let delta = Matrix::poisoned(6, width, width, 0).filled(|| activation(&mut random));
        let weight = vector(width, || activation(&mut random));
        let mut out = Matrix::<bf16>::poisoned(6, width, width, 0);
        let arguments = [
            out.pointer_mut().into(),
            x.pointer_mut().into(),
            if with_delta { delta.pointer().into() } else { NULL },
            weight.pointer().into(),
            (width as u32).into(),
            EPS.into(),
        ];
        let shape = Shape::rows(6, plan::row_threads(width as u32));
        // SAFETY: the signature in norms.cu.
        unsafe { emulator.launch("add_rms_norm", shape, &arguments) }.unwrap();
        for row in 0..6 {
            let sum = |(x, d): (f64, f64)| if with_delta { rounded(x + d) } else { x };
            let sums: Vec<f64> =
                before.values(row).into_iter().zip(delta.values(row)).map(sum).collect();
            // An addition of two bf16 numbers in f32 is nearly always exact.
            assert_eq!(x.values(row), sums);
            let expected = rms_norm(&sums, &weight.values(0));
            out.assert_near(row, &expected, |_, y| two_roundings(y));
            // Rounding once, or at another place, would change every fourth number or so.
            let same = out.values(row).iter().zip(&expected).filter(|(x, y)| x == y).count();
            assert!(same * 100 >= width * 98, "{same} of {width} numbers are exact");
        }
        x.assert_neighbours_untouched();
        out.assert_neighbours_untouched();
    }
}

#[test]
fn heads_are_normed_and_rotated() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(12);
    let shapes = [
        (16, 128, true),
        (3, 64, true),
        (5, 96, true),
        (12, 32, false),
        (2, 16, true),
        (1, 256, true),
        (40, 128, true),
    ];
    for (heads, head_dim, with_norm) in shapes {
        let (rows, positions) = (9, 50);
        let width = heads * head_dim;
        let half = head_dim / 2;
        let x = Matrix::poisoned(rows, width, width + 24, 8).filled(|| activation(&mut random));
        let weight = vector(head_dim, || activation(&mut random));
        let angle = |at: usize| {
            let (position, i) = (at / half, at % half);
            position as f64 / 10_000f64.powf(i as f64 / half as f64)
        };
        let cos: Vec<f32> = (0..positions * half).map(|at| angle(at).cos() as f32).collect();
        let sin: Vec<f32> = (0..positions * half).map(|at| angle(at).sin() as f32).collect();
        let at: Vec<u32> = (0..rows).map(|_| random.random_range(0..positions as u32)).collect();
        let expected: Vec<Vec<f64>> = (0..rows)
            .map(|row| {
                let values = x.values(row);
                let rotated = values.chunks(head_dim).flat_map(|head| {
                    let head = match with_norm {
                        true => rms_norm(head, &weight.values(0)),
                        false => head.to_vec(),
                    };
                    let table = at[row] as usize * half;
                    (0..head_dim)
                        .map(move |i| {
                            let angle = angle(table + i % half);
                            let other = if i < half { -head[i + half] } else { head[i - half] };
                            head[i] * angle.cos() + other * angle.sin()
                        })
                        .collect::<Vec<_>>()
                });
                rotated.collect()
            })
            .collect();
        // Either half's rounding may differ from the reference's by a unit, 2^-7 of it.
        let most = |row: usize, column: usize| {
            let row = &expected[row];
            let head = column / head_dim * head_dim;
            let pair = head + column % half;
            2f64.powi(-7) * (row[pair].hypot(row[pair + half])) * 1.5 + 1e-6
        };
        for in_place in [false, true] {
            let mut out = Matrix::<bf16>::poisoned(rows, width, width + 8, 0);
            let mut copy = x.clone();
            let (to, to_ld, from): (*mut bf16, _, *const bf16) = match in_place {
                true => (copy.pointer_mut(), copy.ld, copy.pointer()),
                false => (out.pointer_mut(), out.ld, x.pointer()),
            };
            let arguments: [Argument; 11] = [
                to.into(),
                (to_ld as u32).into(),
                from.into(),
                (x.ld as u32).into(),
                if with_norm { weight.pointer().into() } else { NULL },
                cos.as_ptr().into(),
                sin.as_ptr().into(),
                at.as_ptr().into(),
                (heads as u32).into(),
                (head_dim as u32).into(),
                EPS.into(),
            ];
            let shape = Shape::rows(rows as u32, plan::rope_threads(heads as u32, head_dim as u32));
            // SAFETY: the signature in norms.cu; positions are rows of the tables.
            unsafe { emulator.launch("norm_rope", shape, &arguments) }.unwrap();
            let result = if in_place { &copy } else { &out };
            for (row, expected) in expected.iter().enumerate() {
                result.assert_near(row, expected, |column, _| most(row, column));
            }
            result.assert_neighbours_untouched();
        }
    }
}

#[test]
fn layer_norms_take_what_there_is() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(13);
    for (case, width) in
        [(0u32, 384usize), (1, 384), (2, 768), (3, 1024), (7, 1024), (5, 8), (6, 2056)]
    {
        for in_place in [false, true] {
            // A mean far from 0 takes digits from the variance.
            let shifted = bf16::from_f32(6.0);
            let mut x =
                Matrix::poisoned(4, width, width, 0).filled(|| activation(&mut random) + shifted);
            let before = x.clone();
            let bias = vector(width, || activation(&mut random));
            let residual = Matrix::poisoned(4, width, width, 0).filled(|| activation(&mut random));
            let weight = vector(width, || activation(&mut random));
            let shift = vector(width, || activation(&mut random));
            let mut out = Matrix::<bf16>::poisoned(4, width, width, 0);
            let given = |bit: u32, x: &Matrix<bf16>| match case & bit {
                0 => NULL,
                _ => x.pointer().into(),
            };
            let to = if in_place { x.pointer_mut() } else { out.pointer_mut() };
            let arguments = [
                to.into(),
                if in_place { to.into() } else { x.pointer().into() },
                given(1, &bias),
                given(2, &residual),
                weight.pointer().into(),
                given(4, &shift),
                (width as u32).into(),
                EPS.into(),
            ];
            for schedule in if in_place { &SCHEDULES[..1] } else { &SCHEDULES[..] } {
                let shape = Shape {
                    schedule: *schedule,
                    ..Shape::rows(4, plan::row_threads(width as u32))
                };
                // SAFETY: the signature in norms.cu.
                unsafe { emulator.launch("layer_norm", shape, &arguments) }.unwrap();
                let result = if in_place { &x } else { &out };
                for row in 0..4 {
                    let mut sum = before.values(row);
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum += if case & 1 > 0 { bias.values(0)[i] } else { 0.0 };
                        *sum += if case & 2 > 0 { residual.values(row)[i] } else { 0.0 };
                    }
                    let mean = sum.iter().sum::<f64>() / width as f64;
                    let squares = sum.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                    let factor = 1.0 / (squares / width as f64 + f64::from(EPS)).sqrt();
                    let (weight, shift) = (weight.values(0), shift.values(0));
                    let number = |i: usize| {
                        let shift = if case & 4 > 0 { shift[i] } else { 0.0 };
                        (sum[i] - mean) * factor * weight[i] + shift
                    };
                    let expected: Vec<f64> = (0..width).map(number).collect();
                    // f32 has lost digits of the difference from the mean.
                    result.assert_near(row, &expected, |_, y| one_rounding(y) + 1e-5);
                }
                result.assert_neighbours_untouched();
            }
        }
    }
}
