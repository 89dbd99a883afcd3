//! The part of oneDNN's C interface that a matrix product needs, of versions 2.6 and 3.
//!
//! Both are there because Debian 12 brings version 2 and later systems version 3. What differs:
//! in version 2 a descriptor is a structure that the caller keeps, in version 3 a handle. Either
//! way it is passed by pointer, so that only making one differs. Names, numbers and sizes are
//! those of `dnnl.h` and `dnnl_types.h` of 2.6.3 and 3.2.

use std::{
    ffi::{c_int, c_uint, c_void},
    path::Path,
};

use libloading::Library as Shared;

use crate::{Error, Unavailable};

/// What oneDNN returns; 0 is success.
type Status = c_int;
/// A handle, or a pointer to a structure of oneDNN's.
pub(crate) type Ptr = *mut c_void;
type Dims = [i64; 12];

/// `dnnl_f32` and `dnnl_bf16`.
pub(crate) const F32: c_int = 3;
pub(crate) const BF16: c_int = 2;
/// `DNNL_ARG_*`.
pub(crate) const SRC: c_int = 1;
pub(crate) const DST: c_int = 17;
pub(crate) const WEIGHTS: c_int = 33;
pub(crate) const SCRATCHPAD: c_int = 80;
/// `dnnl_query_weights_md` and `dnnl_query_scratchpad_md`.
pub(crate) const WEIGHTS_MD: c_int = 131;
pub(crate) const SCRATCHPAD_MD: c_int = 136;

/// `dnnl_format_tag_any`: oneDNN chooses the layout.
const ANY: c_int = 1;
/// `dnnl_cpu`, `dnnl_stream_in_order`, `dnnl_scratchpad_mode_user`.
const CPU: c_int = 1;
const IN_ORDER: c_uint = 1;
const SCRATCHPAD_OF_THE_CALLER: c_int = 1;

/// Room for version 2's `dnnl_memory_desc_t` (696 bytes) and `dnnl_matmul_desc_t` (2,800 bytes).
type DescriptorRoom = [u64; 128];
type OperationRoom = [u64; 512];

/// `dnnl_exec_arg_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Arg {
    pub(crate) arg: c_int,
    pub(crate) memory: Ptr,
}

/// The beginning of `dnnl_version_t`.
#[repr(C)]
struct Version {
    major: c_int,
    minor: c_int,
    patch: c_int,
}

/// How a matrix lies in memory.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    /// Elements from one row to the next and from one column to the next.
    Strides(usize, usize),
    /// As oneDNN likes it best.
    Any,
}

/// A description of a matrix.
pub(crate) enum Descriptor {
    /// Version 2.
    Kept(Box<DescriptorRoom>),
    /// Version 3; freed by [`Api::forget`].
    Handle(Ptr),
}

impl Descriptor {
    pub(crate) fn as_ptr(&self) -> Ptr {
        match self {
            Self::Kept(room) => room.as_ptr().cast_mut().cast(),
            Self::Handle(handle) => *handle,
        }
    }
}

type InitByStrides = unsafe extern "C" fn(Ptr, c_int, *const i64, c_int, *const i64) -> Status;
type InitByTag = unsafe extern "C" fn(Ptr, c_int, *const i64, c_int, c_int) -> Status;

/// What the two versions do differently.
enum Making {
    Two {
        strides: InitByStrides,
        tag: InitByTag,
        operation: unsafe extern "C" fn(Ptr, Ptr, Ptr, Ptr, Ptr) -> Status,
        primitive: unsafe extern "C" fn(*mut Ptr, Ptr, Ptr, Ptr, Ptr) -> Status,
    },
    Three {
        strides: unsafe extern "C" fn(*mut Ptr, c_int, *const i64, c_int, *const i64) -> Status,
        tag: unsafe extern "C" fn(*mut Ptr, c_int, *const i64, c_int, c_int) -> Status,
        free: unsafe extern "C" fn(Ptr) -> Status,
        matmul: unsafe extern "C" fn(*mut Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr) -> Status,
    },
}

/// The library's functions, an engine and the attributes of every primitive.
pub(crate) struct Api {
    making: Making,
    memory_create: unsafe extern "C" fn(*mut Ptr, Ptr, Ptr, Ptr) -> Status,
    memory_destroy: unsafe extern "C" fn(Ptr) -> Status,
    primitive_create: unsafe extern "C" fn(*mut Ptr, Ptr) -> Status,
    primitive_execute: unsafe extern "C" fn(Ptr, Ptr, c_int, *const Arg) -> Status,
    query_md: unsafe extern "C" fn(Ptr, c_int, c_int) -> Ptr,
    md_size: unsafe extern "C" fn(Ptr) -> usize,
    reorder: unsafe extern "C" fn(*mut Ptr, Ptr, Ptr, Ptr, Ptr, Ptr) -> Status,
    stream_create: unsafe extern "C" fn(*mut Ptr, Ptr, c_uint) -> Status,
    stream_wait: unsafe extern "C" fn(Ptr) -> Status,
    set_threads: Option<unsafe extern "C" fn(c_int)>,
    engine: Ptr,
    attributes: Ptr,
    version: (c_int, c_int, c_int),
    /// Kept open; the functions above live in it.
    _shared: Shared,
}

// SAFETY: oneDNN's engines and attributes may be used from several threads at once; the functions
// are plain code.
unsafe impl Send for Api {}
unsafe impl Sync for Api {}

impl Api {
    /// Opens a shared library by its path or by the name the system's loader knows.
    pub(crate) fn open(name: &Path) -> Result<Self, Unavailable> {
        let missing = |what: &dyn std::fmt::Display| Unavailable::Load { what: what.to_string() };
        // SAFETY: oneDNN's initialisers do nothing beyond setting up the library itself.
        let shared = unsafe { Shared::new(name) }.map_err(|e| missing(&e))?;
        macro_rules! function {
            ($name:literal) => {{
                // SAFETY: the type is the one in dnnl.h.
                *unsafe { shared.get(concat!($name, "\0").as_bytes()) }.map_err(|e| missing(&e))?
            }};
        }
        let version: unsafe extern "C" fn() -> *const Version = function!("dnnl_version");
        // SAFETY: a static structure.
        let version = unsafe { &*version() };
        let version = (version.major, version.minor, version.patch);
        let making = match version {
            (2, 6.., _) => Making::Two {
                strides: function!("dnnl_memory_desc_init_by_strides"),
                tag: function!("dnnl_memory_desc_init_by_tag"),
                operation: function!("dnnl_matmul_desc_init"),
                primitive: function!("dnnl_primitive_desc_create"),
            },
            (3, _, _) => Making::Three {
                strides: function!("dnnl_memory_desc_create_with_strides"),
                tag: function!("dnnl_memory_desc_create_with_tag"),
                free: function!("dnnl_memory_desc_destroy"),
                matmul: function!("dnnl_matmul_primitive_desc_create"),
            },
            (major, minor, _) => {
                return Err(Unavailable::Version {
                    name: name.display().to_string(),
                    found: format!("{major}.{minor}"),
                });
            }
        };
        let engine_create: unsafe extern "C" fn(*mut Ptr, c_int, usize) -> Status =
            function!("dnnl_engine_create");
        let attr_create: unsafe extern "C" fn(*mut Ptr) -> Status =
            function!("dnnl_primitive_attr_create");
        let scratchpad_mode: unsafe extern "C" fn(Ptr, c_int) -> Status =
            function!("dnnl_primitive_attr_set_scratchpad_mode");
        let refused = |e: Error| missing(&e);
        let (mut engine, mut attributes) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: both are written before they are used.
        unsafe {
            check("dnnl_engine_create", engine_create(&mut engine, CPU, 0)).map_err(refused)?;
            check("dnnl_primitive_attr_create", attr_create(&mut attributes)).map_err(refused)?;
            check("scratchpad mode", scratchpad_mode(attributes, SCRATCHPAD_OF_THE_CALLER))
                .map_err(refused)?;
        }
        Ok(Self {
            making,
            memory_create: function!("dnnl_memory_create"),
            memory_destroy: function!("dnnl_memory_destroy"),
            primitive_create: function!("dnnl_primitive_create"),
            primitive_execute: function!("dnnl_primitive_execute"),
            query_md: function!("dnnl_primitive_desc_query_md"),
            md_size: function!("dnnl_memory_desc_get_size"),
            reorder: function!("dnnl_reorder_primitive_desc_create"),
            stream_create: function!("dnnl_stream_create"),
            stream_wait: function!("dnnl_stream_wait"),
            // The loader finds it in the OpenMP that the library itself is linked with. A build
            // without OpenMP has none and needs none.
            // SAFETY: the type is the one in omp.h.
            set_threads: unsafe { shared.get(b"omp_set_num_threads\0") }.ok().map(|f| *f),
            engine,
            attributes,
            version,
            _shared: shared,
        })
    }

    pub(crate) fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// From now on oneDNN works on the calling thread alone.
    pub(crate) fn one_thread(&self) {
        if let Some(set) = self.set_threads {
            // SAFETY: changes the calling thread's setting.
            unsafe { set(1) }
        }
    }

    /// Describes a matrix of `rows x columns` elements of type `kind`.
    pub(crate) fn describe(
        &self,
        rows: usize,
        columns: usize,
        kind: c_int,
        layout: Layout,
    ) -> Result<Descriptor, Error> {
        let dims = two(rows, columns);
        let steps = match layout {
            Layout::Strides(row, column) => Some(two(row, column)),
            Layout::Any => None,
        };
        // SAFETY: dims and strides have the two elements that are read, and the room of version 2
        // is larger than its structure.
        unsafe {
            match &self.making {
                Making::Two { strides, tag, .. } => {
                    let mut room: Box<DescriptorRoom> = Box::new([0; 128]);
                    let into: Ptr = room.as_mut_ptr().cast();
                    let status = match &steps {
                        Some(steps) => strides(into, 2, dims.as_ptr(), kind, steps.as_ptr()),
                        None => tag(into, 2, dims.as_ptr(), kind, ANY),
                    };
                    check("dnnl_memory_desc_init", status)?;
                    Ok(Descriptor::Kept(room))
                }
                Making::Three { strides, tag, .. } => {
                    let mut handle = std::ptr::null_mut();
                    let status = match &steps {
                        Some(steps) => strides(&mut handle, 2, dims.as_ptr(), kind, steps.as_ptr()),
                        None => tag(&mut handle, 2, dims.as_ptr(), kind, ANY),
                    };
                    check("dnnl_memory_desc_create", status)?;
                    Ok(Descriptor::Handle(handle))
                }
            }
        }
    }

    /// Frees what [`Self::describe`] made.
    pub(crate) fn forget(&self, descriptor: Descriptor) {
        if let (Making::Three { free, .. }, Descriptor::Handle(handle)) = (&self.making, descriptor)
        {
            // SAFETY: `descriptor` is not used again.
            unsafe { free(handle) };
        }
    }

    /// How to compute `dst = src x weights`.
    pub(crate) fn matmul(&self, src: Ptr, weights: Ptr, dst: Ptr) -> Result<Ptr, Error> {
        let null = std::ptr::null_mut();
        let mut made = null;
        // SAFETY: the descriptors live until the call returns; oneDNN copies them.
        unsafe {
            match &self.making {
                Making::Two { operation, primitive, .. } => {
                    let mut room: Box<OperationRoom> = Box::new([0; 512]);
                    let at: Ptr = room.as_mut_ptr().cast();
                    check("dnnl_matmul_desc_init", operation(at, src, weights, null, dst))?;
                    let status = primitive(&mut made, at, self.attributes, self.engine, null);
                    check("dnnl_primitive_desc_create", status)?;
                }
                Making::Three { matmul, .. } => {
                    let status =
                        matmul(&mut made, self.engine, src, weights, null, dst, self.attributes);
                    check("dnnl_matmul_primitive_desc_create", status)?;
                }
            }
        }
        Ok(made)
    }

    /// How to change the layout of a matrix.
    pub(crate) fn reorder(&self, from: Ptr, to: Ptr) -> Result<Ptr, Error> {
        let mut made = std::ptr::null_mut();
        // SAFETY: as in `matmul`.
        let status = unsafe {
            (self.reorder)(&mut made, from, self.engine, to, self.engine, self.attributes)
        };
        check("dnnl_reorder_primitive_desc_create", status).map(|()| made)
    }

    /// What can be executed, of how to do it.
    pub(crate) fn primitive(&self, how: Ptr) -> Result<Ptr, Error> {
        let mut made = std::ptr::null_mut();
        // SAFETY: `how` comes from `matmul` or `reorder`.
        check("dnnl_primitive_create", unsafe { (self.primitive_create)(&mut made, how) })
            .map(|()| made)
    }

    /// One of the descriptors of a primitive; it lives as long as `how`.
    pub(crate) fn descriptor_of(&self, how: Ptr, what: c_int) -> Ptr {
        // SAFETY: `how` comes from `matmul` or `reorder`.
        unsafe { (self.query_md)(how, what, 0) }
    }

    /// Bytes of a matrix.
    pub(crate) fn size(&self, descriptor: Ptr) -> usize {
        if descriptor.is_null() {
            return 0;
        }
        // SAFETY: a descriptor that is alive.
        unsafe { (self.md_size)(descriptor) }
    }

    /// A matrix at `data`, for [`Self::execute`]; to be given back to [`Self::release`].
    pub(crate) fn memory(&self, descriptor: Ptr, data: Ptr) -> Result<Ptr, Error> {
        let mut made = std::ptr::null_mut();
        // SAFETY: oneDNN copies the descriptor and does not touch the data yet.
        let status = unsafe { (self.memory_create)(&mut made, descriptor, self.engine, data) };
        check("dnnl_memory_create", status).map(|()| made)
    }

    pub(crate) fn release(&self, memory: Ptr) {
        // SAFETY: it comes from `memory` and is not used again; the data are not oneDNN's.
        unsafe { (self.memory_destroy)(memory) };
    }

    /// A queue of the calling thread. There are as many as threads, so none is freed.
    pub(crate) fn stream(&self) -> Result<Ptr, Error> {
        let mut made = std::ptr::null_mut();
        // SAFETY: the engine lives as long as the library.
        let status = unsafe { (self.stream_create)(&mut made, self.engine, IN_ORDER) };
        check("dnnl_stream_create", status).map(|()| made)
    }

    /// Runs a primitive to its end.
    ///
    /// # Safety
    /// Each memory has the shape that the primitive was made for, those it reads are initialised,
    /// and those it writes are nobody else's.
    pub(crate) unsafe fn execute(
        &self,
        primitive: Ptr,
        stream: Ptr,
        args: &[Arg],
    ) -> Result<(), Error> {
        // SAFETY: as the caller promises.
        unsafe {
            let n = args.len() as c_int;
            check(
                "dnnl_primitive_execute",
                (self.primitive_execute)(primitive, stream, n, args.as_ptr()),
            )?;
            check("dnnl_stream_wait", (self.stream_wait)(stream))
        }
    }
}

fn two(rows: usize, columns: usize) -> Dims {
    let mut dims = [0; 12];
    dims[0] = rows as i64;
    dims[1] = columns as i64;
    dims
}

fn check(call: &'static str, status: Status) -> Result<(), Error> {
    if status == 0 { Ok(()) } else { Err(Error { call, status }) }
}
