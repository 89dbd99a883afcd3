//! From a folder and a precision's name to a [`ModelSpec`], for the examples that measure.

use std::path::Path;

use livedex_model::ModelSpec;

/// The precisions that a model can be loaded in here.
pub(crate) const PRECISIONS: &[&str] = &["f32"];

/// The model in `folder` with its weights in `precision`.
pub(crate) fn model_spec(folder: &Path, precision: &str) -> Result<ModelSpec, String> {
    if !PRECISIONS.contains(&precision) {
        return Err(format!("precision {precision} is none of {}", PRECISIONS.join(", ")));
    }
    Ok(ModelSpec::dir(folder))
}
