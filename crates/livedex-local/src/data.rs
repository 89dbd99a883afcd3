//! The data folder: its layout, its lock, what is refused.
//!
//! ```text
//! DIR/livedex-local.toml   whose folder this is: layout version and identity
//! DIR/lock                 held while a stack runs on it
//! DIR/kafka/ DIR/milvus/   the servers' data, each with the identity of the folder
//! DIR/nats/                nats-server's files (nothing that lasts)
//! DIR/models/              the default models
//! DIR/log/                 a log for each server
//! DIR/livedex.toml         the configuration for `livedex`
//! ```

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::LocalError;
use crate::venv;

/// Raised when a newer version cannot go on from what an older one left.
const LAYOUT: i64 = 1;

const MARKER: &str = "livedex-local.toml";
const LOCK: &str = "lock";
const IDENTITY: &str = "identity";

/// The parts whose data belongs together: offsets committed in one speak of rows in the other, so a
/// folder that lost one of them would skip documents without a word.
const PAIRED: [&str; 2] = ["kafka", "milvus"];

/// A data folder that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes a folder, which is made if it is not there. Refuses one that another process uses, that
    /// something else made, or that holds data which does not belong together.
    pub fn open(dir: &Path) -> Result<Self, LocalError> {
        let root = std::path::absolute(dir).map_err(LocalError::io("cannot find", dir))?;
        let marker = root.join(MARKER);
        let ours = marker.exists();
        // The cache of downloads may lie in it: then everything can be removed at once.
        let cache = venv::cache_dir().ok();
        if !ours && !is_empty(&root, cache.as_deref()) {
            return Err(LocalError::ForeignData { dir: root });
        }
        fs::create_dir_all(&root).map_err(LocalError::io("cannot create", &root))?;
        let path = root.join(LOCK);
        let lock = File::create(&path).map_err(LocalError::io("cannot write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LocalError::DataInUse { dir: root }),
            Err(TryLockError::Error(error)) => {
                return Err(LocalError::io("cannot lock", path)(error));
            }
        }
        if ours {
            check(&root, &marker)?
        } else {
            mark(&root, &marker)?
        }
        let data = Self { root, _lock: lock };
        for folder in [data.nats(), data.models(), data.logs()] {
            fs::create_dir_all(&folder).map_err(LocalError::io("cannot create", folder))?;
        }
        Ok(data)
    }

    /// The folder, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The broker's folder.
    pub fn kafka(&self) -> PathBuf {
        self.root.join("kafka")
    }

    /// Milvus Lite's data folder (of which it lists every entry, hence not `milvus/` itself).
    pub fn milvus(&self) -> PathBuf {
        self.root.join("milvus/data")
    }

    /// nats-server's folder.
    pub fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    /// The models' folder.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The logs' folder.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The configuration file for `livedex`.
    pub fn config(&self) -> PathBuf {
        self.root.join("livedex.toml")
    }
}

/// True if there is nothing of anybody else's in it, or it is not there.
fn is_empty(dir: &Path, cache: Option<&Path>) -> bool {
    let cache = cache.and_then(|cache| cache.strip_prefix(dir).ok()?.iter().next());
    fs::read_dir(dir).map_or(true, |mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| {
                // The lock alone is what a start that was interrupted at once leaves behind.
                let name = entry.file_name();
                name == LOCK || Some(name.as_os_str()) == cache
            })
        })
    })
}

/// Makes an empty folder ours.
fn mark(root: &Path, marker: &Path) -> Result<(), LocalError> {
    let identity = Uuid::new_v4().to_string();
    for part in PAIRED {
        let folder = root.join(part);
        fs::create_dir_all(&folder).map_err(LocalError::io("cannot create", &folder))?;
        let file = folder.join(IDENTITY);
        fs::write(&file, &identity).map_err(LocalError::io("cannot write", &file))?;
    }
    let text = format!(
        "# Made by livedex-local. Everything in this folder can be removed together, not in parts.\n\
         layout = {LAYOUT}\nidentity = \"{identity}\"\n"
    );
    fs::write(marker, text).map_err(LocalError::io("cannot write", marker))
}

/// Checks that a folder of ours is whole and of this version.
fn check(root: &Path, marker: &Path) -> Result<(), LocalError> {
    let stale = |reason: String| LocalError::StaleData { dir: root.to_owned(), reason };
    let text = fs::read_to_string(marker).map_err(LocalError::io("cannot read", marker))?;
    let file: toml_edit::DocumentMut =
        text.parse().map_err(|_| stale(format!("{MARKER} cannot be read")))?;
    let layout = file.get("layout").and_then(toml_edit::Item::as_integer);
    if layout != Some(LAYOUT) {
        let found = layout.map_or("none".to_owned(), |layout| layout.to_string());
        return Err(stale(format!("layout {found}, this version uses {LAYOUT}")));
    }
    let identity = file.get("identity").and_then(toml_edit::Item::as_str).unwrap_or_default();
    for part in PAIRED {
        match fs::read_to_string(root.join(part).join(IDENTITY)) {
            Ok(found) if found == identity => {}
            Ok(_) => return Err(stale(format!("{part}/ comes from another folder"))),
            Err(_) => return Err(stale(format!("{part}/ is missing or was replaced"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_folder_opens_again_but_not_twice_at_once() {
        let dir = temp();
        let root = dir.path().join("new");
        let data = DataDir::open(&root).unwrap();
        assert!(matches!(DataDir::open(&root), Err(LocalError::DataInUse { .. })));
        drop(data);
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn somebody_elses_folder_is_refused_and_left_alone() {
        let dir = temp();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(LocalError::ForeignData { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_cache_may_lie_in_it_and_nothing_else() {
        let dir = temp();
        let cache = dir.path().join("cache/livedex");
        fs::create_dir_all(&cache).unwrap();
        assert!(is_empty(dir.path(), Some(&cache)));
        assert!(!is_empty(dir.path(), Some(Path::new("/elsewhere"))));
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(!is_empty(dir.path(), Some(&cache)));
    }

    #[test]
    fn a_folder_that_lost_a_part_is_stale() {
        for part in PAIRED {
            let dir = temp();
            drop(DataDir::open(dir.path()).unwrap());
            fs::remove_dir_all(dir.path().join(part)).unwrap();
            let text = DataDir::open(dir.path()).unwrap_err().to_string();
            assert!(text.contains(&format!("{part}/ is missing")), "{text}");
            assert!(text.contains("remove that folder"), "{text}");
        }
    }

    #[test]
    fn parts_of_two_folders_do_not_mix() {
        let (one, two) = (temp(), temp());
        drop(DataDir::open(one.path()).unwrap());
        drop(DataDir::open(two.path()).unwrap());
        fs::copy(two.path().join("milvus/identity"), one.path().join("milvus/identity")).unwrap();
        let text = DataDir::open(one.path()).unwrap_err().to_string();
        assert!(text.contains("milvus/ comes from another folder"), "{text}");
    }

    #[test]
    fn another_layout_is_stale() {
        let dir = temp();
        drop(DataDir::open(dir.path()).unwrap());
        fs::write(dir.path().join(MARKER), "layout = 99\n").unwrap();
        let text = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("layout 99, this version uses 1"), "{text}");
    }
}
