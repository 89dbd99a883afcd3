//! From a [`ModelSpec`] to a model that is ready to run.

use std::path::{Path, PathBuf};

use candle_core::Device;
use livedex_core::ports::ModelInfo;
use serde::Deserialize;

use crate::{
    backend::{LoadedEmbedder, LoadedReranker},
    bert::{self, Bert, Classifier},
    embed::{Embedder, Encoder},
    error::LoadError,
    fingerprint::{self, Fingerprint},
    hub,
    precision::{Precision, Products},
    qwen3::{self, Qwen3, Verdict},
    rerank::{Reranker, Scorer},
    settings::{self, Pooling, Settings},
    spec::{ModelSource, ModelSpec},
    tokenize::{self, Embedding, Judge, Pair, QueryPrompt, Text},
    weights::Weights,
};

/// Tokens below which no input makes sense: special tokens and one word.
const MIN_TOKENS: usize = 4;

/// Tokens of one pair that Qwen3-Reranker's model card uses; the model has positions for more.
const QWEN3_PAIR_TOKENS: usize = 8192;

/// What is implemented, for the message to those who bring something else.
const FAMILIES: &str =
    "bert (BertModel, BertForSequenceClassification) and qwen3 (Qwen3Model, Qwen3ForCausalLM)";

/// Loads a bi-encoder. Blocking: reads files, and downloads them where the source is a hub.
pub fn load_embedder(spec: &ModelSpec) -> Result<LoadedEmbedder, LoadError> {
    let model = Opened::new(spec)?;
    let device = Device::Cpu;
    let hidden;
    let (encoder, pooling, query, max_tokens) = match &model.config {
        Config::Bert(config) => {
            let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
            hidden = config.hidden_size;
            let bert = Bert::load(config, &model.config_path, &model.weights, &device)?;
            let query = QueryPrompt::fixed(&model.settings.prompts);
            // Without a word about pooling sentence-transformers takes the mean.
            let pooling = model.settings.pooling.unwrap_or(Pooling::Mean);
            (Encoder::Bert(bert, config.vocab_size), pooling, query, max_tokens)
        }
        Config::Qwen3(config) => {
            let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
            hidden = config.hidden_size;
            let qwen =
                Qwen3::load(config, &model.config_path, &model.weights, max_tokens, &device)?;
            let query = QueryPrompt::instruct(spec.instruction.as_deref(), &model.settings.prompts);
            let pooling = model.settings.pooling.unwrap_or(Pooling::Last);
            if pooling != Pooling::Last {
                return Err(LoadError::Unsupported {
                    path: model.folder.join("1_Pooling/config.json"),
                    what: format!("{pooling:?} pooling of a causal model"),
                    supported: "lasttoken pooling",
                });
            }
            (Encoder::Qwen3(qwen, config.vocab_size), pooling, query, max_tokens)
        }
    };
    model.weights.finish()?;
    let matmul = model.weights.products().by();
    let dimension = spec.dimension.unwrap_or(hidden);
    if !(1..=hidden).contains(&dimension) {
        return Err(LoadError::Setting {
            setting: "dimension",
            value: dimension,
            model: model.name,
            limit: format!("from 1 to {hidden}"),
        });
    }
    let document_prompt = model.settings.prompts.document.clone().unwrap_or_default();
    let mut hash = model.fingerprint(spec.precision)?;
    hash.setting("role", "embedder")
        .setting("pooling", &format!("{pooling:?}"))
        .setting("query prompt", &format!("{query:?}"))
        .setting("document prompt", &document_prompt)
        .setting("max_tokens", &max_tokens.to_string())
        .setting("dimension", &dimension.to_string());
    let info = ModelInfo { name: model.name, fingerprint: hash.finish(), dimension, max_tokens };
    let tokenizer =
        Embedding::new(model.text, &model.tokenizer_path, max_tokens, document_prompt, query)?;
    tracing::info!(
        model = info.name,
        fingerprint = info.fingerprint,
        dimension,
        max_tokens,
        precision = spec.precision.as_str(),
        matmul,
        "embedder loaded"
    );
    Ok(Box::new(Embedder::new(info, encoder, pooling, tokenizer, device)))
}

/// Loads a cross-encoder. Blocking, as [`load_embedder`].
pub fn load_reranker(spec: &ModelSpec) -> Result<LoadedReranker, LoadError> {
    let model = Opened::new(spec)?;
    let device = Device::Cpu;
    let path = &model.tokenizer_path;
    let mut hash = model.fingerprint(spec.precision)?;
    hash.setting("role", "reranker");
    let (scorer, tokenizer, max_tokens): (_, std::sync::Arc<dyn crate::backend::PairTokenizer>, _) =
        match &model.config {
            Config::Bert(config) => {
                let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
                let labels = model.labels(config.hidden_size)?;
                let bert = Bert::load(config, &model.config_path, &model.weights, &device)?;
                let head = Classifier::load(config, labels, &model.weights)?;
                let tokenizer = Pair::new(model.text.clone(), path, max_tokens)?;
                (
                    Scorer::Bert(bert, head, config.vocab_size),
                    std::sync::Arc::new(tokenizer),
                    max_tokens,
                )
            }
            Config::Qwen3(config) => {
                let max_tokens = model.max_tokens(
                    spec,
                    config.max_position_embeddings,
                    Some(QWEN3_PAIR_TOKENS),
                )?;
                let answer = |word| {
                    model.text.id(word).ok_or_else(|| {
                        LoadError::invalid(path, format!("it has no token {word:?}"))
                    })
                };
                let (no, yes) = (answer("no")?, answer("yes")?);
                let qwen =
                    Qwen3::load(config, &model.config_path, &model.weights, max_tokens, &device)?;
                let head = Verdict::load(config, &model.weights, &qwen, no, yes)?;
                let task = spec.instruction.as_deref();
                hash.setting("instruction", task.unwrap_or(tokenize::DEFAULT_TASK));
                let tokenizer = Judge::new(model.text.clone(), path, max_tokens, task)?;
                (
                    Scorer::Qwen3(qwen, head, config.vocab_size),
                    std::sync::Arc::new(tokenizer),
                    max_tokens,
                )
            }
        };
    model.weights.finish()?;
    let matmul = model.weights.products().by();
    hash.setting("max_tokens", &max_tokens.to_string());
    let info = ModelInfo { name: model.name, fingerprint: hash.finish(), dimension: 1, max_tokens };
    tracing::info!(
        model = info.name,
        fingerprint = info.fingerprint,
        max_tokens,
        precision = spec.precision.as_str(),
        matmul,
        "reranker loaded"
    );
    Ok(Box::new(Reranker::new(info, scorer, tokenizer, device)))
}

/// A model whose files have been found and read, but for the weights themselves.
struct Opened {
    /// For people: the source's name, with its adapter's.
    name: String,
    folder: PathBuf,
    config: Config,
    config_path: PathBuf,
    settings: Settings,
    text: Text,
    tokenizer_path: PathBuf,
    weights: Weights,
}

enum Config {
    Bert(bert::Config),
    Qwen3(qwen3::Config),
}

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
}

impl Opened {
    fn new(spec: &ModelSpec) -> Result<Self, LoadError> {
        let folder = match &spec.source {
            ModelSource::Dir(path) if path.is_dir() => path.clone(),
            ModelSource::Dir(path) => return Err(LoadError::MissingFolder(path.clone())),
            ModelSource::Hub { .. } => hub::fetch(&spec.source)?,
        };
        let config_path = settings::required(&folder, "config.json")?;
        let tokenizer_path = settings::required(&folder, "tokenizer.json")?;
        let config = read_config(&config_path)?;
        let prefix = match config {
            Config::Bert(_) => bert::PREFIX,
            Config::Qwen3(_) => qwen3::PREFIX,
        };
        let products = Products::choose(spec.precision, spec.matmul)?;
        let weights = Weights::open(&folder, prefix, spec.adapter.as_deref(), products)?;
        if let Some(expected) = &spec.expected_sha256 {
            fingerprint::check_sha256(weights.checkpoint().files(), expected)?;
        }
        let name = match &spec.adapter {
            Some(adapter) => format!("{} + {}", spec.source.name(), adapter.display()),
            None => spec.source.name(),
        };
        Ok(Self {
            name,
            config,
            config_path,
            settings: Settings::read(&folder)?,
            text: Text::read(&tokenizer_path)?,
            tokenizer_path,
            weights,
            folder,
        })
    }

    /// The operator's limit, else the model's own, never more than it has positions for.
    fn max_tokens(
        &self,
        spec: &ModelSpec,
        positions: usize,
        usual: Option<usize>,
    ) -> Result<usize, LoadError> {
        if let Some(value) = spec.max_tokens {
            if (MIN_TOKENS..=positions).contains(&value) {
                return Ok(value);
            }
            return Err(LoadError::Setting {
                setting: "max_tokens",
                value,
                model: self.name.clone(),
                limit: format!("from {MIN_TOKENS} to {positions}"),
            });
        }
        let own = self.settings.max_tokens.unwrap_or(positions);
        Ok(own.min(usual.unwrap_or(own)).min(positions).max(MIN_TOKENS))
    }

    /// How many labels a cross-encoder's classifier has.
    fn labels(&self, hidden: usize) -> Result<usize, LoadError> {
        let unsupported = |what: String| LoadError::Unsupported {
            path: self.config_path.clone(),
            what,
            supported: "BertForSequenceClassification with one or two labels, or an adapter that brings the classifier",
        };
        match self.weights.shape("classifier.weight") {
            None => Err(unsupported("a reranker without classifier.weight".into())),
            Some(shape) if shape == [1, hidden] => Ok(1),
            Some(shape) if shape == [2, hidden] => Ok(2),
            Some(shape) => Err(unsupported(format!("a classifier of shape {shape:?}"))),
        }
    }

    /// The hash over everything that was opened here.
    fn fingerprint(&self, precision: Precision) -> Result<Fingerprint, LoadError> {
        let mut hash = Fingerprint::new();
        hash.setting("precision", precision.as_str());
        hash.file("config", &self.config_path)?;
        hash.file("tokenizer", &self.tokenizer_path)?;
        for file in self.weights.checkpoint().files() {
            hash.file("weights", file)?;
        }
        for file in self.weights.adapter().iter().flat_map(|a| a.files()) {
            hash.file("adapter", &file)?;
        }
        Ok(hash)
    }
}

fn read_config(path: &Path) -> Result<Config, LoadError> {
    let text = std::fs::read(path).map_err(|e| LoadError::read(path, e))?;
    let kind: Kind = serde_json::from_slice(&text).map_err(|e| LoadError::invalid(path, e))?;
    let architecture =
        kind.architectures.and_then(|list| list.into_iter().next()).unwrap_or_default();
    let family = kind.model_type.unwrap_or_default();
    let invalid = |e: serde_json::Error| LoadError::invalid(path, e);
    match (family.as_str(), architecture.as_str()) {
        // Published models name the pre-training class now and then; the bare encoder is in it.
        ("bert", "" | "BertModel" | "BertForMaskedLM" | "BertForPreTraining")
        | ("bert", "BertForSequenceClassification") => {
            serde_json::from_slice(&text).map(Config::Bert).map_err(invalid)
        }
        ("qwen3", "" | "Qwen3Model" | "Qwen3ForCausalLM") => {
            serde_json::from_slice(&text).map(Config::Qwen3).map_err(invalid)
        }
        _ => Err(LoadError::Unsupported {
            path: path.to_owned(),
            what: format!("model_type {family:?} with architecture {architecture:?}"),
            supported: FAMILIES,
        }),
    }
}
