//! The emulator as a driver's shared libraries.

use std::{path::Path, process::Command, sync::OnceLock};

use tempfile::TempDir;

use crate::compiler::compiler;

/// The folder that emulator/build.sh filled; None where there is no C++ compiler.
pub(crate) fn libraries() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<TempDir>> = OnceLock::new();
    let build = || {
        let compiler = compiler()?;
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator/build.sh");
        let mut build = Command::new("sh");
        // They take longer to compile than to run.
        build.arg(script).arg(folder.path()).env("CXX", compiler).env("CXXFLAGS", "-O0");
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(folder)
    };
    FOLDER.get_or_init(build).as_ref().map(TempDir::path)
}
