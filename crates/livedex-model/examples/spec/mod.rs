//! From a folder and a precision's name to a [`ModelSpec`], for the examples that measure.

use std::path::Path;

use livedex_model::{LongDocuments, Matmul, ModelSpec};
use serde::de::DeserializeOwned;

/// The precisions to ask for; not every machine can load all of them.
#[allow(dead_code, reason = "lanes loads what it is told")]
pub(crate) const PRECISIONS: &[&str] = &["f32", "bf16", "q8_0"];

/// Who multiplies: `LIVEDEX_BENCH_MATMUL`, else the default.
pub(crate) fn matmul() -> Result<Matmul, String> {
    match std::env::var("LIVEDEX_BENCH_MATMUL") {
        Ok(name) => named(&name).map_err(|error| format!("LIVEDEX_BENCH_MATMUL: {error}")),
        Err(_) => Ok(Matmul::default()),
    }
}

/// The model in `folder` with its weights in `precision`.
pub(crate) fn model_spec(folder: &Path, precision: &str) -> Result<ModelSpec, String> {
    let precision = named(precision).map_err(|error| format!("precision: {error}"))?;
    // As the reference does: a document in parts would be several pairs.
    let long_documents = LongDocuments::Truncate;
    Ok(ModelSpec { precision, matmul: matmul()?, long_documents, ..ModelSpec::dir(folder) })
}

/// A setting by its name in a configuration.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(name.into())
}
