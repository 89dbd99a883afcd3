//! Data that is too large to keep beside the code. Not everybody has it.

use std::path::{Path, PathBuf};

/// Names the folder that the sets are in.
const FOLDER: &str = "LIVEDEX_DATA";

/// Where it is looked for otherwise, seen from the workspace.
const DEFAULT: &str = "../shared/data";

/// The folder of one set of data, or why there is none, in one line.
pub fn folder(set: &str) -> Result<PathBuf, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os(FOLDER).map_or_else(|| workspace.join(DEFAULT), PathBuf::from);
    let folder = folder.join(set);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!("there is no folder {}; {FOLDER} names its parent", folder.display())),
    }
}
