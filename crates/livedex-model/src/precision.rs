//! In which numbers a model computes, and which library multiplies.

use livedex_onednn::{Library, has_bf16, library};
use serde::{Deserialize, Serialize};

use crate::{device::Device, error::LoadError};

/// The numbers of the linear layers, which are nearly all of the work. Sums are f32 in any case, and
/// on a CPU so are attention and everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// `F32` on a CPU, `Bf16` on a GPU. The default.
    #[default]
    Auto,
    /// 32 bits: equal to the reference within rounding. On a CPU only.
    F32,
    /// The upper 16 bits of f32, for weights and inputs: about twice as fast on a CPU, where oneDNN
    /// is installed and the processor has AVX512-BF16 or AMX; what a GPU computes in, everything
    /// between its layers included.
    Bf16,
    /// 8 bits in blocks of 32 with a scale each (GGML's Q8_0), quantised at load: a quarter of the
    /// memory, and faster than f32 where oneDNN is not installed. On a CPU only. Layers whose inputs are no
    /// multiple of 256 stay in f32.
    Q8_0,
}

impl Precision {
    /// What it comes to on a device: never `Auto`.
    pub fn on(self, device: &Device) -> Self {
        match self {
            Self::Auto if device.is_asynchronous() => Self::Bf16,
            Self::Auto => Self::F32,
            chosen => chosen,
        }
    }

    /// Its name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// Who multiplies matrices on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matmul {
    /// oneDNN where it is installed and made for the processor (x86-64), else candle. The default.
    #[default]
    Auto,
    /// oneDNN, or an error.
    OneDnn,
    /// candle.
    Candle,
}

/// How linear layers are computed: what a precision and a choice of library come to here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products {
    Candle,
    Quantised,
    /// candle, by cuBLAS.
    Gpu,
    OneDnn(&'static Library, livedex_onednn::Precision),
}

impl Products {
    /// What this device can do of it. The precision is one of [`Precision::on`].
    pub(crate) fn choose(
        precision: Precision,
        matmul: Matmul,
        device: &Device,
    ) -> Result<Self, LoadError> {
        if device.is_asynchronous() {
            return match precision {
                Precision::Bf16 => Ok(Self::Gpu),
                other => Err(LoadError::GpuPrecision(other.as_str())),
            };
        }
        let found = match matmul {
            Matmul::Candle => Err("matmul is \"candle\"".to_owned()),
            // Elsewhere distributions build it without fast kernels.
            Matmul::Auto if !cfg!(target_arch = "x86_64") => {
                Err("matmul is \"auto\", which means candle on this processor".to_owned())
            }
            _ => library().map_err(|error| error.to_string()),
        };
        let refused = |wanted: &'static str, why| LoadError::Products { wanted, why };
        match (precision, matmul, found) {
            (Precision::Q8_0, Matmul::OneDnn, _) => {
                Err(refused("precision \"q8_0\" by oneDNN", "only candle has it".into()))
            }
            (Precision::Q8_0, ..) => Ok(Self::Quantised),
            (Precision::Auto | Precision::F32, _, Ok(library)) => {
                Ok(Self::OneDnn(library, livedex_onednn::Precision::F32))
            }
            (Precision::Auto | Precision::F32, Matmul::OneDnn, Err(why)) => {
                Err(refused("matmul \"onednn\"", why))
            }
            (Precision::Auto | Precision::F32, _, Err(why)) => {
                tracing::debug!(why, "candle multiplies");
                Ok(Self::Candle)
            }
            (Precision::Bf16, _, Err(why)) => Err(refused("precision \"bf16\"", why)),
            (Precision::Bf16, _, Ok(_)) if !has_bf16() => Err(refused(
                "precision \"bf16\"",
                "this processor has neither AVX512-BF16 nor AMX".into(),
            )),
            (Precision::Bf16, _, Ok(library)) => {
                Ok(Self::OneDnn(library, livedex_onednn::Precision::Bf16))
            }
        }
    }

    /// Who multiplies, for the log.
    pub(crate) fn by(&self) -> String {
        match self {
            Self::Candle | Self::Quantised => "candle".to_owned(),
            Self::Gpu => "cuBLAS".to_owned(),
            Self::OneDnn(library, _) => format!("oneDNN {}", library.version()),
        }
    }
}
