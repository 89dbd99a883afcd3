//! Where models compute.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    backend::Memory,
    error::LoadError,
    kernels::{Cpu, Kernels},
};

/// Which device a configuration asks for. Written `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU, where this build can use one and there is one; else the CPU. The default.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by its number from 0 in the driver's order.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().ok();
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or_else(|| format!("is {text:?}; it is \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""))
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// How a GPU computes attention. A CPU has one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// By Livedex' own kernel, for heads of 32, 64 or 128 numbers; others go the other way. The default.
    #[default]
    Fused,
    /// By matrix products of cuBLAS, sequences of similar length together: slower, and for those who
    /// want to rule the kernel out.
    Cublas,
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_they_are_read() {
        for name in ["auto", "cpu", "cuda", "cuda:3"] {
            assert_eq!(
                name.parse::<DeviceChoice>().map(|choice| choice.to_string()),
                Ok(name.into())
            );
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        for name in ["gpu", "cuda:", "cuda:-1", "CPU", "metal"] {
            assert!(name.parse::<DeviceChoice>().is_err(), "{name}");
        }
    }
}
