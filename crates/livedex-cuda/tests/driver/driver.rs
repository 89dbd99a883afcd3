//! The libraries, built once, and the calls of them that the tests make.

use std::{
    ffi::{CString, c_char, c_int, c_uint, c_void},
    fs, ptr,
    sync::{Mutex, PoisonError},
};

use libloading::{Library, Symbol};
use tempfile::TempDir;

use crate::libraries::libraries;

/// `CUresult`.
pub(crate) type Status = u32;
pub(crate) const SUCCESS: Status = 0;
pub(crate) const INVALID_VALUE: Status = 1;
pub(crate) const OUT_OF_MEMORY: Status = 2;
pub(crate) const NO_DEVICE: Status = 100;
pub(crate) const INVALID_CONTEXT: Status = 201;
pub(crate) const UNSUPPORTED_PTX_VERSION: Status = 222;
pub(crate) const NOT_FOUND: Status = 500;
pub(crate) const NOT_READY: Status = 600;
pub(crate) const ILLEGAL_ADDRESS: Status = 700;

/// A handle of the driver, or an address of the device.
pub(crate) type Handle = u64;

/// A driver of its own: another copy of the library has another device.
pub(crate) struct Driver {
    library: Library,
    _folder: TempDir,
}

impl Driver {
    /// Asks for these faults.
    pub(crate) fn with(faults: &[(&str, &str)]) -> Option<Self> {
        // The environment belongs to all tests.
        static ENVIRONMENT: Mutex<()> = Mutex::new(());
        let built = libraries()?;
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("libcuda.so.1");
        fs::copy(built.join("libcuda.so.1"), &copy).unwrap();
        let _only = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it is the library that was just built; its constructors only make empty objects.
        let driver = Self { library: unsafe { Library::new(copy) }.unwrap(), _folder: folder };
        for (name, value) in faults {
            // SAFETY: nothing but the drivers reads the environment of this process in C, and
            // they do so here.
            unsafe { std::env::set_var(name, value) };
        }
        driver.version();
        for (name, _) in faults {
            // SAFETY: as above.
            unsafe { std::env::remove_var(name) };
        }
        Some(driver)
    }

    /// Initialised, with a context on this thread.
    pub(crate) fn ready(faults: &[(&str, &str)]) -> Option<Self> {
        let driver = Self::with(faults)?;
        assert_eq!(driver.init(), SUCCESS);
        driver.bind();
        Some(driver)
    }

    fn symbol<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: each caller gives the type of the function in emulator/driver.
        unsafe { self.library.get(name.as_bytes()) }.unwrap()
    }

    pub(crate) fn version(&self) -> c_int {
        let mut version = 0;
        let f = self.symbol::<unsafe extern "C" fn(*mut c_int) -> Status>("cuDriverGetVersion");
        // SAFETY: it writes the number.
        assert_eq!(unsafe { f(&raw mut version) }, SUCCESS);
        version
    }

    pub(crate) fn init(&self) -> Status {
        // SAFETY: no pointers.
        unsafe { self.symbol::<unsafe extern "C" fn(c_uint) -> Status>("cuInit")(0) }
    }

    /// Makes the context the one of this thread.
    pub(crate) fn bind(&self) {
        let mut context = 0;
        type Retain = unsafe extern "C" fn(*mut Handle, c_int) -> Status;
        // SAFETY: the first one writes the handle that the second one takes.
        unsafe {
            let retain = self.symbol::<Retain>("cuDevicePrimaryCtxRetain");
            assert_eq!(retain(&raw mut context, 0), SUCCESS);
            let set = self.symbol::<unsafe extern "C" fn(Handle) -> Status>("cuCtxSetCurrent");
            assert_eq!(set(context), SUCCESS);
        }
    }

    /// A call that gives a handle or an address.
    fn make(&self, name: &str, argument: u64) -> Result<Handle, Status> {
        let mut handle = 0;
        type Make = unsafe extern "C" fn(*mut Handle, u64) -> Status;
        // SAFETY: it writes the handle; integers are passed in registers, whatever their width.
        let status = unsafe { self.symbol::<Make>(name)(&raw mut handle, argument) };
        if status == SUCCESS { Ok(handle) } else { Err(status) }
    }

    pub(crate) fn allocate(&self, bytes: usize) -> Result<Handle, Status> {
        self.make("cuMemAlloc_v2", bytes as u64)
    }

    pub(crate) fn stream(&self) -> Handle {
        self.make("cuStreamCreate", 1).unwrap()
    }

    pub(crate) fn module(&self) -> Result<Handle, Status> {
        self.make("cuModuleLoadData", c".version 9.0".as_ptr().addr() as u64)
    }

    pub(crate) fn event(&self, stream: Handle) -> Handle {
        let event = self.make("cuEventCreate", 0).unwrap();
        assert_eq!(self.call("cuEventRecord", event, stream), SUCCESS);
        event
    }

    /// A call with handles, addresses and sizes; superfluous ones are not looked at.
    pub(crate) fn call(&self, name: &str, first: u64, second: u64) -> Status {
        // SAFETY: nothing is written through the arguments of the calls that the tests make so.
        unsafe { self.symbol::<unsafe extern "C" fn(u64, u64) -> Status>(name)(first, second) }
    }

    /// Free bytes, and all.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let (mut free, mut total) = (0, 0);
        type Info = unsafe extern "C" fn(*mut usize, *mut usize) -> Status;
        // SAFETY: it writes both numbers.
        let status =
            unsafe { self.symbol::<Info>("cuMemGetInfo_v2")(&raw mut free, &raw mut total) };
        assert_eq!(status, SUCCESS);
        (free, total)
    }

    pub(crate) fn function(&self, name: &str) -> Result<Handle, Status> {
        let module = self.module()?;
        let name = CString::new(name).unwrap();
        let mut function = 0;
        type Get = unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> Status;
        // SAFETY: it reads the name and writes the handle.
        let status = unsafe {
            self.symbol::<Get>("cuModuleGetFunction")(&raw mut function, module, name.as_ptr())
        };
        if status == SUCCESS { Ok(function) } else { Err(status) }
    }

    /// Allows more dynamic shared memory.
    pub(crate) fn allow_shared(&self, function: Handle, bytes: c_int) -> Status {
        type Set = unsafe extern "C" fn(Handle, c_int, c_int) -> Status;
        // SAFETY: no pointers but the handle.
        unsafe { self.symbol::<Set>("cuFuncSetAttribute")(function, 8, bytes) }
    }

    /// Launches with arguments that are numbers of 64 bits, of which a kernel takes as many as it
    /// declares: little endian, so a shorter number is the lower part.
    pub(crate) fn launch(
        &self,
        function: Handle,
        [grid, threads, shared]: [(u32, u32); 3],
        stream: Handle,
        arguments: &[u64],
    ) -> Status {
        let mut pointers: Vec<*const u64> = arguments.iter().map(ptr::from_ref).collect();
        type Launch = unsafe extern "C" fn(
            Handle,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            Handle,
            *mut *const u64,
            *mut c_void,
        ) -> Status;
        // SAFETY: there is a pointer for each of the kernel's arguments; what they lead to is
        // checked by the driver.
        unsafe {
            self.symbol::<Launch>("cuLaunchKernel")(
                function,
                grid.0,
                grid.1,
                1,
                threads.0,
                threads.1,
                1,
                shared.0,
                stream,
                pointers.as_mut_ptr(),
                ptr::null_mut(),
            )
        }
    }

    /// `bias_activation` without an activation, of one row.
    pub(crate) fn add(&self, function: Handle, stream: Handle, x: Handle, width: u32) -> Status {
        let shape = [(1, 1), (32, 1), (0, 0)];
        self.launch(function, shape, stream, &[x, x, u64::from(width), 0])
    }

    /// Page-locked memory, for as long as the process lives.
    pub(crate) fn pinned(&self, bytes: usize) -> Handle {
        self.make("cuMemHostAlloc", bytes as u64).unwrap()
    }

    /// An asynchronous copy.
    pub(crate) fn copy(
        &self,
        name: &str,
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
    ) -> Status {
        type Copy = unsafe extern "C" fn(u64, u64, usize, Handle) -> Status;
        // SAFETY: the driver checks the device's side; the tests answer for the host's.
        unsafe { self.symbol::<Copy>(name)(to, from, bytes, stream) }
    }

    pub(crate) fn write<T>(&self, to: Handle, from: &[T]) -> Status {
        type Copy<T> = unsafe extern "C" fn(Handle, *const T, usize) -> Status;
        // SAFETY: it reads the slice; the driver checks the device's side.
        unsafe { self.symbol::<Copy<T>>("cuMemcpyHtoD_v2")(to, from.as_ptr(), size_of_val(from)) }
    }

    pub(crate) fn read<T>(&self, to: &mut [T], from: Handle) -> Status {
        type Copy<T> = unsafe extern "C" fn(*mut T, Handle, usize) -> Status;
        // SAFETY: it writes the slice, of plain numbers in these tests; the driver checks the
        // device's side.
        unsafe { self.symbol::<Copy<T>>("cuMemcpyDtoH_v2")(to.as_mut_ptr(), from, size_of_val(to)) }
    }
}
