//! A worker as its parent sees it: started, looked at, stopped, killed.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use livedex_local::child::Child;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{
    faults::{self, Fault, Point},
    spec::WorkerSpec,
};
use crate::binary::find_binary;

/// The name of the binary.
const BINARY: &str = "livedex-crash-worker";

/// How much of its log an error shows, in bytes.
const LOG_TAIL: usize = 6000;

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    faults: Vec<Fault>,
    dir: TempDir,
}

impl Worker {
    /// Starts a worker as `spec` says, but in a folder of its own.
    pub fn start(spec: &WorkerSpec) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-crash-").tempdir()?;
        let spec = WorkerSpec { dir: dir.path().to_owned(), ..spec.clone() };
        let file = dir.path().join("spec.toml");
        fs::write(&file, toml::to_string(&spec)?)?;
        let log = dir.path().join("log");
        let mut command = Command::new(find_binary(BINARY)?);
        let out = File::create(&log)?;
        command.arg(&file).current_dir(dir.path()).stdout(out.try_clone()?).stderr(out);
        let child = Child::spawn_with_output(BINARY, command, &log)?;
        Ok(Self { child, faults: spec.faults, dir })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let from = text.floor_char_boundary(text.len().saturating_sub(LOG_TAIL));
        format!("the worker's log:\n{}", &text[from..])
    }

    /// How often it has passed `point`.
    pub fn passes(&self, point: Point) -> usize {
        faults::passes(self.dir.path(), point)
    }

    /// The faults that have happened.
    pub fn fired(&self) -> Vec<Fault> {
        let fired = |fault: &&Fault| fault.marker(self.dir.path()).exists();
        self.faults.iter().filter(fired).copied().collect()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait()
    }

    /// Fails if it has ended, with what it wrote.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => bail!("the worker ended ({status}); {}", self.log()),
        }
    }

    /// Fails unless it has ended by its own SIGKILL, with the marker of the fault that sent it.
    pub fn has_killed_itself(&mut self, status: ExitStatus) -> Result<()> {
        ensure!(status.signal() == Some(Signal::SIGKILL as i32), "{status}; {}", self.log());
        ensure!(!self.fired().is_empty(), "killed, but by no fault; {}", self.log());
        Ok(())
    }

    /// Kills it (SIGKILL) where it is. Fails if it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.still_runs()?;
        self.child.kill();
        let status = self.child.try_wait().context("it is not gone")?;
        ensure!(status.signal() == Some(Signal::SIGKILL as i32), "{status}; {}", self.log());
        Ok(())
    }

    /// Stops all of its threads (SIGSTOP) and waits until the kernel says so.
    pub fn pause(&mut self, timeout: Duration) -> Result<()> {
        self.child.signal(Signal::SIGSTOP);
        let deadline = Instant::now() + timeout;
        while !self.is_paused()? {
            ensure!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether all of its threads are stopped, by itself or by [`Self::pause`].
    pub fn is_paused(&self) -> Result<bool> {
        // proc(5): `pid (name) state`; the name may hold anything.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        Ok(state == Some('T'))
    }

    /// Ends a pause (SIGCONT).
    pub fn resume(&mut self) {
        self.child.signal(Signal::SIGCONT);
    }

    /// Bytes of memory that it holds (RSS).
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// Asks it to stop (SIGTERM), and fails unless it ends well within `timeout`.
    pub fn terminate(mut self, timeout: Duration) -> Result<()> {
        self.child.signal(Signal::SIGTERM);
        let Some(status) = self.child.wait_timeout(timeout) else {
            bail!("it still ran {} s after SIGTERM; {}", timeout.as_secs(), self.log());
        };
        ensure!(status.success(), "after SIGTERM: {status}; {}", self.log());
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // No SIGTERM: a stopped process would not see it.
        self.child.kill();
    }
}
