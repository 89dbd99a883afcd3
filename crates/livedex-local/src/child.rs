//! A child process that never outlives its parent.
//!
//! It writes to a log file, is ended when its handle is dropped (SIGTERM, a deadline, SIGKILL), and on
//! Linux the kernel kills it when this process dies in any way, SIGKILL included. On other systems a
//! SIGKILL of the parent leaves its children running.
//!
//! It runs in a process group of its own: Ctrl-C in a terminal reaches the parent alone, which then
//! ends the children in the order it wants.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::LocalError;

/// How long a child may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(8);

/// How much of a log's end is read for an error message, in bytes.
const LOG_TAIL: u64 = 4096;

/// How many of the log's last lines an error message shows.
const LOG_LINES: usize = 3;

/// A running child process. Dropping it ends it and waits for its end.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    process: Process,
    log: PathBuf,
    status: Option<ExitStatus>,
    grace: Duration,
}

impl Child {
    /// Starts `command` with its output in `log`; an older log becomes `NAME.log.old`.
    /// Standard input is closed unless the command says otherwise.
    pub fn spawn(name: &'static str, mut command: Command, log: &Path) -> Result<Self, LocalError> {
        if log.exists() {
            let old = log.with_added_extension("old");
            fs::rename(log, &old).map_err(LocalError::io("cannot replace", old))?;
        }
        let out = File::create(log).map_err(LocalError::io("cannot write", log))?;
        let err = out.try_clone().map_err(LocalError::io("cannot write", log))?;
        command.stdout(out).stderr(err);
        Self::spawn_with_output(name, command, log)
    }

    /// Starts `command` with the output it has been given; `log` is only what error messages name.
    pub fn spawn_with_output(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, LocalError> {
        command.stdin(Stdio::null());
        Self::spawn_with_input(name, command, log)
    }

    /// The same with the input that it has been given, too.
    pub fn spawn_with_input(
        name: &'static str,
        command: Command,
        log: &Path,
    ) -> Result<Self, LocalError> {
        let program = PathBuf::from(command.get_program());
        let process = spawn_bound(command).map_err(LocalError::io("cannot start", program))?;
        Ok(Self { name, process, log: log.to_owned(), status: None, grace: GRACE })
    }

    /// Gives it another time than 8 s to end by itself after SIGTERM.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The name that messages use.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id, which is its process group's id too.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The pipes, if the command was given some.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// How it ended, if it did.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error here means that someone else reaped it: then it is gone as well, without a code.
            self.status = self.process.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for its end, at most for `timeout`.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The error to report if it has ended: how, and the last lines of its log.
    pub fn ended(&mut self) -> Option<LocalError> {
        let status = self.try_wait()?;
        Some(LocalError::ChildEnded {
            name: self.name,
            status: status.to_string(),
            last: last_lines(&self.log),
            log: self.log.clone(),
        })
    }

    /// Ends it: SIGTERM to its process group, SIGKILL after its grace. Returns when it is gone.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        if self.wait_timeout(self.grace).is_none() {
            tracing::warn!(name = self.name, "did not end after SIGTERM, killing it");
            self.kill();
        }
    }

    /// Ends it at once (SIGKILL). Returns when it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if self.status.is_none() {
            self.status = self.process.wait().ok();
        }
    }

    /// Sends a signal to its process group, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none()
            && let Ok(pid) = i32::try_from(self.process.id())
        {
            // The only error left is that it is gone already.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last lines of a log file, joined by " | "; empty output says so.
fn last_lines(path: &Path) -> String {
    let tail = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = tail().unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "it wrote nothing".to_owned();
    }
    lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ")
}

/// A request to the spawning thread, with the way back for its answer.
type Request = (Command, mpsc::Sender<io::Result<Process>>);

/// Starts a process that dies with this one.
///
/// Linux sends the parent-death signal when the *thread* that forked ends, not the process
/// (prctl(2), PR_SET_PDEATHSIG), so one thread that lasts as long as the process starts all children.
fn spawn_bound(command: Command) -> io::Result<Process> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // A caller that went away drops the process handle; nothing waits for this answer.
                let _ = answer.send(bind_to_parent(&mut command).spawn());
            }
        });
        sender
    });
    let (answer, answered) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "pre_exec is the only way to ask for the parent-death signal before exec"
)]
fn bind_to_parent(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    command.process_group(0);
    // SAFETY: the closure runs in the forked child before exec and makes two system calls (prctl and
    // getppid), which are async-signal-safe; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died between fork and prctl.
            if nix::unistd::getppid() == parent {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::BrokenPipe))
            }
        })
    }
}

#[cfg(not(target_os = "linux"))]
fn bind_to_parent(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: u32) -> bool {
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(pid).unwrap()), None).is_ok()
    }

    #[test]
    fn dropping_ends_it_and_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("child.log");
        let child = Child::spawn("sh", shell("sleep 600 & echo $!; wait"), &log).unwrap();
        let grandchild: u32 = loop {
            if let Ok(pid) = fs::read_to_string(&log).unwrap().trim().parse() {
                break pid;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let pid = child.pid();
        assert!(alive(pid) && alive(grandchild));
        drop(child);
        assert!(!alive(pid));
        // The grandchild is reaped by init, a moment later.
        let deadline = Instant::now() + Duration::from_secs(5);
        while running(grandchild) {
            assert!(Instant::now() < deadline, "the grandchild is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Alive and not a zombie that nobody reaps (containers often have no init).
    fn running(pid: u32) -> bool {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => alive(pid) && !cfg!(target_os = "linux"),
        }
    }

    #[test]
    fn one_that_ignores_sigterm_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("child.log");
        let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let mut child = Child::spawn("sh", shell(script), &log).unwrap();
        while !fs::read_to_string(&log).unwrap().contains("ready") {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.signal(Signal::SIGTERM);
        assert!(child.wait_timeout(Duration::from_millis(200)).is_none());
        child.kill();
        assert!(!alive(child.pid()));
    }

    #[test]
    fn an_early_end_is_reported_with_the_last_lines_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("child.log");
        let script = "for i in 1 2 3 4 5; do echo line $i; done; exit 3";
        let mut child = Child::spawn("sh", shell(script), &log).unwrap();
        child.wait_timeout(Duration::from_secs(5)).unwrap();
        let text = child.ended().unwrap().to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("line 3 | line 4 | line 5") && !text.contains("line 2"), "{text}");
    }

    #[test]
    fn the_last_log_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("child.log");
        for word in ["one", "two"] {
            let mut child = Child::spawn("sh", shell(&format!("echo {word}")), &log).unwrap();
            child.wait_timeout(Duration::from_secs(5)).unwrap();
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "two\n");
        assert_eq!(fs::read_to_string(dir.path().join("child.log.old")).unwrap(), "one\n");
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("child.log");
        let mut child =
            std::thread::spawn(move || Child::spawn("sh", shell("sleep 600"), &log).unwrap())
                .join()
                .unwrap();
        assert!(child.wait_timeout(Duration::from_millis(200)).is_none());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let command = Command::new("/no/such/program");
        let error = Child::spawn("none", command, &dir.path().join("x.log")).unwrap_err();
        assert!(error.to_string().contains("cannot start /no/such/program"), "{error}");
    }
}
