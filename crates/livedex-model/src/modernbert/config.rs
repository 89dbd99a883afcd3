//! ModernBERT's `config.json`, in the spelling of transformers 4 (`global_rope_theta`,
//! `global_attn_every_n_layers`) and of transformers 5 (`rope_parameters`, `layer_types`).

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::{error::LoadError, kernels::Activation, settings::Pooling};

/// The parts of `config.json` that decide the arithmetic.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(super) intermediate_size: usize,
    num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    pub(super) norm_eps: f64,
    #[serde(default)]
    pub(super) norm_bias: bool,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    layer_types: Option<Vec<String>>,
    #[serde(default = "every_third")]
    global_attn_every_n_layers: usize,
    /// Both sides together.
    #[serde(default = "default_window")]
    local_attention: usize,
    /// One side; some configurations have it instead.
    sliding_window: Option<usize>,
    #[serde(default = "global_theta")]
    global_rope_theta: f64,
    // `null` means the global one; a configuration without the key has the default.
    #[serde(default = "local_theta")]
    local_rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<Value>,
    #[serde(default = "cls")]
    classifier_pooling: String,
    #[serde(default)]
    pub(super) classifier_bias: bool,
    #[serde(default = "gelu")]
    classifier_activation: String,
}

#[derive(Debug, Clone, Deserialize)]
struct RopeParameters {
    full_attention: Option<Rotation>,
    sliding_attention: Option<Rotation>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rotation {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn cls() -> String {
    "cls".to_owned()
}

fn default_eps() -> f64 {
    1e-5
}

fn every_third() -> usize {
    3
}

fn default_window() -> usize {
    128
}

fn global_theta() -> f64 {
    160_000.0
}

fn local_theta() -> Option<f64> {
    Some(10_000.0)
}

/// What both spellings come to.
#[derive(Debug, PartialEq)]
pub(super) struct Shape {
    /// Whether a layer sees its neighbourhood only, for each layer.
    pub(super) local: Vec<bool>,
    /// Positions that such a layer sees on either side.
    pub(super) reach: usize,
    /// The rotary base of the layers that see everything, and of the others.
    pub(super) thetas: [f64; 2],
}

impl Config {
    pub(super) fn shape(&self, path: &Path) -> Result<Shape, LoadError> {
        let unsupported = |what: String| unsupported(path, what);
        if self.hidden_activation != "gelu" {
            return Err(unsupported(format!("hidden_activation {:?}", self.hidden_activation)));
        }
        if let Some(scaling) = self.rope_scaling.as_ref().filter(|value| !value.is_null()) {
            return Err(unsupported(format!("rope_scaling {scaling}")));
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(2 * self.num_attention_heads)
        {
            return Err(LoadError::invalid(
                path,
                format!(
                    "hidden_size {} is no even multiple of num_attention_heads {}",
                    self.hidden_size, self.num_attention_heads
                ),
            ));
        }
        let local = match &self.layer_types {
            Some(types) => types
                .iter()
                .map(|kind| match kind.as_str() {
                    "full_attention" => Ok(false),
                    "sliding_attention" => Ok(true),
                    other => Err(unsupported(format!("layer type {other:?}"))),
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => (0..self.num_hidden_layers)
                .map(|i| i % self.global_attn_every_n_layers.max(1) != 0)
                .collect(),
        };
        if local.len() != self.num_hidden_layers {
            return Err(LoadError::invalid(
                path,
                format!("{} layer_types for {} layers", local.len(), self.num_hidden_layers),
            ));
        }
        let mut thetas =
            [self.global_rope_theta, self.local_rope_theta.unwrap_or(self.global_rope_theta)];
        if let Some(parameters) = &self.rope_parameters {
            let rotations = [&parameters.full_attention, &parameters.sliding_attention];
            for (theta, rotation) in thetas.iter_mut().zip(rotations) {
                let Some(rotation) = rotation else { continue };
                if let Some(kind) = rotation.rope_type.as_deref().filter(|k| *k != "default") {
                    return Err(unsupported(format!("rope_type {kind:?}")));
                }
                *theta = rotation.rope_theta.unwrap_or(*theta);
            }
        }
        Ok(Shape { local, reach: self.sliding_window.unwrap_or(self.local_attention / 2), thetas })
    }

    /// What the classifier starts from.
    pub(super) fn classifier_pooling(&self, path: &Path) -> Result<Pooling, LoadError> {
        match self.classifier_pooling.as_str() {
            "cls" => Ok(Pooling::Cls),
            "mean" => Ok(Pooling::Mean),
            other => Err(unsupported(path, format!("classifier_pooling {other:?}"))),
        }
    }

    pub(super) fn classifier_activation(&self, path: &Path) -> Result<Activation, LoadError> {
        match self.classifier_activation.as_str() {
            "gelu" => Ok(Activation::Gelu),
            other => Err(unsupported(path, format!("classifier_activation {other:?}"))),
        }
    }
}

fn unsupported(path: &Path, what: String) -> LoadError {
    LoadError::Unsupported {
        path: path.to_owned(),
        what,
        supported: "gelu, full_attention and sliding_attention, rotary positions without scaling, cls or mean classifier_pooling",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use serde_json::json;

    use super::*;

    fn shape(changes: Value) -> Result<Shape, String> {
        let mut config = json!({
            "vocab_size": 9, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 4,
            "num_attention_heads": 2, "max_position_embeddings": 64,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config: Config = serde_json::from_value(config).map_err(|e| e.to_string())?;
        config.shape(Path::new("config.json")).map_err(|e| e.to_string())
    }

    #[test]
    fn both_spellings_say_the_same() {
        let expected =
            Shape { local: vec![false, true, false, true], reach: 8, thetas: [5000.0, 70.0] };
        let four = json!({
            "global_attn_every_n_layers": 2, "local_attention": 16, "global_rope_theta": 5000.0,
            "local_rope_theta": 70.0, "rope_scaling": null,
        });
        let (full, sliding) = ("full_attention", "sliding_attention");
        let five = json!({
            "layer_types": [full, sliding, full, sliding], "local_attention": 16,
            "rope_parameters": {
                "full_attention": {"rope_theta": 5000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 70.0, "rope_type": "default"},
            },
        });
        assert_eq!(shape(four).as_ref(), Ok(&expected));
        assert_eq!(shape(five).as_ref(), Ok(&expected));
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let plain = shape(json!({})).unwrap();
        let local = vec![false, true, true, false];
        assert_eq!(plain, Shape { local, reach: 64, thetas: [160_000.0, 10_000.0] });
        let thetas = shape(json!({"local_rope_theta": null})).unwrap().thetas;
        assert_eq!(thetas, [160_000.0; 2]);
    }

    #[test]
    fn what_is_not_implemented_is_refused() {
        for (changes, part) in [
            (json!({"hidden_activation": "silu"}), "hidden_activation \"silu\""),
            (json!({"layer_types": vec!["chunked_attention"; 4]}), "chunked_attention"),
            (json!({"layer_types": ["full_attention"]}), "1 layer_types for 4 layers"),
            (json!({"rope_scaling": {"type": "yarn"}}), "yarn"),
            (json!({"rope_parameters": {"full_attention": {"rope_type": "linear"}}}), "linear"),
            (json!({"num_attention_heads": 3}), "no even multiple"),
        ] {
            let error = shape(changes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
