//! `x W^T` by oneDNN.

use anyhow::{Context as _, Result, ensure};
use livedex_onednn::{Packed, Precision, library};

/// Numbers without a pattern that sums could hide behind.
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

fn rounded(x: &[f32]) -> Vec<f32> {
    // To the nearest number with 8 bits of significand, ties to even.
    let round = |x: &f32| {
        let bits = x.to_bits();
        f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    };
    x.iter().map(round).collect()
}

fn plain(x: &[f32], weights: &[f32], inputs: usize) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    x.chunks_exact(inputs)
        .flat_map(|row| weights.chunks_exact(inputs).map(move |w| dot(row, w)))
        .collect()
}

fn close(got: &[f32], expected: &[f64], bound: f64, what: &str) -> Result<()> {
    ensure!(got.len() == expected.len(), "{what}: {} numbers", got.len());
    let worst =
        got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - e).abs()).fold(0.0, f64::max);
    ensure!(worst <= bound, "{what}: off by {worst}");
    Ok(())
}

pub(crate) fn equal_plain_loops() -> Result<()> {
    let library = library().context("oneDNN")?;
    // Outputs below, at and above a piece; rows below, at and above a block and a step.
    for (inputs, outputs) in [(1, 1), (3, 7), (64, 192), (384, 600), (100, 1030), (256, 512)] {
        let weights = numbers(outputs * inputs, 1);
        let packed = Packed::new(library, &[&weights], inputs, Precision::F32)?;
        for rows in [0, 1, 2, 5, 15, 16, 17, 31, 64, 255, 256, 257, 600] {
            let x = numbers(rows * inputs, 2);
            let got = packed.multiply(&x, 0..outputs, &|_, _| {})?;
            let what = format!("{rows} x {inputs} x {outputs}");
            close(&got, &plain(&x, &weights, inputs), 1e-4, &what)?;
        }
    }
    // Stacked layers, and some of them only, finished in place.
    let (a, b, c) = (numbers(48 * 32, 3), numbers(520 * 32, 4), numbers(16 * 32, 5));
    let packed = Packed::new(library, &[&a, &b, &c], 32, Precision::F32)?;
    ensure!(packed.outputs() == 584 && packed.inputs() == 32);
    let x = numbers(300 * 32, 6);
    let finish = |tile: &mut [f32], outputs: std::ops::Range<usize>| {
        for row in tile.chunks_exact_mut(outputs.len()) {
            for (y, output) in row.iter_mut().zip(outputs.clone()) {
                *y += output as f32;
            }
        }
    };
    let got = packed.multiply(&x, 48..584, &finish)?;
    let both: Vec<f32> = b.iter().chain(&c).copied().collect();
    let mut expected = plain(&x, &both, 32);
    for row in expected.chunks_exact_mut(536) {
        row.iter_mut().enumerate().for_each(|(i, y)| *y += (48 + i) as f64);
    }
    close(&got, &expected, 1e-3, "stacked")
}

pub(crate) fn bf16() -> Result<()> {
    let library = library().context("oneDNN")?;
    for (rows, inputs, outputs) in [(1, 64, 64), (33, 384, 1152), (300, 96, 40)] {
        let (x, weights) = (numbers(rows * inputs, 7), numbers(outputs * inputs, 8));
        let packed = Packed::new(library, &[&weights], inputs, Precision::Bf16)?;
        let got = packed.multiply(&x, 0..outputs, &|_, _| {})?;
        // Sums are f32: only the inputs are rounded.
        let expected = plain(&rounded(&x), &rounded(&weights), inputs);
        close(&got, &expected, 1e-4, &format!("{rows} x {inputs} x {outputs}"))?;
    }
    let packed = Packed::new(library, &[&[1.0; 32]], 32, Precision::Bf16)?;
    let mut x = vec![1.0; 64];
    x[40] = f32::NAN;
    let got = packed.multiply(&x, 0..1, &|_, _| {})?;
    ensure!(got[0] == 32.0 && got[1].is_nan(), "{got:?}");
    Ok(())
}

pub(crate) fn threads() -> Result<()> {
    let library = library().context("oneDNN")?;
    let weights = numbers(700 * 128, 9);
    let packed = Packed::new(library, &[&weights], 128, Precision::F32)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|seed| {
                let (packed, weights) = (&packed, &weights);
                scope.spawn(move || -> Result<()> {
                    for round in 0..20 {
                        // Other rows each time: primitives are made while others run.
                        let x = numbers((1 + 37 * round + seed as usize) * 128, seed);
                        let got = packed.multiply(&x, 0..700, &|_, _| {})?;
                        close(&got, &plain(&x, weights, 128), 1e-4, "shared")?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a thread panicked"),
        })
    })
}
