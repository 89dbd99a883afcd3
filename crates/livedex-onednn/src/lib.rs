//! [oneDNN](https://uxlfoundation.github.io/oneDNN/)'s matrix product over packed weights, loaded
//! at run time.
//!
//! A binary with this crate starts with and without oneDNN on the machine: [`library`] says which.
//! Debian and Ubuntu have it as `libdnnl-dev` (of which `libdnnl2` or `libdnnl3` would do), PyPI as
//! `onednn-cpu-gomp`.
//!
//! - [`Packed`]: a weight matrix in the layout that oneDNN chose, in f32 or bf16
//! - `abi`: the C interface, versions 2.6 and 3
//! - `shape`: the primitives for one shape of weights, by rows of input
//!
//! Parallelism is rayon's: a product is cut into blocks of rows and columns, and oneDNN computes
//! each on the thread that asks. Its own OpenMP threads would spin between two products on the
//! cores where the rest of a forward pass runs.

#![allow(unsafe_code, reason = "a C library is called; each block says why it is sound")]

mod abi;
mod packed;
mod room;
mod shape;

use std::{path::Path, sync::OnceLock};

pub use packed::Packed;

/// The type of the numbers that are multiplied. Sums are f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// The upper 16 bits of f32, rounded to nearest even. Twice as fast and more where the
    /// processor has AVX512-BF16 or AMX; see [`has_bf16`].
    Bf16,
}

/// Why oneDNN cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The library is not there, or lacks a function.
    #[error("oneDNN cannot be loaded: {what}")]
    Load {
        /// What the system said; it names the file.
        what: String,
    },
    /// The library is of another version.
    #[error("{name} is oneDNN {found}; 2.6 or later, or 3, is needed")]
    Version {
        /// What was looked for.
        name: String,
        /// Its version.
        found: String,
    },
}

/// A call of oneDNN failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oneDNN: {call} returned {status}{}", meaning(*.status))]
pub struct Error {
    /// The function.
    pub call: &'static str,
    /// A `dnnl_status_t`.
    pub status: i32,
}

fn meaning(status: i32) -> &'static str {
    match status {
        1 => " (out of memory)",
        2 => " (invalid arguments)",
        3 => " (not implemented for this processor)",
        _ => "",
    }
}

/// The library that was found.
pub struct Library {
    api: abi::Api,
    shapes: shape::Shapes,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Library {
    /// `major.minor.patch`.
    pub fn version(&self) -> String {
        self.api.version()
    }
}

/// The names under which distributions install it, newest first.
const NAMES: [&str; 2] = ["libdnnl.so.3", "libdnnl.so.2"];

/// oneDNN, loaded at the first call: the file that the environment variable `LIVEDEX_ONEDNN`
/// names, else what the system's loader finds.
pub fn library() -> Result<&'static Library, Unavailable> {
    static LIBRARY: OnceLock<Result<Library, Unavailable>> = OnceLock::new();
    LIBRARY.get_or_init(open).as_ref().map_err(Clone::clone)
}

fn open() -> Result<Library, Unavailable> {
    let found = match std::env::var_os("LIVEDEX_ONEDNN") {
        Some(path) => abi::Api::open(Path::new(&path)),
        None => {
            let mut tried = NAMES.map(|name| abi::Api::open(Path::new(name))).into_iter();
            let first = tried.next().unwrap_or_else(|| unreachable!());
            first.or_else(|error| tried.find_map(Result::ok).ok_or(error))
        }
    };
    found.map(|api| Library { api, shapes: shape::Shapes::default() })
}

/// Whether this processor multiplies bf16 numbers in hardware. Elsewhere [`Precision::Bf16`] is
/// slower than f32, or not implemented.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
