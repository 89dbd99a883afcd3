//! Kernels for NVIDIA GPUs: what a forward pass needs beside matrix products, in bf16.
//!
//! - `kernels/`: CUDA C++ for sm_80 and later
//! - [`plan`]: how they are launched
//! - `emulator/`: runs the same sources on the CPU, by themselves (`tests/kernels`) or as the
//!   shared libraries of a driver (`emulator/build.sh`), so that all of it is tested where there
//!   is no GPU

pub mod plan;
