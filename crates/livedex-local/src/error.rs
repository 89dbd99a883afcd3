//! What can go wrong here: each message is one line that says what to do.

use std::path::PathBuf;

use crate::port::Service;

/// An error of the local stack. Its text is one line, made to be shown to a person as it is.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A port that was asked for is taken.
    #[error(
        "port {port} for {service} is in use: stop what listens on 127.0.0.1:{port}, or choose another port with {}",
        service.flag()
    )]
    PortInUse {
        /// Whose port it would have been.
        service: Service,
        /// The port on 127.0.0.1.
        port: u16,
    },

    /// No Python that is new enough.
    #[error(
        "no Python {wanted} or newer found ({found}): install it (Debian: apt install python3 python3-venv, macOS: brew install python), or name one in LIVEDEX_PYTHON"
    )]
    NoPython {
        /// The oldest version that will do.
        wanted: &'static str,
        /// What was tried, with what came of it.
        found: String,
    },

    /// Python is there, the parts that make a virtual environment are not.
    #[error(
        "{python} cannot make virtual environments (no ensurepip): install its venv package (Debian: apt install python3-venv), or name another Python in LIVEDEX_PYTHON"
    )]
    NoVenvModule {
        /// The interpreter.
        python: PathBuf,
    },

    /// pip, or the making of the environment, failed.
    #[error(
        "installing the local servers failed: {reason}: check the network and `pip config list`, then try again (all of pip's output: {})",
        log.display()
    )]
    Install {
        /// pip's own last error line.
        reason: String,
        /// The file with the whole output.
        log: PathBuf,
    },

    /// A model file is not the one that was pinned.
    #[error(
        "{} has SHA-256 {found}, expected {expected}: remove the folder {} and try again",
        path.display(),
        remove.display()
    )]
    WrongModel {
        /// The file.
        path: PathBuf,
        /// The folder whose removal leads to a fresh installation.
        remove: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },

    /// Another process uses the data folder.
    #[error("{} is in use by another livedex-local: stop that one, or choose another --data", dir.display())]
    DataInUse {
        /// The data folder.
        dir: PathBuf,
    },

    /// The data folder holds something else.
    #[error(
        "{} is not empty and was not made by livedex-local: choose another --data, or empty it first",
        dir.display()
    )]
    ForeignData {
        /// The data folder.
        dir: PathBuf,
    },

    /// The data folder was written by another version of this crate, or half of it is gone.
    #[error("{} holds stale data ({reason}): remove that folder, or choose another --data", dir.display())]
    StaleData {
        /// The data folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A configuration file that was there already cannot be read as TOML.
    #[error("{}: {reason}: correct the file, or remove it to get a fresh one", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The parser's words, in one line.
        reason: String,
    },

    /// A child process ended while it should have been running.
    #[error("{name} ended ({status}): {last}; its log: {}", log.display())]
    ChildEnded {
        /// The child's name.
        name: &'static str,
        /// Exit code or signal.
        status: String,
        /// The last lines of its log.
        last: String,
        /// Its log file.
        log: PathBuf,
    },

    /// A child process runs and does not answer.
    #[error("{name} does not answer after {seconds} s: see {}", log.display())]
    NotReady {
        /// The server's name.
        name: &'static str,
        /// How long was waited.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
    },

    /// The embedded broker refused something.
    #[error("the embedded Kafka broker: {reason}")]
    Broker {
        /// Its own words.
        reason: String,
    },

    /// The user asked to stop while something was being set up.
    #[error("stopped")]
    Stopped,

    /// No place for the cache.
    #[error(
        "no home folder is set: set LIVEDEX_CACHE to a folder for the local servers and models"
    )]
    NoCacheDir,

    /// The file system said no.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was being done, as a verb phrase: "cannot write".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error (not as `source`: the text has it already).
        cause: std::io::Error,
    },
}

impl LocalError {
    /// An adapter for `map_err`: names the file and what was being done with it.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { what, path, cause }
    }
}
