//! Finds the Python that the private environment is made from.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::LocalError;

/// The oldest version that Milvus Lite supports.
const OLDEST: (u32, u32) = (3, 10);
const OLDEST_NAME: &str = "3.10";

/// Names to try, best first. Older systems have a newer Python under a versioned name.
const NAMES: [&str; 7] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];

/// Prints version, path and whether virtual environments can be made (Debian splits ensurepip off).
const PROBE: &str = "import sys, importlib.util as u
print(*sys.version_info[:2])
print(sys.executable)
print(all(u.find_spec(m) for m in ('venv', 'ensurepip')))";

/// A Python that is new enough and can make virtual environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter's own path.
    pub executable: PathBuf,
    /// Major and minor version.
    pub version: (u32, u32),
}

/// Finds one: `LIVEDEX_PYTHON` if that is set, else the first of the usual names in PATH that will do.
pub fn find() -> Result<Python, LocalError> {
    match std::env::var_os("LIVEDEX_PYTHON") {
        Some(named) => find_among(&[named]),
        None => find_among(&NAMES.map(OsString::from)),
    }
}

fn find_among(names: &[OsString]) -> Result<Python, LocalError> {
    let mut tried = Vec::new();
    let mut without_venv = None;
    for name in names {
        match probe(name) {
            Some((python, _)) if python.version < OLDEST => {
                let (major, minor) = python.version;
                tried.push(format!("{} is {major}.{minor}", name.display()));
            }
            Some((python, true)) => return Ok(python),
            Some((python, false)) => without_venv = without_venv.or(Some(python)),
            None => {}
        }
    }
    if let Some(python) = without_venv {
        return Err(LocalError::NoVenvModule { python: python.executable });
    }
    let found = if tried.is_empty() {
        let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
        format!("none of {} runs", names.join(", "))
    } else {
        tried.join(", ")
    };
    Err(LocalError::NoPython { wanted: OLDEST_NAME, found })
}

/// What an interpreter says of itself, and whether it can make environments; None if it does not run.
fn probe(name: &OsString) -> Option<(Python, bool)> {
    let output = Command::new(name)
        .args(["-c", PROBE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let (major, minor) = lines.next()?.split_once(' ')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    let executable = PathBuf::from(lines.next()?);
    Some((Python { executable, version }, lines.next()? == "True"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    /// An interpreter that answers the probe with these lines.
    fn fake(dir: &Path, name: &str, lines: &str) -> OsString {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into_os_string()
    }

    #[test]
    fn the_first_good_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let old = fake(dir.path(), "old", "3 9\n/old\nTrue");
        let bare = fake(dir.path(), "bare", "3 12\n/bare\nFalse");
        let good = fake(dir.path(), "good", "3 11\n/good\nTrue");
        let python = find_among(&["/no/such".into(), old, bare, good]).unwrap();
        assert_eq!(python, Python { executable: "/good".into(), version: (3, 11) });
    }

    #[test]
    fn too_old_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let old = fake(dir.path(), "old", "3 9\n/old\nTrue");
        let text = find_among(&[old]).unwrap_err().to_string();
        assert!(text.contains("old is 3.9") && text.contains("LIVEDEX_PYTHON"), "{text}");
    }

    #[test]
    fn none_at_all_lists_what_was_tried() {
        let text = find_among(&["/no/such".into()]).unwrap_err().to_string();
        assert!(text.contains("no Python 3.10 or newer found (none of /no/such runs)"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_missing_venv_package_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bare = fake(dir.path(), "bare", "3 12\n/usr/bin/python3.12\nFalse");
        let text = find_among(&[bare]).unwrap_err().to_string();
        assert!(text.contains("/usr/bin/python3.12") && text.contains("python3-venv"), "{text}");
    }
}
