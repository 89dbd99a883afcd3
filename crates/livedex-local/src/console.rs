//! The one module that prints results.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

use std::io::Write as _;
use std::path::Path;

/// A line of result.
pub(crate) fn line(text: &str) {
    // A reader that went away (`| head`) is no reason to panic.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The one line of a failure.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// A path as short as it can be typed: relative if it lies below the working folder.
pub(crate) fn short(path: &Path) -> String {
    let below = std::env::current_dir().ok();
    let relative = below.and_then(|folder| path.strip_prefix(folder).ok());
    match relative {
        Some(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
        Some(relative) => relative.display().to_string(),
        None => path.display().to_string(),
    }
}
