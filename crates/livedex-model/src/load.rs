//! From a [`ModelSpec`] to a model that is ready to run.

use std::path::{Path, PathBuf};

use livedex_core::ports::ModelInfo;
use serde::Deserialize;

use crate::{
    backend::{LoadedEmbedder, LoadedReranker},
    bert::{self, Bert, Classifier},
    embed::{Embedder, Encoder},
    error::LoadError,
    fingerprint::{self, Fingerprint},
    hub,
    judge::Judge,
    modernbert::{self, Head, ModernBert},
    precision::{Precision, Products},
    qwen3::{self, Qwen3, Verdict},
    rerank::{Reranker, Scorer},
    settings::{self, Pooling, Settings},
    spec::{ModelSource, ModelSpec},
    tokenize::{self, Embedding, Pair, QueryPrompt, Text},
    weights::Weights,
};

/// Tokens below which no input makes sense: special tokens and one word.
const MIN_TOKENS: usize = 4;

/// Tokens of one pair that Qwen3-Reranker's model card uses; the model has positions for more.
const QWEN3_PAIR_TOKENS: usize = 8192;

/// What is implemented, for the message to those who bring something else.
const FAMILIES: &str = "bert, roberta, xlm-roberta and modernbert (the bare model, or its ForSequenceClassification) and qwen3 (Qwen3Model, Qwen3ForCausalLM)";

/// Loads a bi-encoder. Blocking: reads files, and downloads them where the source is a hub.
pub fn load_embedder(spec: &ModelSpec) -> Result<LoadedEmbedder, LoadError> {
    embedder(Opened::new(spec)?, spec)
}

pub(crate) fn embedder(model: Opened, spec: &ModelSpec) -> Result<LoadedEmbedder, LoadError> {
    model.no_prompt_form(spec)?;
    let device = spec.device.clone();
    let hidden;
    let (pooling, query) = (model.pooling(), model.query(spec));
    let (encoder, max_tokens) = match &model.config {
        Config::Bert(config) => {
            let max_tokens = model.max_tokens(spec, config.positions(), None)?;
            hidden = config.hidden_size;
            let bert = Bert::load(config, &model.config_path, &model.weights, &device)?;
            (Encoder::Bert(bert, config.vocab_size), max_tokens)
        }
        Config::ModernBert(config) => {
            let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
            hidden = config.hidden_size;
            let bert =
                ModernBert::load(config, &model.config_path, &model.weights, max_tokens, &device)?;
            (Encoder::ModernBert(bert, config.vocab_size), max_tokens)
        }
        Config::Qwen3(config) => {
            let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
            hidden = config.hidden_size;
            let qwen =
                Qwen3::load(config, &model.config_path, &model.weights, max_tokens, &device)?;
            if pooling != Pooling::Last {
                return Err(LoadError::Unsupported {
                    path: model.folder.join("1_Pooling/config.json"),
                    what: format!("{pooling:?} pooling of a causal model"),
                    supported: "lasttoken pooling",
                });
            }
            (Encoder::Qwen3(qwen, config.vocab_size), max_tokens)
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
    let document_prompt = model.document_prompt();
    let mut hash = model.fingerprint(spec.precision.on(&spec.device))?;
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
        device = spec.device.name(),
        precision = spec.precision.on(&spec.device).as_str(),
        matmul,
        "embedder loaded"
    );
    Ok(Box::new(Embedder::new(info, encoder, pooling, tokenizer, device)))
}

/// Loads a cross-encoder. Blocking, as [`load_embedder`].
pub fn load_reranker(spec: &ModelSpec) -> Result<LoadedReranker, LoadError> {
    reranker(Opened::new(spec)?, spec)
}

pub(crate) fn reranker(model: Opened, spec: &ModelSpec) -> Result<LoadedReranker, LoadError> {
    if !matches!(model.config, Config::Qwen3(_)) {
        model.no_prompt_form(spec)?;
    }
    let device = spec.device.clone();
    let path = &model.tokenizer_path;
    let mut hash = model.fingerprint(spec.precision.on(&spec.device))?;
    hash.setting("role", "reranker")
        .setting("long documents", &format!("{:?}", spec.long_documents));
    let (scorer, tokenizer, max_tokens): (_, std::sync::Arc<dyn crate::backend::PairTokenizer>, _) =
        match &model.config {
            Config::Bert(config) => {
                let max_tokens = model.max_tokens(spec, config.positions(), None)?;
                let labels = model.labels(config.head()[1], config.hidden_size)?;
                let bert = Bert::load(config, &model.config_path, &model.weights, &device)?;
                let head = Classifier::load(config, labels, &model.weights)?;
                let tokenizer =
                    Pair::new(model.text.clone(), path, max_tokens, spec.long_documents)?;
                (
                    Scorer::Bert(bert, head, config.vocab_size),
                    std::sync::Arc::new(tokenizer),
                    max_tokens,
                )
            }
            Config::ModernBert(config) => {
                let max_tokens = model.max_tokens(spec, config.max_position_embeddings, None)?;
                let labels = model.labels("classifier", config.hidden_size)?;
                let (at, weights) = (&model.config_path, &model.weights);
                let bert = ModernBert::load(config, at, weights, max_tokens, &device)?;
                let head = Head::load(config, at, labels, weights)?;
                let tokenizer =
                    Pair::new(model.text.clone(), path, max_tokens, spec.long_documents)?;
                (
                    Scorer::ModernBert(bert, head, config.vocab_size),
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
                let (form, long) = (spec.prompt_form.unwrap_or_default(), spec.long_documents);
                hash.setting("instruction", task.unwrap_or(tokenize::DEFAULT_TASK))
                    .setting("prompt form", &format!("{form:?}"));
                let tokenizer = Judge::new(model.text.clone(), path, max_tokens, task, form, long)?;
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
        device = spec.device.name(),
        precision = spec.precision.on(&spec.device).as_str(),
        matmul,
        "reranker loaded"
    );
    Ok(Box::new(Reranker::new(info, scorer, tokenizer, device)))
}

/// A model whose files have been found and read, but for the weights themselves.
pub(crate) struct Opened {
    /// For people: the source's name, with its adapter's.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    /// The class that the configuration names, or nothing.
    pub(crate) architecture: String,
    config_path: PathBuf,
    settings: Settings,
    text: Text,
    tokenizer_path: PathBuf,
    pub(crate) weights: Weights,
}

pub(crate) enum Config {
    Bert(bert::Config),
    ModernBert(modernbert::Config),
    Qwen3(qwen3::Config),
}

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
}

impl Opened {
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, LoadError> {
        let folder = match &spec.source {
            ModelSource::Dir(path) if path.is_dir() => path.clone(),
            ModelSource::Dir(path) => return Err(LoadError::MissingFolder(path.clone())),
            ModelSource::Hub { .. } => hub::fetch(&spec.source)?,
        };
        let config_path = settings::required(&folder, "config.json")?;
        let tokenizer_path = settings::required(&folder, "tokenizer.json")?;
        let (config, architecture) = read_config(&config_path)?;
        let prefix = match &config {
            Config::Bert(config) => config.prefix(),
            Config::ModernBert(_) => modernbert::PREFIX,
            Config::Qwen3(_) => qwen3::PREFIX,
        };
        let precision = spec.precision.on(&spec.device);
        let products = Products::choose(precision, spec.matmul, &spec.device)?;
        let weights =
            Weights::open(&folder, prefix, spec.adapter.as_deref(), products, &spec.device)?;
        if let Some(expected) = &spec.expected_sha256 {
            fingerprint::check_sha256(weights.checkpoint().files(), expected)?;
        }
        let name = match &spec.adapter {
            Some(adapter) => format!("{} + {}", spec.source.name(), adapter.display()),
            None => spec.source.name(),
        };
        let mut settings = Settings::read(&folder)?;
        settings.prompts.set(spec.query_prompt.as_deref(), spec.document_prompt.as_deref());
        Ok(Self {
            name,
            config,
            architecture,
            config_path,
            settings,
            text: Text::read(&tokenizer_path)?,
            tokenizer_path,
            weights,
            folder,
        })
    }

    /// The model's own, else its family's: without a word about it sentence-transformers takes the
    /// mean.
    pub(crate) fn pooling(&self) -> Pooling {
        self.settings.pooling.unwrap_or(match self.config {
            Config::Bert(_) | Config::ModernBert(_) => Pooling::Mean,
            Config::Qwen3(_) => Pooling::Last,
        })
    }

    /// What an embedder puts before a query.
    pub(crate) fn query(&self, spec: &ModelSpec) -> QueryPrompt {
        match self.config {
            Config::Bert(_) | Config::ModernBert(_) => QueryPrompt::fixed(&self.settings.prompts),
            Config::Qwen3(_) => {
                let task = spec.instruction.as_deref().filter(|_| spec.query_prompt.is_none());
                QueryPrompt::instruct(task, &self.settings.prompts)
            }
        }
    }

    /// What an embedder puts before a document.
    pub(crate) fn document_prompt(&self) -> String {
        self.settings.prompts.document.clone().unwrap_or_default()
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

    /// A setting that would be ignored silently is refused.
    fn no_prompt_form(&self, spec: &ModelSpec) -> Result<(), LoadError> {
        match spec.prompt_form {
            None => Ok(()),
            Some(_) => Err(LoadError::Unused {
                setting: "prompt_form",
                model: self.name.clone(),
                reason: "only Qwen3 rerankers have a prompt of several forms",
            }),
        }
    }

    /// How many labels a cross-encoder's classifier of this name has.
    fn labels(&self, classifier: &str, hidden: usize) -> Result<usize, LoadError> {
        let unsupported = |what: String| LoadError::Unsupported {
            path: self.config_path.clone(),
            what,
            supported: "ForSequenceClassification models with one or two labels, or an adapter that brings the classifier",
        };
        match self.weights.shape(&format!("{classifier}.weight")) {
            None => Err(unsupported(format!("a reranker without {classifier}.weight"))),
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

/// The configuration, and the class that it names.
fn read_config(path: &Path) -> Result<(Config, String), LoadError> {
    let text = std::fs::read(path).map_err(|e| LoadError::read(path, e))?;
    let kind: Kind = serde_json::from_slice(&text).map_err(|e| LoadError::invalid(path, e))?;
    let architecture =
        kind.architectures.and_then(|list| list.into_iter().next()).unwrap_or_default();
    let family = kind.model_type.unwrap_or_default();
    let invalid = |e: serde_json::Error| LoadError::invalid(path, e);
    let config = match (family.as_str(), architecture.as_str()) {
        // Published models name the pre-training class now and then; the bare encoder is in it.
        ("bert", "" | "BertModel" | "BertForMaskedLM" | "BertForPreTraining")
        | ("bert", "BertForSequenceClassification")
        | ("roberta", "" | "RobertaModel" | "RobertaForMaskedLM")
        | ("roberta", "RobertaForSequenceClassification")
        | ("xlm-roberta", "" | "XLMRobertaModel" | "XLMRobertaForMaskedLM")
        | ("xlm-roberta", "XLMRobertaForSequenceClassification") => {
            serde_json::from_slice(&text).map(Config::Bert).map_err(invalid)?
        }
        ("modernbert", "" | "ModernBertModel" | "ModernBertForMaskedLM")
        | ("modernbert", "ModernBertForSequenceClassification") => {
            serde_json::from_slice(&text).map(Config::ModernBert).map_err(invalid)?
        }
        ("qwen3", "" | "Qwen3Model" | "Qwen3ForCausalLM") => {
            serde_json::from_slice(&text).map(Config::Qwen3).map_err(invalid)?
        }
        _ => {
            return Err(LoadError::Unsupported {
                path: path.to_owned(),
                what: format!("model_type {family:?} with architecture {architecture:?}"),
                supported: FAMILIES,
            });
        }
    };
    Ok((config, architecture))
}
