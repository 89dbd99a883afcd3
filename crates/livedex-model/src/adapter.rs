//! PEFT LoRA adapters, merged into the weights at load: `W + scale * B A`.
//!
//! Format: <https://huggingface.co/docs/peft/developer_guides/checkpoint>. What is not handled
//! (DoRA, trained biases, ...) is refused by name: an adapter that is half applied gives a model
//! that seems to work.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use crate::{checkpoint::Checkpoint, error::LoadError};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT's wrapper and the wrapped model's own attribute.
const WRAPPER: &str = "base_model.model.";

#[derive(Debug, Deserialize)]
struct Config {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    bias: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Settings that change the arithmetic in ways that are not implemented.
const REFUSED: [&str; 10] = [
    "use_dora",
    "lora_bias",
    "fan_in_fan_out",
    "use_qalora",
    "use_bdlora",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
];

/// An adapter whose keys and settings have been checked against each other.
#[derive(Debug)]
pub(crate) struct Adapter {
    folder: PathBuf,
    weights: Checkpoint,
    /// By the canonical name of the weight.
    updates: BTreeMap<String, Update>,
    /// Canonical name to the key in the file.
    replacements: BTreeMap<String, String>,
    /// Canonical names that the model has asked for.
    used: RefCell<BTreeSet<String>>,
}

#[derive(Debug)]
struct Update {
    a: String,
    b: String,
    scale: f64,
}

impl Adapter {
    /// Reads an adapter's folder. `canonical` maps a tensor's name in the task model to the name
    /// that the model's code asks for.
    pub(crate) fn open(
        folder: &Path,
        canonical: impl Fn(&str) -> String,
    ) -> Result<Self, LoadError> {
        if !folder.is_dir() {
            return Err(LoadError::MissingFolder(folder.to_owned()));
        }
        let config_path = folder.join(CONFIG);
        let config = read_config(&config_path)?;
        let path = folder.join(WEIGHTS);
        if !path.is_file() {
            return Err(LoadError::MissingFile {
                path,
                hint: "an adapter folder holds adapter_config.json and adapter_model.safetensors",
            });
        }
        let weights = Checkpoint::open(vec![path.clone()])?;
        let mut updates = BTreeMap::new();
        let mut replacements = BTreeMap::new();
        for key in weights.names() {
            let refused = |why: &str| LoadError::invalid(&path, format!("tensor {key:?} {why}"));
            let name = key
                .strip_prefix(WRAPPER)
                .ok_or_else(|| refused("does not begin with \"base_model.model.\""))?;
            // Some versions write the adapter's name into the key.
            let name = name.replace(".default.weight", ".weight");
            if let Some(module) = name.strip_suffix(".lora_A.weight") {
                let b = key.replace("lora_A", "lora_B");
                let (Some([rank, _]), Some([_, rank_b])) = (weights.shape(key), weights.shape(&b))
                else {
                    return Err(refused("and its lora_B are not two matrices"));
                };
                let expected = by_module(&config.rank_pattern, module, config.r, &config_path)?;
                if *rank != expected || *rank_b != expected {
                    return Err(refused(&format!("has rank {rank}, {CONFIG} says {expected}")));
                }
                let alpha =
                    by_module(&config.alpha_pattern, module, config.lora_alpha, &config_path)?;
                let scale = if config.use_rslora {
                    alpha / (expected as f64).sqrt()
                } else {
                    alpha / expected as f64
                };
                updates.insert(
                    canonical(&format!("{module}.weight")),
                    Update { a: key.to_owned(), b, scale },
                );
            } else if name.ends_with(".lora_B.weight") {
                if weights.shape(&key.replace("lora_B", "lora_A")).is_none() {
                    return Err(refused("has no lora_A"));
                }
            } else if is_saved_module(&name, config.modules_to_save.as_deref().unwrap_or(&[])) {
                replacements.insert(canonical(&name), key.to_owned());
            } else {
                return Err(refused(
                    "is neither lora_A, lora_B nor of a module in modules_to_save",
                ));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            weights,
            updates,
            replacements,
            used: RefCell::default(),
        })
    }

    /// The files that decide its arithmetic.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        [self.folder.join(CONFIG), self.folder.join(WEIGHTS)]
    }

    /// The shape of a tensor that it brings itself.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(self.replacements.get(name)?)
    }

    /// The tensors that it brings itself.
    pub(crate) fn brought(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.replacements
            .iter()
            .filter_map(|(name, key)| self.weights.shape(key).map(|shape| (name.as_str(), shape)))
    }

    /// Whether a tensor is another one with it.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.replacements.contains_key(name) || self.updates.contains_key(name)
    }

    /// The tensor that the model is to use in place of `base`, the checkpoint's of that name.
    pub(crate) fn apply(
        &self,
        name: &str,
        base: Option<Tensor>,
    ) -> Result<Option<Tensor>, LoadError> {
        let path = &self.weights.files()[0];
        if let Some(key) = self.replacements.get(name) {
            self.used.borrow_mut().insert(name.to_owned());
            return self.weights.read(key);
        }
        let Some(update) = self.updates.get(name) else {
            return Ok(base);
        };
        let (Some(base), Some(a), Some(b)) =
            (base, self.weights.read(&update.a)?, self.weights.read(&update.b)?)
        else {
            return Ok(None);
        };
        self.used.borrow_mut().insert(name.to_owned());
        b.matmul(&a)
            .and_then(|delta| delta * update.scale)
            .and_then(|delta| base + delta)
            .map(Some)
            .map_err(|e| LoadError::invalid(path, format!("{} does not fit {name}: {e}", update.a)))
    }

    /// Refuses an adapter of which the model has not used everything.
    pub(crate) fn check_used(&self) -> Result<(), LoadError> {
        let used = self.used.borrow();
        let left: Vec<&str> = self
            .updates
            .keys()
            .chain(self.replacements.keys())
            .filter(|name| !used.contains(*name))
            .map(String::as_str)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(LoadError::invalid(
            &self.weights.files()[0],
            format!(
                "the model has no use for {}{}; is the adapter made for this model and this role?",
                left[..left.len().min(3)].join(", "),
                if left.len() > 3 {
                    format!(" and {} more", left.len() - 3)
                } else {
                    String::new()
                }
            ),
        ))
    }
}

fn read_config(path: &Path) -> Result<Config, LoadError> {
    if !path.is_file() {
        return Err(LoadError::MissingFile {
            path: path.to_owned(),
            hint: "an adapter folder holds adapter_config.json and adapter_model.safetensors",
        });
    }
    let text = std::fs::read(path).map_err(|e| LoadError::read(path, e))?;
    let config: Config = serde_json::from_slice(&text).map_err(|e| LoadError::invalid(path, e))?;
    let unsupported = |what: String| LoadError::Unsupported {
        path: path.to_owned(),
        what,
        supported: "LoRA with lora_alpha / r or rank-stabilised scaling, rank and alpha patterns, modules_to_save",
    };
    if config.peft_type != "LORA" {
        return Err(unsupported(format!("peft_type {}", config.peft_type)));
    }
    if let Some(bias) = config.bias.as_deref().filter(|b| *b != "none") {
        return Err(unsupported(format!("bias {bias:?}")));
    }
    if config.r == 0 {
        return Err(LoadError::invalid(path, "r is 0"));
    }
    for name in REFUSED {
        let off = matches!(config.rest.get(name), None | Some(Value::Null | Value::Bool(false)));
        if !off {
            return Err(unsupported(name.to_owned()));
        }
    }
    Ok(config)
}

/// The pattern's value for a module, or the default. PEFT's keys are regular expressions that
/// match a whole trailing part of the module's path; plain paths are what is handled here.
fn by_module<T: Copy + PartialEq>(
    pattern: &BTreeMap<String, T>,
    module: &str,
    default: T,
    path: &Path,
) -> Result<T, LoadError> {
    let mut found = None;
    for (key, value) in pattern {
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
            return Err(LoadError::Unsupported {
                path: path.to_owned(),
                what: format!("the pattern {key:?}"),
                supported: "module paths as they are, without regular expressions",
            });
        }
        let matches = module
            .strip_suffix(key.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if matches && found.replace(*value).is_some_and(|other| other != *value) {
            return Err(LoadError::invalid(path, format!("several patterns match {module}")));
        }
    }
    Ok(found.unwrap_or(default))
}

fn is_saved_module(name: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| {
        name.split_once(module.as_str()).is_some_and(|(before, after)| {
            (before.is_empty() || before.ends_with('.')) && after.starts_with('.')
        })
    })
}
