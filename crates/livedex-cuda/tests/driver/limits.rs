//! What a real device would refuse, or do damage by, is an error.

use half::bf16;
use livedex_cuda::plan::{self, Span};

use crate::driver::{Driver, ILLEGAL_ADDRESS, INVALID_CONTEXT, INVALID_VALUE, NOT_FOUND, SUCCESS};

#[test]
fn calls_need_a_context() {
    let Some(driver) = Driver::with(&[]) else { return };
    assert_eq!(driver.init(), SUCCESS);
    assert_eq!(driver.allocate(16), Err(INVALID_CONTEXT));
    driver.bind();
    assert!(driver.allocate(16).is_ok());
}

#[test]
fn kernels_have_names() {
    let Some(driver) = Driver::ready(&[]) else { return };
    assert_eq!(driver.function("ucopy_f16"), Err(NOT_FOUND));
    assert!(driver.function("attention_64").is_ok());
}

#[test]
fn launches_have_limits() {
    let Some(driver) = Driver::ready(&[]) else { return };
    let span = Span { q_len: 1, k_len: 1, ..Span::default() };
    let row = driver.allocate(256).unwrap();
    let spans = driver.allocate(24).unwrap();
    let blocks = driver.allocate(8).unwrap();
    assert_eq!(driver.write(row, &[bf16::ONE; 128]), SUCCESS);
    assert_eq!(driver.write(spans, &span.words()), SUCCESS);
    assert_eq!(driver.write(blocks, &plan::blocks(&[span])), SUCCESS);
    let scale = u64::from(1f32.to_bits());
    let out = driver.allocate(256).unwrap();
    let arguments = [out, 128, row, 128, row, 128, row, 128, spans, blocks, 1, scale, 0, 0];

    let attention = driver.function("attention_128").unwrap();
    let threads = (plan::ATTENTION_THREADS, 1);
    let shared = (plan::shared_bytes(128), 0);
    let launch =
        |grid, threads, shared| driver.launch(attention, [grid, threads, shared], 0, &arguments);
    assert_eq!(launch((1, 1), threads, shared), INVALID_VALUE, "more than 48 KiB");
    assert_eq!(driver.allow_shared(attention, 300 << 10), INVALID_VALUE);
    assert_eq!(driver.allow_shared(attention, plan::shared_bytes(128) as i32), SUCCESS);
    assert_eq!(launch((1, 65536), threads, shared), INVALID_VALUE, "too many heads");
    assert_eq!(launch((0, 1), threads, shared), INVALID_VALUE, "no block");
    assert_eq!(launch((1, 1), (256, 1), shared), INVALID_VALUE, "more than its bounds");
    assert_eq!(launch((1, 1), threads, shared), SUCCESS);
    assert_eq!(driver.call("cuCtxSynchronize", 0, 0), SUCCESS);
    // The only key has all the weight.
    let mut result = [bf16::ZERO; 128];
    assert_eq!(driver.read(&mut result, out), SUCCESS);
    assert_eq!(result, [bf16::ONE; 128]);
}

#[test]
fn what_is_not_written_is_nan() {
    let Some(driver) = Driver::ready(&[]) else { return };
    let x = driver.allocate(16).unwrap();
    let mut numbers = [bf16::ZERO; 8];
    assert_eq!(driver.read(&mut numbers, x), SUCCESS);
    assert!(numbers.iter().all(|x| x.is_nan()));
    assert_eq!(driver.read(&mut [bf16::ZERO; 9], x), INVALID_VALUE);
}

#[test]
fn writing_beside_an_allocation_is_seen() {
    let Some(driver) = Driver::ready(&[]) else { return };
    let function = driver.function("bias_activation").unwrap();
    let x = driver.allocate(64).unwrap();
    assert_eq!(driver.write(x, &[bf16::ONE; 32]), SUCCESS);
    assert_eq!(driver.add(function, 0, x, 32), SUCCESS);
    assert_eq!(driver.call("cuCtxSynchronize", 0, 0), SUCCESS);
    // 16 bytes more than it has. They are NaN, which a kernel writes as another NaN.
    assert_eq!(driver.add(function, 0, x, 40), SUCCESS);
    assert_eq!(driver.call("cuCtxSynchronize", 0, 0), ILLEGAL_ADDRESS);
}

#[test]
fn pointers_lead_to_memory_of_the_device() {
    let Some(driver) = Driver::ready(&[]) else { return };
    let function = driver.function("bias_activation").unwrap();
    let host = [bf16::ONE; 8];
    assert_eq!(driver.add(function, 0, host.as_ptr().addr() as u64, 8), SUCCESS);
    assert_eq!(driver.call("cuCtxSynchronize", 0, 0), ILLEGAL_ADDRESS);
}
