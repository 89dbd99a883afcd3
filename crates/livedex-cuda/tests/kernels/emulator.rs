//! Compiles the emulator with the kernels in it, and calls them.

use std::{
    ffi::{CStr, CString, c_char, c_uint, c_void},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock},
};

use libloading::Library;
use tempfile::TempDir;

use crate::compiler::compiler;

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    Pointer(*const c_void),
    U32(u32),
    F32(f32),
}

impl From<u32> for Argument {
    fn from(x: u32) -> Self {
        Self::U32(x)
    }
}

impl From<f32> for Argument {
    fn from(x: f32) -> Self {
        Self::F32(x)
    }
}

impl<T> From<*const T> for Argument {
    fn from(x: *const T) -> Self {
        Self::Pointer(x.cast())
    }
}

impl<T> From<*mut T> for Argument {
    fn from(x: *mut T) -> Self {
        Self::Pointer(x.cast_const().cast())
    }
}

/// A null pointer.
pub(crate) const NULL: Argument = Argument::Pointer(std::ptr::null());

/// What the hardware may do in its own way; see `Schedule` in emulator/block.h. A kernel's result
/// must not depend on it.
pub(crate) const SCHEDULES: [u32; 4] = [0, 1, 2, 3];

type Launch = unsafe extern "C" fn(
    *const c_char,
    *const c_uint,
    c_uint,
    usize,
    *mut *mut c_void,
    c_uint,
    *mut c_char,
    usize,
) -> bool;

/// A compiled emulator. It runs one kernel at a time.
pub(crate) struct Emulator {
    library: Library,
    _folder: TempDir,
}

/// What [`Emulator::launch`] is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) grid: (u32, u32),
    pub(crate) threads: u32,
    pub(crate) shared_bytes: u32,
    pub(crate) schedule: u32,
}

impl Shape {
    /// One block a row.
    pub(crate) fn rows(rows: u32, threads: u32) -> Self {
        Self { grid: (rows, 1), threads, shared_bytes: 0, schedule: 0 }
    }
}

impl Emulator {
    /// Calls a kernel; the error is why the emulator gave it up.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and its pointers lead to all that it reads and
    /// writes.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &str,
        shape: Shape,
        arguments: &[Argument],
    ) -> Result<(), String> {
        let name = CString::new(kernel).unwrap();
        let mut pointers: Vec<*mut c_void> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Pointer(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Argument::U32(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Argument::F32(x) => std::ptr::from_ref(x).cast_mut().cast(),
            })
            .collect();
        let grid = [shape.grid.0, shape.grid.1, 1];
        let mut message = [0 as c_char; 512];
        // SAFETY: the type is that in emulator/entry.cpp; the caller answers for the arguments.
        let done = unsafe {
            let launch = self.library.get::<Launch>(b"livedex_emulator_launch").unwrap();
            launch(
                name.as_ptr(),
                grid.as_ptr(),
                shape.threads,
                shape.shared_bytes as usize,
                pointers.as_mut_ptr(),
                shape.schedule,
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if done {
            return Ok(());
        }
        // SAFETY: the emulator ends its message by a zero.
        Err(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned())
    }
}

impl Emulator {
    /// Accesses to shared memory that had to wait for others of their warp, so far.
    pub(crate) fn bank_conflicts(&self) -> u64 {
        // SAFETY: the type is that in emulator/entry.cpp.
        unsafe {
            let name = b"livedex_emulator_bank_conflicts";
            self.library.get::<unsafe extern "C" fn() -> u64>(name).unwrap()()
        }
    }
}

/// The emulator, for one test at a time; None where there is no C++ compiler, which is said.
pub(crate) fn emulator() -> Option<MutexGuard<'static, Emulator>> {
    static EMULATOR: OnceLock<Option<Mutex<Emulator>>> = OnceLock::new();
    let emulator = EMULATOR.get_or_init(|| compile("-O2", |_, source| source).map(Mutex::new));
    // A test that failed left nothing behind in it.
    Some(emulator.as_ref()?.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Compiles the kernels after `change` had a look at each file. None where there is no compiler.
pub(crate) fn compile(
    optimisation: &str,
    change: impl Fn(&str, String) -> String,
) -> Option<Emulator> {
    let compiler = compiler()?;
    let folder = tempfile::tempdir().unwrap();
    for part in ["kernels", "emulator"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        let to = folder.path().join(part);
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_str().unwrap();
                let source = fs::read_to_string(&path).unwrap();
                fs::write(to.join(name), change(name, source)).unwrap();
            }
        }
    }
    let file = folder.path().join("libkernels.so");
    let output = Command::new(&compiler)
        .current_dir(folder.path().join("emulator"))
        .args(["-std=c++17", optimisation, "-Wall", "-Wextra", "-Wno-unknown-pragmas"])
        .args(["-fPIC", "-shared", "-fvisibility=hidden", "-DLIVEDEX_EMULATOR", "-I."])
        .args(["kernels.cpp", "block.cpp", "fiber.cpp", "entry.cpp", "-o"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(Emulator { library: open(&file), _folder: folder })
}

fn open(file: &PathBuf) -> Library {
    // SAFETY: it has been compiled from our own sources, and does nothing when it is loaded.
    unsafe { Library::new(file) }.unwrap()
}
