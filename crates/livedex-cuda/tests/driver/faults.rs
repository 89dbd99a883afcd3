//! What a test can ask for by environment variables.

use std::{sync::Arc, sync::mpsc, thread, time::Duration};

use half::bf16;

use crate::driver::{
    Driver, ILLEGAL_ADDRESS, INVALID_VALUE, NO_DEVICE, NOT_READY, OUT_OF_MEMORY, SUCCESS,
    UNSUPPORTED_PTX_VERSION,
};

#[test]
fn memory_ends() {
    let Some(driver) = Driver::ready(&[("LIVEDEX_EMULATOR_MEMORY", "1000")]) else { return };
    assert_eq!(driver.memory(), (1000, 1000));
    let first = driver.allocate(600).unwrap();
    assert_eq!(driver.memory(), (400, 1000));
    assert_eq!(driver.allocate(401), Err(OUT_OF_MEMORY));
    let second = driver.allocate(400).unwrap();
    assert_eq!(driver.call("cuMemFree_v2", first, 0), SUCCESS);
    // As a device does, which has no allocations without bytes, and none that are freed twice.
    assert_eq!(driver.call("cuMemFreeAsync", first, 0), INVALID_VALUE);
    assert_eq!(driver.allocate(0), Err(INVALID_VALUE));
    assert_eq!(driver.call("cuMemFreeAsync", second, 0), SUCCESS);
    assert_eq!(driver.memory(), (1000, 1000));
}

#[test]
fn a_launch_never_ends() {
    let Some(driver) = Driver::ready(&[("LIVEDEX_EMULATOR_HANG", "2")]) else { return };
    let driver = Arc::new(driver);
    let function = driver.function("bias_activation").unwrap();
    let (stream, other) = (driver.stream(), driver.stream());
    let x = driver.allocate(16).unwrap();
    assert_eq!(driver.write(x, &[bf16::ONE; 8]), SUCCESS);

    assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
    let before = driver.event(stream);
    assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
    let after = driver.event(stream);
    assert_eq!(driver.call("cuEventQuery", before, 0), SUCCESS);
    assert_eq!(driver.call("cuEventQuery", after, 0), NOT_READY);
    assert_eq!(driver.call("cuStreamQuery", stream, 0), NOT_READY);

    // Other streams go on until they wait for it. What was submitted behind it is never done.
    assert_eq!(driver.call("cuStreamSynchronize", other, 0), SUCCESS);
    assert_eq!(driver.call("cuStreamWaitEvent", other, after), SUCCESS);
    assert_eq!(driver.call("cuStreamQuery", other, 0), NOT_READY);
    assert_eq!(driver.add(function, stream, x, 8), SUCCESS);
    let mut numbers = [bf16::ZERO; 8];
    assert_eq!(driver.read(&mut numbers, x), SUCCESS);
    assert_eq!(numbers, [bf16::from_f32(2.0); 8]);

    // Who waits for it never comes back; the thread ends with the process.
    let (sender, receiver) = mpsc::channel();
    let waiting = driver.clone();
    thread::spawn(move || {
        waiting.bind();
        sender.send("about to wait").unwrap();
        waiting.call("cuEventSynchronize", after, 0);
        sender.send("came back").unwrap();
    });
    assert_eq!(receiver.recv(), Ok("about to wait"));
    let came_back = receiver.recv_timeout(Duration::from_millis(300));
    assert_eq!(came_back, Err(mpsc::RecvTimeoutError::Timeout));
    // And keeps nobody else from calling.
    assert_eq!(driver.call("cuEventQuery", after, 0), NOT_READY);
}

#[test]
fn a_launch_fails_and_everything_after_it() {
    let Some(driver) = Driver::ready(&[("LIVEDEX_EMULATOR_FAIL", "1")]) else { return };
    let function = driver.function("bias_activation").unwrap();
    let x = driver.allocate(16).unwrap();
    assert_eq!(driver.add(function, 0, x, 8), SUCCESS);
    for _ in 0..2 {
        assert_eq!(driver.call("cuCtxSynchronize", 0, 0), ILLEGAL_ADDRESS);
        assert_eq!(driver.add(function, 0, x, 8), ILLEGAL_ADDRESS);
        assert_eq!(driver.allocate(16), Err(ILLEGAL_ADDRESS));
        assert_eq!(driver.write(x, &[bf16::ONE; 8]), ILLEGAL_ADDRESS);
    }
}

#[test]
fn a_driver_is_too_old_for_the_modules() {
    let Some(driver) = Driver::ready(&[("LIVEDEX_EMULATOR_DRIVER", "12080")]) else { return };
    assert_eq!(driver.version(), 12080);
    assert_eq!(driver.module(), Err(UNSUPPORTED_PTX_VERSION));
    let Some(driver) = Driver::ready(&[]) else { return };
    assert_eq!(driver.version(), 13000);
    assert!(driver.module().is_ok());
}

#[test]
fn there_is_no_device() {
    let Some(driver) = Driver::with(&[("LIVEDEX_EMULATOR_DEVICES", "0")]) else { return };
    assert_eq!(driver.init(), NO_DEVICE);
}
