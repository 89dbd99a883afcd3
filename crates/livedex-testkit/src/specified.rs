//! A test's own process, told by a file what it is to be.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use livedex_local::child::Child;
use nix::sys::signal::Signal;
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

use crate::binary::find_binary;

/// How much of its log an error shows, in bytes.
const LOG_TAIL: usize = 6000;

/// A running process, in a folder of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Specified {
    pub(crate) child: Child,
    dir: TempDir,
}

impl Specified {
    /// Starts a binary of this crate with the specification that `spec` makes for its folder.
    pub(crate) fn start<S: Serialize>(
        binary: &'static str,
        spec: impl FnOnce(&Path) -> S,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("{binary}-")).tempdir()?;
        let file = dir.path().join("spec.toml");
        fs::write(&file, toml::to_string(&spec(dir.path()))?)?;
        let log = dir.path().join("log");
        let out = File::create(&log)?;
        let mut command = Command::new(find_binary(binary)?);
        command.arg(&file).current_dir(dir.path()).stdout(out.try_clone()?).stderr(out);
        Ok(Self { child: Child::spawn_with_output(binary, command, &log)?, dir })
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.dir().join("log")).unwrap_or_default();
        let from = text.floor_char_boundary(text.len().saturating_sub(LOG_TAIL));
        format!("the worker's log:\n{}", &text[from..])
    }

    /// Asks it to stop (SIGTERM), and fails unless it ends well within `timeout`.
    pub(crate) fn terminate(mut self, timeout: Duration) -> Result<()> {
        self.child.signal(Signal::SIGTERM);
        let Some(status) = self.child.wait_timeout(timeout) else {
            bail!("it still ran {} s after SIGTERM; {}", timeout.as_secs(), self.log());
        };
        ensure!(status.success(), "after SIGTERM: {status}; {}", self.log());
        Ok(())
    }
}

impl Drop for Specified {
    fn drop(&mut self) {
        // No SIGTERM: a stopped process would not see it.
        self.child.kill();
    }
}

/// In the process itself: what it is to be. Its only argument is the path of that file.
pub fn specification<S: DeserializeOwned>() -> Result<S> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.context("the only argument is the path of the specification")?;
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(toml::from_str(&text)?)
}
