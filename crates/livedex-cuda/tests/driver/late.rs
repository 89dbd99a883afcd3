//! Work that is done when somebody waits for it, as on a device that is slower than its host.

use std::slice;

use half::bf16;

use crate::driver::{Driver, SUCCESS};

const ONE: [bf16; 8] = [bf16::ONE; 8];

/// Schedules 0 and 4: work is done at once, and as late as may be.
fn both(check: impl Fn(&Driver, bool)) {
    for (schedule, late) in [("0", false), ("4", true)] {
        let Some(driver) = Driver::ready(&[("LIVEDEX_EMULATOR_SCHEDULE", schedule)]) else {
            return;
        };
        check(&driver, late);
    }
}

#[test]
fn page_locked_memory_is_read_and_written_late() {
    both(|driver, late| {
        let stream = driver.stream();
        let function = driver.function("bias_activation").unwrap();
        let x = driver.allocate(16).unwrap();
        let (from, to) = (driver.pinned(16), driver.pinned(16));
        // SAFETY: eight numbers each, of this test alone.
        let (source, target): (&mut [bf16], &mut [bf16]) = unsafe {
            (slice::from_raw_parts_mut(from as _, 8), slice::from_raw_parts_mut(to as _, 8))
        };
        source.fill(bf16::ONE);
        target.fill(bf16::ZERO);
        assert_eq!(driver.copy("cuMemcpyHtoDAsync_v2", x, from, 16, stream), SUCCESS);
        assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
        assert_eq!(driver.copy("cuMemcpyDtoHAsync_v2", to, x, 16, stream), SUCCESS);
        let done = driver.event(stream);
        // Too early, and nobody has waited.
        source.fill(bf16::from_f32(3.0));
        let before = if late { 0.0 } else { 2.0 };
        assert_eq!(target, [bf16::from_f32(before); 8]);
        assert_eq!(driver.call("cuEventSynchronize", done, 0), SUCCESS);
        let after = if late { 6.0 } else { 2.0 };
        assert_eq!(target, [bf16::from_f32(after); 8]);
    });
}

#[test]
fn other_memory_is_the_callers_again_at_once() {
    both(|driver, _| {
        let stream = driver.stream();
        let x = driver.allocate(16).unwrap();
        let mut numbers = ONE;
        let host = numbers.as_mut_ptr().addr() as u64;
        assert_eq!(driver.copy("cuMemcpyHtoDAsync_v2", x, host, 16, stream), SUCCESS);
        numbers.fill(bf16::ZERO);
        assert_eq!(driver.copy("cuMemcpyDtoHAsync_v2", host, x, 16, stream), SUCCESS);
        assert_eq!(numbers, ONE);
    });
}

#[test]
fn arguments_are_the_launchs_own() {
    both(|driver, _| {
        let stream = driver.stream();
        let function = driver.function("bias_activation").unwrap();
        let x = driver.allocate(16).unwrap();
        assert_eq!(driver.write(x, &ONE), SUCCESS);
        // What its arguments were in is gone when it returns.
        assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
        assert_eq!(driver.call("cuStreamSynchronize", stream, 0), SUCCESS);
        let mut numbers = [bf16::ZERO; 8];
        assert_eq!(driver.read(&mut numbers, x), SUCCESS);
        assert_eq!(numbers, [bf16::from_f32(2.0); 8]);
    });
}

#[test]
fn memory_is_freed_behind_its_last_use() {
    both(|driver, late| {
        let stream = driver.stream();
        let function = driver.function("bias_activation").unwrap();
        let (all, _) = driver.memory();
        let x = driver.allocate(16).unwrap();
        assert_eq!(driver.write(x, &ONE), SUCCESS);
        assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
        assert_eq!(driver.call("cuMemFreeAsync", x, stream), SUCCESS);
        assert_eq!(driver.memory().0, if late { all - 16 } else { all });
        assert_eq!(driver.call("cuCtxSynchronize", 0, 0), SUCCESS);
        assert_eq!(driver.memory().0, all);
    });
}
