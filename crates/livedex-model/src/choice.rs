//! Where models compute, as a configuration says it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
