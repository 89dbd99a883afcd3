//! The C++ compiler that the emulator needs.

use std::{ffi::OsString, process::Command};

/// What CXX names, otherwise `c++`. None where it is missing, which is said; with
/// `LIVEDEX_REQUIRE_ALL=1` it must be there.
pub(crate) fn compiler() -> Option<OsString> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_ok() {
        return Some(compiler);
    }
    let missing = format!("no C++ compiler ({}; CXX names one)", compiler.display());
    let required = std::env::var("LIVEDEX_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "LIVEDEX_REQUIRE_ALL=1, but {missing}");
    eprintln!("skipped: {missing}");
    None
}
