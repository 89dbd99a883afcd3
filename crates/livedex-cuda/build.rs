//! With the feature `cuda`: compiles `kernels/*.cu` to PTX, which the driver compiles for the GPU that it
//! finds. Without it there is nothing to build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

/// The oldest GPUs that have what the kernels use (Ampere: bf16 on tensor cores, asynchronous
/// copies). PTX made for them runs on every later one.
const ARCHITECTURE: &str = "compute_80";

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=NVCC");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut sources: Vec<PathBuf> = fs::read_dir("kernels")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    let modules: Vec<String> = sources.iter().map(|source| compile(source, &out)).collect();
    let table = format!("&[{}]", modules.join(", "));
    if let Err(error) = fs::write(out.join("modules.rs"), table) {
        fail(&format!("{}: {error}", out.display()));
    }
}

/// Compiles a file; gives Rust for its name and text.
fn compile(source: &Path, out: &Path) -> String {
    let nvcc = env::var("NVCC").unwrap_or_else(|_| "nvcc".to_owned());
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ptx = out.join(format!("{stem}.ptx"));
    let status = Command::new(&nvcc)
        .args(["--ptx", "-O3", "-std=c++17", "-arch", ARCHITECTURE, "-o"])
        .args([&ptx, source])
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{nvcc} did not compile {}: {status}", source.display())),
        Err(error) => fail(&format!(
            "the feature `cuda` needs NVIDIA's compiler, and {nvcc} does not start: {error}. \
             `make cuda` fetches it and builds"
        )),
    }
    format!("({stem:?}, include_str!({ptx:?}))")
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    exit(1)
}
