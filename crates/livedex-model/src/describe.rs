//! What a model is, for people, and the model with it.

use crate::{
    backend::{LoadedEmbedder, LoadedReranker},
    error::LoadError,
    load::{self, Config, Opened},
    matrix::QUANTISED_INPUTS,
    settings::Pooling,
    spec::ModelSpec,
    tokenize,
};

/// What a model is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Stage 1: one text to a vector.
    Embedder,
    /// Stage 2: a query and a text to a probability.
    Reranker,
}

/// A loaded model of either role.
pub enum Model {
    /// A bi-encoder.
    Embedder(LoadedEmbedder),
    /// A cross-encoder.
    Reranker(LoadedReranker),
}

/// What a model is, as its files and its [`ModelSpec`] say.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The name or path it was loaded from, with its adapter.
    pub name: String,
    /// Such as `XLM-RoBERTa`.
    pub family: &'static str,
    /// The class that its `config.json` names; empty where it names none.
    pub architecture: String,
    /// What it was loaded as.
    pub role: Role,
    /// Numbers per embedding; 1 for a reranker.
    pub dimension: usize,
    /// `cls`, `mean` or `lasttoken`; none for a reranker.
    pub pooling: Option<&'static str>,
    /// What is put before a query; none for a reranker.
    pub query_prompt: Option<String>,
    /// What is put before a document; none for a reranker.
    pub document_prompt: Option<String>,
    /// The task that is put to a reranker that follows instructions.
    pub instruction: Option<String>,
    /// Tokens that fit one input, special tokens included.
    pub max_tokens: usize,
    /// Numbers in its weights, as far as this role uses them.
    pub parameters: u64,
    /// What the weights take, by the precision of the linear layers.
    pub memory: Memory,
    /// Equal fingerprints give equal numbers.
    pub fingerprint: String,
}

/// Bytes of a model's weights by the precision that its linear layers are held in. Embedding
/// tables, norms and biases are counted in f32 throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// 4 bytes a number.
    pub f32: u64,
    /// 2 bytes a number.
    pub bf16: u64,
    /// 34 bytes a block of 32 numbers, in the layers that are quantised: those whose inputs are a
    /// multiple of 256.
    pub q8_0: u64,
}

impl Memory {
    fn new(parameters: u64, linear: u64, quantised: u64) -> Self {
        Self {
            f32: 4 * parameters,
            bf16: 4 * (parameters - linear) + 2 * linear,
            q8_0: 4 * (parameters - quantised) + quantised * 34 / 32,
        }
    }
}

/// Opens a model, loads it, and says what it is. Without a role its files decide: a classifier
/// (or an adapter that brings one) makes a reranker, sentence-transformers' `modules.json` an
/// embedder, and a bare `Qwen3ForCausalLM` is a reranker. Blocking, as
/// [`load_embedder`](crate::load_embedder).
pub fn inspect(spec: &ModelSpec, role: Option<Role>) -> Result<(Description, Model), LoadError> {
    let opened = Opened::new(spec)?;
    let role = role.unwrap_or_else(|| opened.role());
    let mut description = opened.describe(spec, role);
    let model = match role {
        Role::Embedder => Model::Embedder(load::embedder(opened, spec)?),
        Role::Reranker => Model::Reranker(load::reranker(opened, spec)?),
    };
    let info = match &model {
        Model::Embedder(model) => model.info(),
        Model::Reranker(model) => model.info(),
    };
    description.dimension = info.dimension;
    description.max_tokens = info.max_tokens;
    description.fingerprint.clone_from(&info.fingerprint);
    Ok((description, model))
}

impl Opened {
    /// What its files make it.
    fn role(&self) -> Role {
        let classifier = match &self.config {
            Config::Bert(config) => Some(config.head()[1]),
            Config::ModernBert(_) => Some("classifier"),
            Config::Qwen3(_) => None,
        };
        let has_classifier = classifier
            .is_some_and(|name| self.weights.shape(&format!("{name}.weight")).is_some())
            || self.architecture.ends_with("ForSequenceClassification");
        if has_classifier {
            Role::Reranker
        } else if self.folder.join("modules.json").is_file() {
            Role::Embedder
        } else if self.architecture == "Qwen3ForCausalLM" {
            Role::Reranker
        } else {
            Role::Embedder
        }
    }

    /// All but what only the loaded model knows.
    fn describe(&self, spec: &ModelSpec, role: Role) -> Description {
        let is_embedder = role == Role::Embedder;
        let (mut parameters, mut linear, mut quantised) = (0, 0, 0);
        for (name, shape) in self.weights.shapes() {
            if self.uses(name, role) {
                let size = shape.iter().product::<usize>() as u64;
                parameters += size;
                if shape.len() == 2 && !name.contains("embed") {
                    linear += size;
                    if shape[1].is_multiple_of(QUANTISED_INPUTS) {
                        quantised += size;
                    }
                }
            }
        }
        let judges = matches!(self.config, Config::Qwen3(_)) && !is_embedder;
        let task = spec.instruction.as_deref().unwrap_or(tokenize::DEFAULT_TASK);
        Description {
            name: self.name.clone(),
            family: match &self.config {
                Config::Bert(config) => config.family(),
                Config::ModernBert(_) => "ModernBERT",
                Config::Qwen3(_) => "Qwen3",
            },
            architecture: self.architecture.clone(),
            role,
            dimension: 0,
            pooling: is_embedder.then(|| match self.pooling() {
                Pooling::Cls => "cls",
                Pooling::Mean => "mean",
                Pooling::Last => "lasttoken",
            }),
            query_prompt: is_embedder.then(|| self.query(spec).text().to_owned()),
            document_prompt: is_embedder.then(|| self.document_prompt()),
            instruction: judges.then(|| task.to_owned()),
            max_tokens: 0,
            parameters,
            memory: Memory::new(parameters, linear, quantised),
            fingerprint: String::new(),
        }
    }

    /// Whether this role takes the tensor of this name.
    fn uses(&self, name: &str, role: Role) -> bool {
        let (bare, head): (&[_], &[_]) = match &self.config {
            Config::Bert(config) => (&["embeddings.", "encoder."], config.head()),
            Config::ModernBert(_) => {
                (&["embeddings.", "layers.", "final_norm."], &["head.", "classifier."])
            }
            // Of the head two rows are taken.
            Config::Qwen3(_) => (&["embed_tokens.", "layers.", "norm."], &[]),
        };
        let starts = |parts: &[&str]| parts.iter().any(|part| name.starts_with(part));
        // Old checkpoints also hold the numbers of the positions.
        (name.ends_with(".weight") || name.ends_with(".bias"))
            && (starts(bare) || role == Role::Reranker && starts(head))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::path::{Path, PathBuf};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    fn of(name: &str) -> Description {
        inspect(&ModelSpec::dir(fixture(name)), None).unwrap().0
    }

    #[test]
    fn the_files_decide_the_role() {
        for (name, family, role) in [
            ("bert-embed", "BERT", Role::Embedder),
            ("bert-rerank", "BERT", Role::Reranker),
            ("xlmr-embed", "XLM-RoBERTa", Role::Embedder),
            ("xlmr-rerank", "XLM-RoBERTa", Role::Reranker),
            ("modernbert-embed", "ModernBERT", Role::Embedder),
            ("modernbert-rerank", "ModernBERT", Role::Reranker),
            ("qwen3-embed", "Qwen3", Role::Embedder),
            ("qwen3-rerank", "Qwen3", Role::Reranker),
        ] {
            let description = of(name);
            assert_eq!((description.family, description.role), (family, role), "{name}");
        }
        let adapter = Some(fixture("bert-embed-lora"));
        let spec = ModelSpec { adapter, ..ModelSpec::dir(fixture("bert-embed")) };
        assert_eq!(inspect(&spec, None).unwrap().0.role, Role::Reranker);
        // A causal model can be either.
        let spec = ModelSpec::dir(fixture("qwen3-rerank"));
        let (description, model) = inspect(&spec, Some(Role::Embedder)).unwrap();
        assert!(matches!(model, Model::Embedder(_)));
        assert_eq!(description.pooling, Some("lasttoken"));
    }

    #[test]
    fn settings_and_sizes_are_told() {
        let d = of("bert-embed");
        assert_eq!((d.dimension, d.max_tokens, d.pooling), (64, 64, Some("mean")));
        assert_eq!(d.query_prompt.as_deref(), Some("query: "));
        assert_eq!(d.document_prompt.as_deref(), Some("passage: "));
        // Two layers of (4 h^2 + 2 h * 96), their biases and norms; tables of 159 + 96 + 2 rows.
        let linear = 2 * (4 * 64 * 64 + 2 * 64 * 96);
        let rest = (159 + 96 + 2) * 64 + 2 * 64 + 2 * (4 * 64 + 96 + 64 + 4 * 64);
        assert_eq!(d.parameters, linear + rest);
        assert_eq!(d.memory.f32, 4 * (linear + rest));
        assert_eq!(d.memory.bf16, 2 * linear + 4 * rest);
        // Its layers are too narrow to be quantised.
        assert_eq!(d.memory.q8_0, 4 * (linear + rest));
        assert_eq!(Memory::new(100, 64, 32).q8_0, 4 * 68 + 34);
        let d = of("qwen3-rerank");
        assert!(d.instruction.unwrap().starts_with("Given a web search query"));
        assert_eq!((d.dimension, d.query_prompt), (1, None));
        // What the adapter brings counts.
        let plain = of("xlmr-rerank").parameters;
        assert_eq!(
            plain - of("xlmr-rerank-2").parameters,
            32 * (4 * 32 + 2 * 48) + 4 * 32 + 48 + 32 + 4 * 32 - 33
        );
    }
}
