//! NATS clients of other languages, as the programs in `examples/` use them: installed on first use
//! into the cache folder, under a name with the hash of what pins them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use livedex_core::ids::ContentHash;
use livedex_local::{child::Child, python, venv::cache_dir};

/// For a download of some megabytes.
const INSTALL: Duration = Duration::from_secs(240);

/// Written last: a folder without it is a torso.
const MARKER: &str = ".complete";

/// The oldest Node.js that the TypeScript client runs on.
const NODE: u32 = 18;

/// An example, by its folder in `examples/`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// A Python that finds the packages of `examples/python`.
pub fn python() -> Result<PathBuf> {
    let requirements = example("python").join("requirements.txt");
    let root = installed("example-python", &[&requirements], |root| {
        let mut make = Command::new(python::find()?.executable);
        make.args(["-m", "venv"]).arg(root);
        run(make, root)?;
        let mut pip = Command::new(root.join("bin/python"));
        pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install"])
            .args(["--require-hashes", "-r"])
            .arg(&requirements);
        run(pip, root)
    })?;
    Ok(root.join("bin/python"))
}

/// The program of `examples/typescript`, compiled.
pub fn typescript() -> Result<PathBuf> {
    let names = ["package.json", "package-lock.json", "tsconfig.json", "ask.ts"];
    let files = names.map(|name| example("typescript").join(name));
    let pins: Vec<&PathBuf> = files.iter().collect();
    let root = installed("example-typescript", &pins, |root| {
        fs::create_dir_all(root)?;
        for (name, file) in names.iter().zip(&files) {
            fs::copy(file, root.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(root);
        run(npm, root)?;
        let mut compile = Command::new("node");
        compile.arg("node_modules/typescript/bin/tsc").current_dir(root);
        run(compile, root)
    })?;
    Ok(root.join("dist/ask.js"))
}

/// What is missing of Node.js, in one line.
pub(crate) fn node_missing() -> Option<String> {
    let says = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let wanted =
        format!("no Node.js {NODE} or newer with npm (Debian: apt-get install nodejs npm)");
    let Some((node, _)) = says("node").zip(says("npm")) else { return Some(wanted) };
    let major = node.trim_start_matches('v').split('.').next();
    let major = major.and_then(|major| major.parse::<u32>().ok());
    (major.is_none_or(|major| major < NODE)).then(|| format!("{wanted}: node is {node}"))
}

/// The folder for what these files pin; `install` fills it if nobody has.
fn installed(
    name: &str,
    pins: &[&PathBuf],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let pins: Vec<Vec<u8>> = pins.iter().map(fs::read).collect::<Result<_, _>>()?;
    let hash = ContentHash::of(pins.iter().map(Vec::as_slice));
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)?;
    let root = cache.join(format!("{name}-{}", &hash.as_str()[..12]));
    // The operating system lets go of it when the holder dies.
    let lock = File::create(root.with_added_extension("lock"))?;
    lock.lock()?;
    let marker = root.join(MARKER);
    if !marker.is_file() {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        install(&root).with_context(|| format!("installing into {}", root.display()))?;
        fs::write(&marker, "")?;
    }
    Ok(root)
}

/// Runs a command to its end, with its output beside the folder.
fn run(mut command: Command, root: &Path) -> Result<()> {
    let log = root.with_added_extension("log");
    let output = File::create(&log)?;
    command.stdout(output.try_clone()?).stderr(output);
    // Python's own variables would lead into another environment.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("VIRTUAL_ENV");
    let mut child = Child::spawn_with_output("installer", command, &log)?;
    match child.wait_timeout(INSTALL) {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{status}: {}", fs::read_to_string(&log)?),
        None => {
            child.kill();
            bail!("it still ran after {} s: {}", INSTALL.as_secs(), fs::read_to_string(&log)?)
        }
    }
}
