//! In which numbers a model computes, and which library multiplies.

use std::{fmt, str::FromStr};

use livedex_onednn::{Library, has_bf16, library};

use crate::error::LoadError;

/// The numbers of the linear layers, which are nearly all of the work. Sums, attention and
/// everything else are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: equal to the reference within rounding. The default.
    #[default]
    F32,
    /// The upper 16 bits of f32, for weights and inputs: about twice as fast, where oneDNN is
    /// installed and the processor has AVX512-BF16 or AMX.
    Bf16,
    /// 8 bits in blocks of 32 with a scale each (GGML's Q8_0), quantised at load: a quarter of the
    /// memory, and faster than f32 where oneDNN is not installed. Layers whose inputs are no
    /// multiple of 256 stay in f32.
    Q8_0,
}

impl Precision {
    const ALL: [(&str, Self); 3] = [("f32", Self::F32), ("bf16", Self::Bf16), ("q8_0", Self::Q8_0)];

    /// Its name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is none of {known}")]
pub struct Unknown {
    /// The word.
    pub found: String,
    /// Those that would do.
    pub known: String,
}

fn named<T: Copy>(all: &[(&str, T)], found: &str) -> Result<T, Unknown> {
    all.iter().find(|(name, _)| *name == found).map(|(_, value)| *value).ok_or_else(|| Unknown {
        found: found.to_owned(),
        known: all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Precision {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        named(&Self::ALL, text)
    }
}

/// Who multiplies matrices on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matmul {
    /// oneDNN where it is installed and made for the processor (x86-64), else candle. The default.
    #[default]
    Auto,
    /// oneDNN, or an error.
    OneDnn,
    /// candle.
    Candle,
}

impl Matmul {
    const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("onednn", Self::OneDnn), ("candle", Self::Candle)];

    /// Its name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::OneDnn => "onednn",
            Self::Candle => "candle",
        }
    }
}

impl FromStr for Matmul {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        named(&Self::ALL, text)
    }
}

/// How linear layers are computed: what a precision and a choice of library come to here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products {
    Candle,
    Quantised,
    OneDnn(&'static Library, livedex_onednn::Precision),
}

impl Products {
    /// What this machine can do of it.
    pub(crate) fn choose(precision: Precision, matmul: Matmul) -> Result<Self, LoadError> {
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
            (Precision::F32, _, Ok(library)) => {
                Ok(Self::OneDnn(library, livedex_onednn::Precision::F32))
            }
            (Precision::F32, Matmul::OneDnn, Err(why)) => Err(refused("matmul \"onednn\"", why)),
            (Precision::F32, _, Err(why)) => {
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
            Self::OneDnn(library, _) => format!("oneDNN {}", library.version()),
        }
    }
}
