//! A device that is open.

use std::{fmt, sync::Arc};

use crate::{
    backend::Memory,
    choice::{Attention, DeviceChoice},
    error::LoadError,
    kernels::{Cpu, Kernels},
};

/// A device that is open. Clones share it; models that are to share a GPU are loaded with one.
#[derive(Clone)]
pub struct Device {
    candle: candle_core::Device,
    kernels: Arc<dyn Kernels>,
    name: String,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.name)
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::cpu()
    }
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        let name = "cpu".to_owned();
        Self { candle: candle_core::Device::Cpu, kernels: Arc::new(Cpu::new()), name }
    }

    /// Opens what is asked for.
    ///
    /// # Errors
    /// A GPU that was asked for by name and cannot be used, and why. With [`DeviceChoice::Auto`] that is
    /// a warning in the log, and the device is the CPU.
    pub fn open(choice: DeviceChoice, attention: Attention) -> Result<Self, LoadError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu()),
            DeviceChoice::Cuda(ordinal) => Self::cuda(ordinal, attention)
                .map_err(|why| LoadError::NoDevice { asked: choice.to_string(), why }),
            DeviceChoice::Auto if !cfg!(feature = "cuda") => Ok(Self::cpu()),
            DeviceChoice::Auto => Ok(Self::cuda(0, attention).unwrap_or_else(|why| {
                tracing::warn!(why, "no GPU is used: models compute on the CPU");
                Self::cpu()
            })),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize, attention: Attention) -> Result<Self, String> {
        let gpu = livedex_cuda::Gpu::open(ordinal).map_err(|error| error.to_string())?;
        let kernels =
            crate::kernels::cuda::Cuda::new(&gpu, attention).map_err(|e| e.to_string())?;
        let name = format!("cuda:{ordinal}, {}", gpu.name());
        Ok(Self { candle: gpu.device(), kernels: Arc::new(kernels), name })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_: usize, _: Attention) -> Result<Self, String> {
        Err("this build computes on the CPU only; one for GPUs is made by `make cuda`".to_owned())
    }

    /// For people: `cpu`, or a GPU's number and what it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether work goes on while the CPU does something else.
    pub fn is_asynchronous(&self) -> bool {
        !self.candle.is_cpu()
    }

    /// Its memory; `None` where it is the machine's.
    pub fn memory(&self) -> Option<Memory> {
        self.kernels.memory()
    }

    pub(crate) fn candle(&self) -> &candle_core::Device {
        &self.candle
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }
}
