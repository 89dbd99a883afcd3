//! What a model's numbers depend on, as one hash.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::error::LoadError;

/// Bytes read from a file at a time.
const BUFFER: usize = 1 << 20;

/// Collects what a model's numbers depend on. Equal fingerprints: equal numbers, as far as the
/// same machine gives equal numbers.
pub(crate) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        // The version stands for this crate's arithmetic: raise it when results change.
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"livedex model 1");
        Self(hasher)
    }

    /// A setting.
    pub(crate) fn setting(&mut self, name: &str, value: &str) -> &mut Self {
        for part in [name, value] {
            // Lengths keep neighbours apart.
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
        self
    }

    /// A file's bytes.
    pub(crate) fn file(&mut self, role: &str, path: &Path) -> Result<&mut Self, LoadError> {
        let mut file = blake3::Hasher::new();
        stream(path, |bytes| {
            file.update(bytes);
        })?;
        Ok(self.setting(role, file.finalize().to_hex().as_str()))
    }

    /// In hexadecimal.
    pub(crate) fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Checks the SHA-256 of a model's weights.
pub(crate) fn check_sha256(files: &[PathBuf], expected: &str) -> Result<(), LoadError> {
    let [path] = files else {
        return Err(LoadError::invalid(
            &files[0],
            "a checksum was given, but the model is sharded; leave the checksum out",
        ));
    };
    let mut hasher = Sha256::new();
    stream(path, |bytes| hasher.update(bytes))?;
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(expected.trim()) {
        Ok(())
    } else {
        Err(LoadError::Checksum { path: path.clone(), expected: expected.to_owned(), found })
    }
}

fn stream(path: &Path, mut f: impl FnMut(&[u8])) -> Result<(), LoadError> {
    let read = |e| LoadError::read(path, e);
    let mut file = File::open(path).map_err(read)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(read)? {
            0 => return Ok(()),
            n => f(&buffer[..n]),
        }
    }
}
