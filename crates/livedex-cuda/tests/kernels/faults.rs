//! The emulator sees what it is there to see: kernels that lack a wait or a barrier are wrong on
//! it, whatever a real device would make of them on a good day.

use half::bf16;
use livedex_cuda::plan;

use crate::{
    attention::{Case, Mask},
    emulator::{Emulator, NULL, SCHEDULES, Shape, compile, emulator},
    memory::{Matrix, activation, one_rounding, random, vector},
};

/// The emulator with a fault in one file of it, at the only place where `right` stands.
fn faulty(file: &str, right: &str, wrong: &str) -> Option<Emulator> {
    // Compiled faster than it runs.
    compile("-O1", |name, source| {
        if name != file {
            return source;
        }
        assert_eq!(source.matches(right).count(), 1, "{file}: {right}");
        source.replace(right, wrong)
    })
}

fn attention(emulator: &Emulator, schedule: u32) -> Result<(), String> {
    let case = Case::new(51, 64, (1, 1), Mask::Causal, &[(130, 130, None)]);
    let blocks = plan::blocks(&case.spans);
    case.check(&case.run(emulator, schedule)?, &blocks)
}

fn layer_norm(emulator: &Emulator, schedule: u32) -> Result<(), String> {
    let mut random = random(52);
    let width = 1024;
    let x = Matrix::poisoned(1, width, width, 0).filled(|| activation(&mut random));
    let ones = vector(width, || bf16::ONE);
    let mut out = Matrix::<bf16>::poisoned(1, width, width, 0);
    let arguments = [
        out.pointer_mut().into(),
        x.pointer().into(),
        NULL,
        NULL,
        ones.pointer().into(),
        NULL,
        (width as u32).into(),
        0f32.into(),
    ];
    let shape = Shape { schedule, ..Shape::rows(1, plan::row_threads(width as u32)) };
    // SAFETY: the signature in norms.cu.
    unsafe { emulator.launch("layer_norm", shape, &arguments) }?;
    let x = x.values(0);
    let mean = x.iter().sum::<f64>() / width as f64;
    let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64).sqrt();
    let expected: Vec<f64> = x.iter().map(|x| (x - mean) / deviation).collect();
    out.compare(0, &expected, |_, y| one_rounding(y) + 1e-5)
}

type Check = fn(&Emulator, u32) -> Result<(), String>;

/// Right on every schedule as it is, and wrong on one of them with the fault.
fn is_seen(check: Check, file: &str, right: &str, wrong: &str) {
    let Some(good) = emulator() else { return };
    for schedule in SCHEDULES {
        check(&good, schedule).unwrap();
    }
    drop(good);
    let Some(bad) = faulty(file, right, wrong) else { return };
    let seen = SCHEDULES.iter().any(|schedule| check(&bad, *schedule).is_err());
    assert!(seen, "nothing was wrong with {wrong:?} in {file}");
}

#[test]
fn a_copy_that_nobody_waited_for() {
    let right = "wait_for_copies<0>();\n        __syncthreads();\n        if (tile + 1 < tiles)";
    let wrong = "__syncthreads();\n        if (tile + 1 < tiles)";
    is_seen(attention, "attention.cu", right, wrong);
}

#[test]
fn a_tile_that_others_have_not_copied_yet() {
    let right = "wait_for_copies<0>();\n        __syncthreads();\n        if (tile + 1 < tiles)";
    let wrong = "wait_for_copies<0>();\n        if (tile + 1 < tiles)";
    is_seen(attention, "attention.cu", right, wrong);
}

#[test]
fn results_that_overwrite_a_tile_in_use() {
    let right = "a lane alone has four bytes of each.\n    __syncthreads();";
    is_seen(attention, "attention.cu", right, "");
}

#[test]
fn sums_that_others_have_not_written_yet() {
    let right = "    __syncthreads();\n    float sum = 0;";
    is_seen(layer_norm, "bf16.cuh", right, "    float sum = 0;");
}

#[test]
fn sums_that_others_still_read() {
    let right = "    // The previous call's numbers may still be read.\n    __syncthreads();\n";
    is_seen(layer_norm, "bf16.cuh", right, "");
}

#[test]
fn rows_that_lie_in_the_same_banks() {
    let right = "D == 32 ? row / 2 % 4 : row % 8";
    let Some(bad) = faulty("tiles.cuh", right, "0 * row") else { return };
    // Right, but slow.
    attention(&bad, 0).unwrap();
    assert!(bad.bank_conflicts() > 0);
}

#[test]
fn lanes_that_part() {
    // A lane with nothing to do leaves before its warp sums up.
    let right = "    const u32 i = threadIdx.x % lanes * WIDE;\n";
    let wrong = "    const u32 i = threadIdx.x % lanes * WIDE;\n    if (i >= half) return;\n";
    let Some(bad) = faulty("norms.cu", right, wrong) else { return };
    let mut x = vector(96, || bf16::ONE);
    let weight = vector(96, || bf16::ONE);
    let (cos, sin, position) = ([1f32; 48], [0f32; 48], [0u32]);
    let arguments = [
        x.pointer_mut().into(),
        96u32.into(),
        x.pointer().into(),
        96u32.into(),
        weight.pointer().into(),
        cos.as_ptr().into(),
        sin.as_ptr().into(),
        position.as_ptr().into(),
        1u32.into(),
        96u32.into(),
        1e-6f32.into(),
    ];
    // SAFETY: the signature in norms.cu.
    let refused = unsafe { bad.launch("norm_rope", Shape::rows(1, 32), &arguments) }.unwrap_err();
    assert!(refused.contains("is not where the first lane of its warp is"), "{refused}");
}

#[test]
fn too_little_shared_memory() {
    let Some(emulator) = emulator() else { return };
    let case = Case::new(53, 128, (1, 1), Mask::Full, &[(64, 64, None)]);
    let blocks = plan::blocks(&case.spans);
    let mut shape = case.shape(&blocks, 0);
    shape.shared_bytes -= 16;
    let refused = case.launch(&emulator, &blocks, shape).map(drop).unwrap_err();
    assert!(refused.contains("dynamic shared memory"), "{refused}");
}
