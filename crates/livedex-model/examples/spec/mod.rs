//! From a folder and a precision's name to a [`ModelSpec`], for the examples that measure.

use std::{env::VarError, path::Path};

use livedex_model::{Attention, Device, DeviceChoice, LongDocuments, Matmul, ModelSpec};
use serde::de::DeserializeOwned;

/// The precisions to ask for; not every machine can load all of them.
#[allow(dead_code, reason = "lanes loads what it is told")]
pub(crate) fn precisions(device: &Device) -> &'static [&'static str] {
    if device.is_asynchronous() { &["bf16"] } else { &["f32", "bf16", "q8_0"] }
}

/// Who multiplies on a CPU: `LIVEDEX_BENCH_MATMUL`, else the default.
pub(crate) fn matmul() -> Result<Matmul, String> {
    Ok(setting("LIVEDEX_BENCH_MATMUL")?.unwrap_or_default())
}

/// Where models compute: `LIVEDEX_BENCH_DEVICE`, else the CPU; `LIVEDEX_BENCH_ATTENTION` says how a GPU
/// computes attention. What is measured is what was asked for, so a GPU that cannot be used is an error.
pub(crate) fn device() -> Result<Device, String> {
    let choice = setting("LIVEDEX_BENCH_DEVICE")?.unwrap_or(DeviceChoice::Cpu);
    let attention = setting("LIVEDEX_BENCH_ATTENTION")?.unwrap_or(Attention::default());
    Device::open(choice, attention).map_err(|error| error.to_string())
}

/// The model in `folder` with its weights in `precision`, on `device`.
pub(crate) fn model_spec(
    folder: &Path,
    precision: &str,
    device: &Device,
) -> Result<ModelSpec, String> {
    let precision = named(precision).map_err(|error| format!("precision: {error}"))?;
    // As the reference does: a document in parts would be several pairs.
    let long_documents = LongDocuments::Truncate;
    let (matmul, device) = (matmul()?, device.clone());
    Ok(ModelSpec { precision, matmul, device, long_documents, ..ModelSpec::dir(folder) })
}

/// What a variable of the environment says; `None` where it is not set.
fn setting<T: DeserializeOwned>(variable: &str) -> Result<Option<T>, String> {
    match std::env::var(variable) {
        Ok(name) => named(&name).map(Some).map_err(|error| format!("{variable}: {error}")),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{variable}: {error}")),
    }
}

/// A setting by its name in a configuration.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(name.into())
}
