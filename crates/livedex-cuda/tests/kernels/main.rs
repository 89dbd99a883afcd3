//! The kernels, compiled for the emulator and compared with plain loops in f64 over the same bf16
//! numbers. All buffers are surrounded by NaN, which must neither be read nor overwritten.
//!
//! A kernel's sums are f32, whose errors are far below what one rounding of the result to bf16 may
//! change: half a unit in the last of 8 bits, at most 2^-8 of the number.

#![allow(unsafe_code, reason = "C++ is called; each block says why it is sound")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests may panic, and say that they are skipped"
)]

mod attention;
#[path = "../support/compiler.rs"]
mod compiler;
mod emulator;
mod faults;
mod memory;
mod norms;
mod pooling;
mod rows;
