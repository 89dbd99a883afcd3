//! The emulated driver, and this program again under it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::PATIENCE;

/// The driver's libraries, built once for all tests.
pub(crate) struct Emulator(tempfile::TempDir);

impl Emulator {
    /// `None` where there is no C++ compiler, which is said; under `LIVEDEX_REQUIRE_ALL=1` that is a
    /// failure.
    pub(crate) fn build() -> Option<&'static Self> {
        static BUILT: OnceLock<Option<Emulator>> = OnceLock::new();
        BUILT.get_or_init(Self::built).as_ref()
    }

    fn built() -> Option<Self> {
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        if Command::new(&compiler).arg("--version").output().is_err() {
            let required = std::env::var("LIVEDEX_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "LIVEDEX_REQUIRE_ALL=1, but there is no C++ compiler");
            let _ = writeln!(std::io::stderr(), "skipped: there is no C++ compiler");
            return None;
        }
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../livedex-cuda/emulator/build.sh");
        let folder = tempfile::tempdir().unwrap();
        let built = Command::new(script).arg(folder.path()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(Self(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }
}

/// What a child did.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) succeeded: bool,
    /// Both of its outputs.
    pub(crate) text: String,
}

/// Runs `child::NAME` in a process that finds the driver's libraries in `libraries` only.
pub(crate) fn run(name: &str, libraries: &Path, environment: &[(&str, &str)]) -> Said {
    let program: PathBuf = std::env::current_exe().unwrap();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(program)
        .args(["--exact", &format!("child::{name}"), "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", libraries)
        .envs(environment.iter().copied())
        .stdout(Stdio::from(output.reopen().unwrap()))
        .stderr(Stdio::from(output.reopen().unwrap()))
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let succeeded = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.success();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{name} is stuck: {}", std::fs::read_to_string(output.path()).unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Said { succeeded, text: std::fs::read_to_string(output.path()).unwrap() }
}
