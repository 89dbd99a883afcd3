//! Finding and opening a GPU.

use std::sync::Arc;

use candle_core::{
    CudaDevice, Device,
    cuda_backend::cudarc::driver::{CudaContext, DriverError, sys},
};

/// The libraries that are opened, with where each comes from. NVIDIA's driver brings the first.
const LIBRARIES: [(&str, &str); 4] = [
    ("libcuda.so.1", "it comes with NVIDIA's driver"),
    ("libcublas.so.13", "it comes with CUDA 13, or with the Python package nvidia-cublas"),
    ("libcublasLt.so.13", "it comes with CUDA 13, or with the Python package nvidia-cublas"),
    ("libcurand.so.10", "it comes with CUDA 13, or with the Python package nvidia-curand"),
];

/// What the CUDA version must be at least, as the driver writes it: 13.0.
const CUDA: i32 = 13_000;

/// The oldest GPUs with what the kernels use: 8.0, Ampere.
const CAPABILITY: (i32, i32) = (8, 0);

/// Why a GPU cannot be used. The texts say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A library is not there.
    #[error(
        "{library} cannot be opened ({reason}); {origin}, and its folder must be known to the loader (LD_LIBRARY_PATH)"
    )]
    Library {
        /// Its file name.
        library: &'static str,
        /// What the loader said.
        reason: String,
        /// Who brings it.
        origin: &'static str,
    },
    /// The driver is too old for this build.
    #[error("NVIDIA's driver knows CUDA {}.{}, this build needs {}.{}: install a driver of version 580 or later", .found / 1000, .found % 1000 / 10, CUDA / 1000, CUDA % 1000 / 10)]
    Driver {
        /// The CUDA version of the driver, as it writes it: 12080 is 12.8.
        found: i32,
    },
    /// There is no GPU of this number.
    #[error("there is no GPU {ordinal}: the driver sees {count}")]
    Ordinal {
        /// What was asked for, from 0.
        ordinal: usize,
        /// How many there are.
        count: i32,
    },
    /// The GPU is too old.
    #[error("GPU {name} has compute capability {}.{}, this build needs {}.{} (Ampere) or later", .found.0, .found.1, CAPABILITY.0, CAPABILITY.1)]
    Capability {
        /// What the GPU is called.
        name: String,
        /// Its compute capability.
        found: (i32, i32),
    },
    /// The driver refused something.
    #[error("the GPU cannot be used: {0}")]
    Failed(String),
}

impl From<DriverError> for OpenError {
    fn from(error: DriverError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// An opened GPU. Clones share it.
#[derive(Debug, Clone)]
pub struct Gpu {
    device: CudaDevice,
    context: Arc<CudaContext>,
    name: String,
}

impl Gpu {
    /// Opens the GPU of this number, from 0 in the driver's order.
    pub fn open(ordinal: usize) -> Result<Self, OpenError> {
        for (library, origin) in LIBRARIES {
            // SAFETY: these libraries' initialisers do nothing but set up the library itself. They
            // stay loaded, since candle opens them again.
            let opened = unsafe { libloading::Library::new(library) };
            match opened {
                Ok(found) => std::mem::forget(found),
                Err(error) => {
                    let reason = error.to_string();
                    return Err(OpenError::Library { library, reason, origin });
                }
            }
        }
        let mut found = 0;
        // SAFETY: the pointer is to a live number; the call is allowed before `cuInit`.
        unsafe { sys::cuDriverGetVersion(&mut found) }.result()?;
        if found < CUDA {
            return Err(OpenError::Driver { found });
        }
        let count = match CudaContext::device_count() {
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
            count => count?,
        };
        if ordinal >= usize::try_from(count).unwrap_or(0) {
            return Err(OpenError::Ordinal { ordinal, count });
        }
        let failed = |error: candle_core::Error| OpenError::Failed(error.to_string());
        // With a stream of its own: candle's default is another one on each thread.
        let device = CudaDevice::new_with_stream(ordinal).map_err(failed)?;
        let context = device.cuda_stream().context().clone();
        let (name, capability) = (context.name()?, context.compute_capability()?);
        if capability < CAPABILITY {
            return Err(OpenError::Capability { name, found: capability });
        }
        // SAFETY: all work of this device goes to its one stream, in which memory is also freed, so
        // there is nothing for events between streams to order.
        unsafe { device.disable_event_tracking() };
        keep_freed_memory(&context)?;
        // It stays open until the process ends: cudarc panics where closing fails, which it does on a GPU that a
        // kernel has brought down, and what had happened would not be told.
        std::mem::forget(device.clone());
        // A thread that waits sleeps, for the cores are needed to tokenize.
        context.set_blocking_synchronize()?;
        Ok(Self { device, context, name })
    }

    /// For candle.
    pub fn device(&self) -> Device {
        Device::Cuda(self.device.clone())
    }

    pub(crate) fn cuda(&self) -> &CudaDevice {
        &self.device
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// What it is called, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that are used, by whomever, and bytes that there are.
    pub fn memory(&self) -> Result<(usize, usize), OpenError> {
        let (free, total) = self.context.mem_get_info()?;
        Ok((total - free, total))
    }
}

/// Makes the driver keep what was freed for the next allocation. By default it returns it to the
/// system whenever somebody waits for the stream, and every batch would begin by asking again.
fn keep_freed_memory(context: &CudaContext) -> Result<(), OpenError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: the pool is written before it is read, the device is open, and the attribute is a
    // 64-bit number that outlives the call.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result()?;
    }
    Ok(())
}
