//! A GPU that is not there, is too small, fails or hangs: on the emulator (`livedex-cuda/emulator`), whose
//! faults are chosen by environment variables. Each case runs in a process of its own, which is this
//! test program again (`child.rs`).

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod child;
mod emulator;

use std::time::{Duration, Instant};

use emulator::{Emulator, run};

/// A child that takes longer is stuck: the slowest one, on an emulated device, needs some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_gpu_is_opened_and_named() {
    let Some(emulator) = Emulator::build() else { return };
    let said = run("open", emulator.folder(), &[]);
    assert!(said.succeeded && said.text.contains("opened: cuda:0, CPU emulator"), "{said:?}");
}

#[test]
fn what_is_missing_is_one_clear_line() {
    let Some(emulator) = Emulator::build() else { return };
    let nothing = tempfile::tempdir().unwrap();
    let said = run("open", nothing.path(), &[]);
    for part in
        ["device \"cuda\": libcuda.so.1 cannot be opened", "NVIDIA's driver", "LD_LIBRARY_PATH"]
    {
        assert!(said.text.contains(part), "{said:?}");
    }
    let driver_only = tempfile::tempdir().unwrap();
    let library = "libcuda.so.1";
    std::fs::copy(emulator.folder().join(library), driver_only.path().join(library)).unwrap();
    let said = run("open", driver_only.path(), &[]);
    assert!(said.text.contains("libcublas.so.13 cannot be opened"), "{said:?}");
    assert!(said.text.contains("nvidia-cublas"), "{said:?}");
}

#[test]
fn a_driver_that_is_too_old_and_a_machine_without_gpu_are_told_apart() {
    let Some(emulator) = Emulator::build() else { return };
    let old = run("open", emulator.folder(), &[("LIVEDEX_EMULATOR_DRIVER", "12080")]);
    assert!(old.text.contains("knows CUDA 12.8, this build needs 13.0"), "{old:?}");
    let none = run("open", emulator.folder(), &[("LIVEDEX_EMULATOR_DEVICES", "0")]);
    assert!(none.text.contains("there is no GPU 0: the driver sees 0"), "{none:?}");
}

#[test]
fn a_device_of_many_faults_loses_nothing() {
    let Some(emulator) = Emulator::build() else { return };
    let plain = run("embed", emulator.folder(), &[]);
    assert!(plain.succeeded && plain.text.contains("all as on the CPU"), "{plain:?}");
    assert!(plain.text.contains("budget 4096"), "{plain:?}");
    // Weights and small batches fit, one of 4,096 tokens does not.
    let small = run("embed", emulator.folder(), &[("LIVEDEX_EMULATOR_MEMORY", "4000000")]);
    assert!(small.succeeded && small.text.contains("all as on the CPU"), "{small:?}");
    assert!(small.text.contains("budget 2048") || small.text.contains("budget 1024"), "{small:?}");
    // Whatever the device does late, and in whatever order its warps run.
    let late = run("embed", emulator.folder(), &[("LIVEDEX_EMULATOR_SCHEDULE", "7")]);
    assert!(late.succeeded && late.text.contains("all as on the CPU"), "{late:?}");
}

#[test]
fn a_device_that_fails_or_hangs_ends_the_process_with_its_reason() {
    let Some(emulator) = Emulator::build() else { return };
    let failed = run("embed", emulator.folder(), &[("LIVEDEX_EMULATOR_FAIL", "40")]);
    assert!(
        failed.text.contains("dead: ") && failed.text.contains("ILLEGAL_ADDRESS"),
        "{failed:?}"
    );
    assert!(!failed.text.contains("panicked"), "{failed:?}");
    let started = Instant::now();
    let hung = run("embed", emulator.folder(), &[("LIVEDEX_EMULATOR_HANG", "40")]);
    assert!(hung.text.contains("dead: ") && hung.text.contains("tokens"), "{hung:?}");
    assert!(started.elapsed() < PATIENCE, "the child has ended: {hung:?}");
}
