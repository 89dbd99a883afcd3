//! Kernels for NVIDIA GPUs, and how they are launched.
//!
//! - [`plan`]: what a launch looks like, computed on the CPU
//! - `device` (feature `cuda`): a GPU is found, opened and asked how full it is
//! - `launch` (feature `cuda`): the kernels over candle's tensors
//! - `transfer` (feature `cuda`): copies that nobody waits for
//!
//! The kernels themselves are in `kernels/` (CUDA C++ for sm_80 and later). `emulator/` runs the same
//! sources on a CPU, by themselves (`tests/kernels`) or as the shared libraries of a driver
//! (`emulator/build.sh`), so that tests need no GPU. Everything computes in bf16 with sums in f32; matrices are row by row.

#![allow(unsafe_code, reason = "a driver and kernels are called; each block says why it is sound")]

pub mod plan;

#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(feature = "cuda")]
mod tensors;
#[cfg(feature = "cuda")]
mod transfer;

#[cfg(feature = "cuda")]
pub use {
    device::{Gpu, OpenError},
    launch::{Attended, Kernels},
    transfer::{Landing, Transfer},
};
