//! A worker as its parent sees it: started, looked at, stopped, killed.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{
    faults::{self, Fault, Point},
    spec::WorkerSpec,
};
use crate::specified::Specified;

/// The name of the binary.
const BINARY: &str = "livedex-crash-worker";

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    process: Specified,
    faults: Vec<Fault>,
}

impl Worker {
    /// Starts a worker as `spec` says, but in a folder of its own.
    pub fn start(spec: &WorkerSpec) -> Result<Self> {
        let in_dir = |dir: &Path| WorkerSpec { dir: dir.to_owned(), ..spec.clone() };
        Ok(Self { process: Specified::start(BINARY, in_dir)?, faults: spec.faults.clone() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.pid()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// How often it has passed `point`.
    pub fn passes(&self, point: Point) -> usize {
        faults::passes(self.process.dir(), point)
    }

    /// The faults that have happened.
    pub fn fired(&self) -> Vec<Fault> {
        let fired = |fault: &&Fault| fault.marker(self.process.dir()).exists();
        self.faults.iter().filter(fired).copied().collect()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.child.try_wait()
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
        self.process.child.kill();
        let status = self.process.child.try_wait().context("it is not gone")?;
        ensure!(status.signal() == Some(Signal::SIGKILL as i32), "{status}; {}", self.log());
        Ok(())
    }

    /// Stops all of its threads (SIGSTOP) and waits until the kernel says so.
    pub fn pause(&mut self, timeout: Duration) -> Result<()> {
        self.process.child.signal(Signal::SIGSTOP);
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
        self.process.child.signal(Signal::SIGCONT);
    }

    /// Bytes of memory that it holds (RSS).
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// Asks it to stop (SIGTERM), and fails unless it ends well within `timeout`.
    pub fn terminate(self, timeout: Duration) -> Result<()> {
        self.process.terminate(timeout)
    }
}
