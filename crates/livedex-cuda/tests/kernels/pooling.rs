//! Pooling and scores.

use livedex_cuda::plan;

use crate::{
    emulator::{Shape, emulator},
    memory::{Matrix, activation, random},
};

/// f32 sums of some hundred numbers.
const F32: f64 = 1e-5;

#[test]
fn sequences_become_their_means_or_unit_vectors() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(21);
    for (width, dimension, unit) in [
        (384usize, 384usize, true),
        (1024, 256, true),
        (1024, 1021, true),
        (4096, 4096, true),
        (8, 1, true),
        (768, 768, false),
    ] {
        let firsts = [0u32, 3, 3, 10, 41];
        let counts = [3u32, 1, 7, 31, 1];
        let x = Matrix::poisoned(42, width, width, 0).filled(|| activation(&mut random));
        let mut out = Matrix::<f32>::poisoned(5, dimension, dimension, 0);
        let arguments = [
            out.pointer_mut().into(),
            x.pointer().into(),
            firsts.as_ptr().into(),
            counts.as_ptr().into(),
            (width as u32).into(),
            (dimension as u32).into(),
            u32::from(unit).into(),
        ];
        let shape = Shape::rows(5, plan::row_threads(dimension as u32));
        // SAFETY: the signature in pooling.cu; the ranges are within x.
        unsafe { emulator.launch("pool", shape, &arguments) }.unwrap();
        for (sequence, (first, count)) in firsts.into_iter().zip(counts).enumerate() {
            let mut mean = vec![0.0; dimension];
            for row in first..first + count {
                for (mean, x) in mean.iter_mut().zip(x.values(row as usize)) {
                    *mean += x / f64::from(count);
                }
            }
            let length = if unit { mean.iter().map(|x| x * x).sum::<f64>().sqrt() } else { 1.0 };
            let expected: Vec<f64> = mean.iter().map(|x| x / length).collect();
            out.assert_near(sequence, &expected, |_, _| F32);
        }
        out.assert_neighbours_untouched();
    }
}

#[test]
fn a_vector_without_length_is_nan() {
    let Some(emulator) = emulator() else { return };
    let zeros = Matrix::poisoned(2, 64, 64, 0).filled(|| half::bf16::ZERO);
    let mut out = Matrix::<f32>::poisoned(2, 64, 64, 0).filled(|| 1.0);
    let (firsts, counts) = ([0u32, 0], [2u32, 0]);
    let arguments = [
        out.pointer_mut().into(),
        zeros.pointer().into(),
        firsts.as_ptr().into(),
        counts.as_ptr().into(),
        64u32.into(),
        64u32.into(),
        1u32.into(),
    ];
    // SAFETY: the signature in pooling.cu; the ranges are within x.
    unsafe { emulator.launch("pool", Shape::rows(2, 32), &arguments) }.unwrap();
    // Two rows of zeros, and no row.
    assert!((0..2).all(|row| out.row(row).iter().all(|x| x.is_nan())));
}

#[test]
fn rows_are_multiplied_with_rows() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(22);
    for (count, width) in [(1usize, 8usize), (2, 1024), (5, 384), (3, 2560)] {
        let x = Matrix::poisoned(11, width, width, 0).filled(|| activation(&mut random));
        let rows = Matrix::poisoned(count, width, width, 0).filled(|| activation(&mut random));
        let mut out = Matrix::<f32>::poisoned(11, count, count, 0);
        let arguments = [
            out.pointer_mut().into(),
            x.pointer().into(),
            rows.pointer().into(),
            (count as u32).into(),
            (width as u32).into(),
        ];
        // SAFETY: the signature in pooling.cu.
        unsafe { emulator.launch("dots", Shape::rows(11, plan::DOTS_THREADS), &arguments) }
            .unwrap();
        for r in 0..11 {
            let products = |j| x.values(r).into_iter().zip(rows.values(j)).map(|(a, b)| a * b);
            let expected: Vec<f64> = (0..count).map(|j| products(j).sum()).collect();
            let size: f64 =
                (0..count).map(|j| products(j).map(f64::abs).sum::<f64>()).fold(0.0, f64::max);
            // Relative to what was added up, which may cancel out.
            out.assert_near(r, &expected, |_, _| size * 1e-6);
        }
        out.assert_neighbours_untouched();
    }
}
