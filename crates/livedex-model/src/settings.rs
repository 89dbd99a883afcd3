//! What a model's own files say besides its architecture: pooling, prompts, maximum length.
//!
//! These are sentence-transformers' files, in its old and its new spelling
//! (`modules.json`, `1_Pooling/config.json`, `config_sentence_transformers.json`,
//! `sentence_bert_config.json`), and `tokenizer_config.json`. All of them are optional.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::LoadError;

/// How token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first token's.
    Cls,
    /// The mean over all tokens, special ones included.
    Mean,
    /// The last token's.
    Last,
}

/// What is put before a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Prompts {
    /// Before a query.
    pub(crate) query: Option<String>,
    /// Before a document.
    pub(crate) document: Option<String>,
}

impl Prompts {
    /// Puts an operator's prompts in the place of the model's own.
    pub(crate) fn set(&mut self, query: Option<&str>, document: Option<&str>) {
        for (own, given) in [(&mut self.query, query), (&mut self.document, document)] {
            if let Some(given) = given {
                *own = Some(given.to_owned());
            }
        }
    }
}

/// The model's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    pub(crate) pooling: Option<Pooling>,
    pub(crate) prompts: Prompts,
    /// Tokens of one input as the model's author set it, special tokens included.
    pub(crate) max_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Modes {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<Modes>,
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SentenceTransformers {
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Lengths {
    max_seq_length: Option<usize>,
    // A float where no limit was set: 1e30.
    model_max_length: Option<f64>,
}

impl Settings {
    /// Reads what there is in a model folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, LoadError> {
        let st: SentenceTransformers =
            read_optional(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
        // The order in which sentence-transformers looks for them.
        let named = |names: &[&str]| {
            names
                .iter()
                .copied()
                .chain(st.default_prompt_name.as_deref())
                .find_map(|name| st.prompts.get(name))
                .filter(|prompt| !prompt.is_empty())
                .cloned()
        };
        let prompts = Prompts {
            query: named(&["query"]),
            document: named(&["document", "passage", "corpus"]),
        };
        let set: Lengths =
            read_optional(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
        let tokenizer: Lengths =
            read_optional(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let max_tokens = set.max_seq_length.or_else(|| {
            tokenizer.model_max_length.filter(|n| (1.0..1e9).contains(n)).map(|n| n as usize)
        });
        Ok(Self { pooling: pooling(folder)?, prompts, max_tokens })
    }
}

/// The pooling that `modules.json` leads to; `None` without one.
fn pooling(folder: &Path) -> Result<Option<Pooling>, LoadError> {
    let path = folder.join("modules.json");
    let Some(modules) = read_optional::<Vec<Module>>(&path)? else {
        return Ok(None);
    };
    let mut found = None;
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            // Results are always normalised here.
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let config = folder.join(&module.path).join("config.json");
                found = Some(read_pooling(&config)?);
            }
            other => {
                return Err(LoadError::Unsupported {
                    path,
                    what: format!("module {other}"),
                    supported: "Transformer, Pooling, Normalize",
                });
            }
        }
    }
    Ok(found)
}

fn read_pooling(path: &Path) -> Result<Pooling, LoadError> {
    let config: PoolingConfig = read_optional(path)?.ok_or_else(|| LoadError::MissingFile {
        path: path.to_owned(),
        hint: "modules.json names it; download the model's folder again, with its subfolders",
    })?;
    let modes = match config.pooling_mode {
        Some(Modes::One(mode)) => vec![mode],
        Some(Modes::Several(modes)) => modes,
        None => config
            .rest
            .iter()
            .filter(|(_, on)| **on == serde_json::Value::Bool(true))
            .filter_map(|(name, _)| name.strip_prefix("pooling_mode_"))
            .map(|name| name.trim_end_matches("_tokens").trim_end_matches("_token"))
            .map(str::to_owned)
            .collect(),
    };
    let unsupported = |what: String| LoadError::Unsupported {
        path: path.to_owned(),
        what,
        supported: "cls, mean or lasttoken pooling, prompts included",
    };
    if !config.include_prompt {
        return Err(unsupported("include_prompt = false".into()));
    }
    match modes.as_slice() {
        [one] => match one.as_str() {
            "cls" => Ok(Pooling::Cls),
            "mean" => Ok(Pooling::Mean),
            "lasttoken" => Ok(Pooling::Last),
            other => Err(unsupported(format!("{other} pooling"))),
        },
        several => Err(unsupported(format!("pooling by {several:?}"))),
    }
}

/// A JSON file, or `None` if it is not there.
pub(crate) fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LoadError> {
    match std::fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|e| LoadError::invalid(path, e))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(LoadError::read(path, e)),
    }
}

/// A file every model has.
pub(crate) fn required(folder: &Path, name: &str) -> Result<PathBuf, LoadError> {
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(LoadError::MissingFile {
        path,
        hint: "a model folder in Hugging Face layout holds config.json, tokenizer.json and model.safetensors",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    const MODULES: &str = r#"[{"path":"","type":"sentence_transformers.models.Transformer"},
        {"path":"1_Pooling","type":"sentence_transformers.sentence_transformer.modules.pooling.Pooling"}]"#;

    #[test]
    fn nothing_is_made_up() {
        let dir = folder(&[("tokenizer_config.json", r#"{"model_max_length": 1e30}"#)]);
        assert_eq!(Settings::read(dir.path()).unwrap(), Settings::default());
    }

    #[test]
    fn both_spellings_of_pooling() {
        let check = |config: &str| {
            let dir = folder(&[("modules.json", MODULES), ("1_Pooling/config.json", config)]);
            Settings::read(dir.path()).map(|s| s.pooling).map_err(|e| e.to_string())
        };
        let cls = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        assert_eq!(check(cls), Ok(Some(Pooling::Cls)));
        assert_eq!(check(r#"{"pooling_mode": "mean"}"#), Ok(Some(Pooling::Mean)));
        assert_eq!(check(r#"{"pooling_mode_lasttoken": true}"#), Ok(Some(Pooling::Last)));
        let max = check(r#"{"pooling_mode_max_tokens": true}"#).unwrap_err();
        assert!(max.contains("max pooling is not supported"), "{max}");
        let sqrt = check(r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#).unwrap_err();
        assert!(sqrt.contains("mean_sqrt_len pooling"), "{sqrt}");
        assert!(check(r#"{"pooling_mode": ["cls", "mean"]}"#).is_err());
        assert!(check(r#"{"pooling_mode": "cls", "include_prompt": false}"#).is_err());
    }

    #[test]
    fn prompts_are_found_as_sentence_transformers_finds_them() {
        let check = |config: &str| {
            let dir = folder(&[("config_sentence_transformers.json", config)]);
            let prompts = Settings::read(dir.path()).unwrap().prompts;
            (prompts.query, prompts.document)
        };
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            check(r#"{"prompts": {"query": "q: ", "passage": "p: "}}"#),
            (some("q: "), some("p: "))
        );
        assert_eq!(
            check(
                r#"{"prompts": {"query": "q: ", "any": "x: ", "document": ""}, "default_prompt_name": "any"}"#
            ),
            (some("q: "), None)
        );
        assert_eq!(
            check(r#"{"prompts": {"any": "x: "}, "default_prompt_name": "any"}"#),
            (some("x: "), some("x: "))
        );
    }

    #[test]
    fn a_module_that_is_not_implemented_is_refused() {
        let dir = folder(&[(
            "modules.json",
            r#"[{"path":"2_Dense","type":"sentence_transformers.models.Dense"}]"#,
        )]);
        let error = Settings::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("module Dense is not supported"), "{error}");
    }
}
