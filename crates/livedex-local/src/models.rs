//! The default models: checked against their pinned hashes, put in place in the data folder.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::LocalError;
use crate::venv::Venv;

/// Files of all-MiniLM-L6-v2 with their SHA-256: those of sentence-transformers/all-MiniLM-L6-v2.
pub const MINILM_SHA256: [(&str, &str); 2] = [
    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
];

/// The embedder's folder name, below `models/`.
pub const MINILM: &str = "all-MiniLM-L6-v2";

/// The reranker's adapter, below `models/`.
pub const RERANKER: &str = "livedex-rerank-minilm";

/// The adapter is small (2.7 MB) and ours, so it travels inside.
const RERANKER_FILES: [(&str, &[u8]); 2] = [
    (
        "adapter_config.json",
        include_bytes!("../../../models/livedex-rerank-minilm/adapter_config.json"),
    ),
    (
        "adapter_model.safetensors",
        include_bytes!("../../../models/livedex-rerank-minilm/adapter_model.safetensors"),
    ),
];

/// Checks the files of a folder with all-MiniLM-L6-v2. `remove` is what a person should remove when one
/// of them is wrong.
pub fn check_minilm(folder: &Path, remove: &Path) -> Result<(), LocalError> {
    for (name, expected) in MINILM_SHA256 {
        let path = folder.join(name);
        let found = sha256(&path).map_err(LocalError::io("cannot read", &path))?;
        if found != expected {
            return Err(LocalError::WrongModel {
                path,
                remove: remove.to_owned(),
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// Puts both models below `folder` (`DIR/models`): the embedder as a link into the environment, the
/// adapter as files. What is right already stays as it is.
pub fn put(venv: &Venv, folder: &Path) -> Result<(), LocalError> {
    let adapter = folder.join(RERANKER);
    fs::create_dir_all(&adapter).map_err(LocalError::io("cannot create", &adapter))?;
    for (name, content) in RERANKER_FILES {
        let path = adapter.join(name);
        if fs::read(&path).ok().as_deref() != Some(content) {
            fs::write(&path, content).map_err(LocalError::io("cannot write", &path))?;
        }
    }
    link(venv.minilm(), &folder.join(MINILM))
}

/// Makes `link` a symbolic link to `target`, replacing another link but never a real folder (a person
/// may have put the model there).
pub(crate) fn link(target: &Path, link: &Path) -> Result<(), LocalError> {
    let failed = || LocalError::io("cannot link", link);
    match fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => return Ok(()),
        Ok(_) if fs::read_link(link).is_ok_and(|current| current == target) => return Ok(()),
        Ok(_) => fs::remove_file(link).map_err(failed())?,
        Err(_) => {}
    }
    match symlink(target, link) {
        // Another process was faster: with the same target.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(failed()),
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn sha256_is_the_known_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            sha256(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_changed_model_is_refused_with_both_hashes_and_what_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("model.safetensors"), "abc").unwrap();
        let error = check_minilm(dir.path(), Path::new("/cache/venv")).unwrap_err().to_string();
        assert!(error.contains("ba7816bf") && error.contains("53aa5117"), "{error}");
        assert!(error.contains("remove the folder /cache/venv"), "{error}");
    }

    #[test]
    fn a_link_is_moved_and_a_real_folder_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("model");
        for target in ["one", "two", "two"] {
            link(&dir.path().join(target), &place).unwrap();
            assert_eq!(fs::read_link(&place).unwrap(), dir.path().join(target));
        }
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        link(&dir.path().join("one"), &place).unwrap();
        assert!(fs::symlink_metadata(&place).unwrap().is_dir());
    }
}
