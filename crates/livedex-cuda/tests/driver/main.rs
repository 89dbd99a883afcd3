//! The emulator as the shared libraries of a driver: what programs get of it, the faults that tests
//! can ask for, and the limits of a device that it enforces.

#![allow(unsafe_code, reason = "C is called; each block says why it is sound")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests may panic, and say that they are skipped"
)]

#[path = "../support/compiler.rs"]
mod compiler;
mod driver;
mod faults;
mod late;
#[path = "../support/libraries.rs"]
mod libraries;
mod limits;
