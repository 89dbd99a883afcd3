//! Looking up, gating, bias and activation.

use half::bf16;
use livedex_cuda::plan;
use rand::RngExt;

use crate::{
    emulator::{Shape, emulator},
    memory::{Matrix, activation, one_rounding, random, vector},
};

#[test]
fn rows_are_looked_up() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(1);
    for (width, ld) in [(8, 8), (384, 400), (2560, 2560)] {
        let table = Matrix::poisoned(50, width, ld, 0).filled(|| activation(&mut random));
        let ids: Vec<u32> = (0..37).map(|_| random.random_range(0..50)).collect();
        let mut out = Matrix::<bf16>::poisoned(ids.len(), width, width, 0);
        let arguments = [
            out.pointer_mut().into(),
            table.pointer().into(),
            (ld as u32).into(),
            ids.as_ptr().into(),
            (width as u32).into(),
        ];
        let shape = Shape::rows(37, plan::row_threads(width as u32));
        // SAFETY: the signature in rows.cu; the ids are rows of the table.
        unsafe { emulator.launch("gather_rows", shape, &arguments) }.unwrap();
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(out.row(row), table.row(*id as usize), "row {row}");
        }
        out.assert_neighbours_untouched();
    }
}

#[test]
fn a_gate_multiplies() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(2);
    for kind in [0u32, 1] {
        for width in [8usize, 264, 3072] {
            let both =
                Matrix::poisoned(5, 2 * width, 2 * width, 0).filled(|| activation(&mut random));
            let mut out = Matrix::<bf16>::poisoned(5, width, width, 0);
            let arguments = [
                out.pointer_mut().into(),
                both.pointer().into(),
                (width as u32).into(),
                kind.into(),
            ];
            let shape = Shape::rows(5, plan::row_threads(width as u32));
            // SAFETY: the signature in rows.cu; rows are gate and up.
            unsafe { emulator.launch("gated", shape, &arguments) }.unwrap();
            for row in 0..5 {
                let values = both.values(row);
                let (gate, up) = values.split_at(width);
                let f = |x: f64| if kind == 0 { x / (1.0 + (-x).exp()) } else { gelu(x) };
                let expected: Vec<f64> = gate.iter().zip(up).map(|(g, u)| f(*g) * u).collect();
                out.assert_near(row, &expected, |_, y| one_rounding(y));
            }
            out.assert_neighbours_untouched();
        }
    }
}

#[test]
fn rows_are_added() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(4);
    for width in [8usize, 768, 4104] {
        let mut x = Matrix::poisoned(5, width, width, 0).filled(|| activation(&mut random));
        let before = x.clone();
        let delta = Matrix::poisoned(5, width, width, 0).filled(|| activation(&mut random));
        let arguments = [x.pointer_mut().into(), delta.pointer().into(), (width as u32).into()];
        let shape = Shape::rows(5, plan::row_threads(width as u32));
        // SAFETY: the signature in rows.cu.
        unsafe { emulator.launch("add", shape, &arguments) }.unwrap();
        for row in 0..5 {
            let sums = before.values(row).into_iter().zip(delta.values(row)).map(|(x, d)| x + d);
            x.assert_near(row, &sums.collect::<Vec<_>>(), |_, y| one_rounding(y));
        }
        x.assert_neighbours_untouched();
    }
}

#[test]
fn a_bias_and_an_activation_are_applied() {
    let Some(emulator) = emulator() else { return };
    let mut random = random(3);
    let functions: [fn(f64) -> f64; 5] = [
        |x| x,
        gelu,
        |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        },
        |x| x.max(0.0),
        f64::tanh,
    ];
    // Rows of one and two numbers are a classifier's.
    for ((kind, f), width) in (0u32..).zip(functions).flat_map(|f| [1, 2, 1536].map(|w| (f, w))) {
        let mut x = Matrix::poisoned(7, width, width, 0).filled(|| activation(&mut random));
        let before = x.clone();
        let bias = vector(width, || activation(&mut random));
        let arguments =
            [x.pointer_mut().into(), bias.pointer().into(), (width as u32).into(), kind.into()];
        let shape = Shape::rows(7, plan::row_threads(width as u32));
        // SAFETY: the signature in rows.cu.
        unsafe { emulator.launch("bias_activation", shape, &arguments) }.unwrap();
        for row in 0..7 {
            let values = before.values(row).into_iter().zip(bias.values(0));
            let expected: Vec<f64> = values.map(|(x, b)| f(x + b)).collect();
            x.assert_near(row, &expected, |_, y| one_rounding(y));
        }
        x.assert_neighbours_untouched();
    }
}

/// `x * Phi(x)`, Phi by Simpson's rule: std has no error function.
fn gelu(x: f64) -> f64 {
    let n = 200;
    let step = x / f64::from(n);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let weight = |i: i32| match i {
        0 => 1.0,
        i if i == n => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let area: f64 = (0..=n).map(|i| weight(i) * density(f64::from(i) * step)).sum();
    x * (0.5 + area * step / 3.0)
}
