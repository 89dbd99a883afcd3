//! Why a model did not load: each a single line that names the file and says what to do.

use std::path::{Path, PathBuf};

/// Why a model did not load.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The folder is not there.
    #[error(
        "the model folder {} does not exist; name a folder in Hugging Face layout, or a hub id such as Qwen/Qwen3-Embedding-0.6B", .0.display()
    )]
    MissingFolder(PathBuf),
    /// A file is not there.
    #[error("{} is missing; {hint}", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is not usable: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The model is of a kind that is not implemented.
    #[error("{}: {what} is not supported; supported: {supported}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What would work.
        supported: &'static str,
    },
    /// The weights are not the expected ones.
    #[error(
        "{} has SHA-256 {found}, expected {expected}; download it again or correct the checksum", path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What was expected, in hexadecimal.
        expected: String,
        /// What it has, in hexadecimal.
        found: String,
    },
    /// A setting does not fit the model.
    #[error("{setting} = {value} does not fit {model}: it must be {limit}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The model's name.
        model: String,
        /// What would fit.
        limit: String,
    },
    /// This machine cannot compute in the numbers, or with the library, that were asked for.
    #[error(
        "{wanted} is not possible here: {why}; install oneDNN (Debian, Ubuntu: libdnnl-dev), or choose precision \"f32\" or \"q8_0\" with matmul \"auto\""
    )]
    Products {
        /// The setting.
        wanted: &'static str,
        /// What stands against it.
        why: String,
    },
    /// The device that was asked for cannot be used.
    #[error("device \"{asked}\": {why}")]
    NoDevice {
        /// Its name in a configuration.
        asked: String,
        /// What stands against it, and what to do.
        why: String,
    },
    /// A GPU does not compute in these numbers.
    #[error("precision \"{0}\" is not possible on a GPU: leave it out, or choose \"bf16\"")]
    GpuPrecision(&'static str),
    /// A setting means nothing to the model.
    #[error("{setting} is set, but {model} has no use for it: {reason}; remove it")]
    Unused {
        /// Its name.
        setting: &'static str,
        /// The model's name.
        model: String,
        /// Which models have.
        reason: &'static str,
    },
    /// The hub did not deliver.
    #[error("cannot get {repo} from {endpoint}: {what}")]
    Hub {
        /// The repository.
        repo: String,
        /// The hub's address.
        endpoint: String,
        /// What went wrong and what to do.
        what: String,
    },
    /// The device's library failed while the weights were prepared.
    #[error("cannot prepare the weights of {model}: {source}")]
    Device {
        /// The model's name.
        model: String,
        /// What it said.
        source: candle_core::Error,
    },
}

impl LoadError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn invalid(path: &Path, what: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), what: what.to_string() }
    }
}
