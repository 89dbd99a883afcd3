//! The `livedex` binary, run as a user runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use livedex_local::child::Child;
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// `livedex` with a configuration file, in a temporary folder of its own that is its working
/// folder too. Nothing of the caller's environment reaches it that would change its
/// configuration or its log.
#[derive(Debug)]
pub struct Livedex {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    dir: TempDir,
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// All of its standard output, byte for byte.
    pub stdout_bytes: Vec<u8>,
    /// All of its standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

/// A command that goes on until it is told to stop. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Livedex {
    /// A folder with this text as its `livedex.toml`.
    pub fn new(config: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-run-").tempdir()?;
        let livedex = Self { binary: find_binary("livedex")?, environment: Vec::new(), dir };
        fs::write(livedex.config(), config)?;
        Ok(livedex)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("livedex.toml")
    }

    /// Sets an environment variable for the commands from here on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs a command to its end. One that takes longer than `timeout` is killed, which is an
    /// error.
    pub fn run(&self, arguments: &[&str], timeout: Duration) -> Result<Finished> {
        self.finish(self.start(arguments)?, arguments, timeout)
    }

    /// The same with this text as its standard input.
    pub fn run_with_input(
        &self,
        arguments: &[&str],
        input: &str,
        timeout: Duration,
    ) -> Result<Finished> {
        self.finish(self.start_program(&self.binary, arguments, input)?, arguments, timeout)
    }

    /// Runs another program as `livedex` is run: in the same folder, with the same environment.
    pub fn run_program(
        &self,
        program: &Path,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<Finished> {
        self.finish(self.start_program(program, arguments, "")?, arguments, timeout)
    }

    fn finish(
        &self,
        mut running: Running,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<Finished> {
        let started = Instant::now();
        let Some(status) = running.child.wait_timeout(timeout) else {
            running.child.kill();
            bail!(
                "livedex {} still ran after {} s; stdout: {}; stderr: {}",
                arguments.join(" "),
                timeout.as_secs(),
                running.stdout()?,
                running.stderr()?
            );
        };
        running.finished(status, started.elapsed())
    }

    /// Starts a command without waiting for it.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        self.start_program(&self.binary, arguments, "")
    }

    fn start_program(&self, program: &Path, arguments: &[&str], input: &str) -> Result<Running> {
        // One pair of files a run, since a folder sees many.
        let output = tempfile::Builder::new().prefix("run-").tempdir_in(self.dir.path())?.keep();
        let (stdout, stderr) = (output.join("stdout"), output.join("stderr"));
        let stdin = output.join("stdin");
        fs::write(&stdin, input)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(File::open(&stdin)?)
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .env_remove("RUST_LOG");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIVEDEX_") {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = Child::spawn_with_input("livedex", command, &stderr)?;
        Ok(Running { child, stdout, stderr })
    }
}

impl Running {
    /// What it has written to standard output so far.
    pub fn stdout(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.stdout)?)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.stderr)?)
    }

    /// Fails if it has ended, with what it wrote.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait() {
            None => Ok(()),
            Some(status) => bail!("livedex ended ({status}): {}", self.stderr()?),
        }
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Sends SIGTERM and waits for its end. One that takes longer than `timeout` is killed, which
    /// is an error.
    pub fn terminate(mut self, timeout: Duration) -> Result<Finished> {
        let started = Instant::now();
        self.child.signal(Signal::SIGTERM);
        let Some(status) = self.child.wait_timeout(timeout) else {
            self.child.kill();
            bail!("livedex still ran {} s after SIGTERM: {}", timeout.as_secs(), self.stderr()?);
        };
        self.finished(status, started.elapsed())
    }

    fn finished(&self, status: ExitStatus, took: Duration) -> Result<Finished> {
        let stdout_bytes = fs::read(&self.stdout)?;
        let stdout = String::from_utf8_lossy(&stdout_bytes).into_owned();
        Ok(Finished { status, stdout, stdout_bytes, stderr: self.stderr()?, took })
    }
}

impl Finished {
    /// Itself if the exit code is 0, else an error with what it wrote.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("livedex ended ({}): {}{}", self.status, self.stdout, self.stderr)
    }
}

/// A binary of the workspace: beside `LIVEDEX_BIN` (a path of `livedex`), else beside the folder
/// that this test was built into.
pub(crate) fn find_binary(name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LIVEDEX_BIN") {
        let path = std::path::absolute(path)?;
        if !path.is_file() {
            bail!("LIVEDEX_BIN is {}, which is no file", path.display());
        }
        return built(if name == "livedex" { path } else { path.with_file_name(name) });
    }
    // target/debug/deps/suite-0123456789abcdef -> target/debug/livedex
    let test = std::env::current_exe()?;
    built(test.ancestors().nth(2).context("the test lies in no target folder")?.join(name))
}

fn built(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("no {}: build it first (cargo build --workspace --bins)", path.display());
    }
    Ok(path)
}
