//! What a configuration says about a model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    precision::{Matmul, Precision},
};

/// A model to load: where it is, and what of it the operator sets differently.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Where its files are.
    pub source: ModelSource,
    /// A folder with a PEFT LoRA adapter (`adapter_config.json`, `adapter_model.safetensors`),
    /// merged into the weights at load.
    pub adapter: Option<PathBuf>,
    /// The SHA-256 of `model.safetensors`, in hexadecimal; loading fails on another one. Not
    /// possible for a sharded model.
    pub expected_sha256: Option<String>,
    /// Tokens of one input, special tokens included; at most what the model has positions for.
    /// `None`: what the model's files say.
    pub max_tokens: Option<usize>,
    /// Matryoshka: keep this many leading dimensions and normalise again. `None`: all.
    pub dimension: Option<usize>,
    /// The task that a query is embedded or scored for, where a family has instructions
    /// (Qwen3). `None`: the family's default.
    pub instruction: Option<String>,
    /// What an embedder puts before a query, in place of what the model's files say; for models
    /// that were trained with one but do not say so (multilingual-e5: `query: `). In a family
    /// with instructions it stands for the whole `Instruct: ...` line, before [`Self::instruction`].
    pub query_prompt: Option<String>,
    /// What an embedder puts before a document, in place of what the model's files say.
    pub document_prompt: Option<String>,
    /// Which of the published forms of its prompt a reranker gets. `None`: the default. Loading
    /// fails where it is set for a model that has no such prompt.
    pub prompt_form: Option<PromptForm>,
    /// What a reranker does with a document that does not fit a pair. An embedder truncates.
    pub long_documents: LongDocuments,
    /// The numbers that the linear layers compute in.
    pub precision: Precision,
    /// Who multiplies matrices.
    pub matmul: Matmul,
    /// Where it computes. Models that are to share a GPU get the same one.
    pub device: Device,
}

impl ModelSpec {
    /// A model as its files describe it.
    pub fn new(source: ModelSource) -> Self {
        Self {
            source,
            adapter: None,
            expected_sha256: None,
            max_tokens: None,
            dimension: None,
            instruction: None,
            query_prompt: None,
            document_prompt: None,
            prompt_form: None,
            long_documents: LongDocuments::default(),
            precision: Precision::default(),
            matmul: Matmul::default(),
            device: Device::cpu(),
        }
    }

    /// A model in a folder, as its files describe it.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self::new(ModelSource::Dir(path.into()))
    }
}

/// The forms in which Qwen3-Reranker's model card prints its prompt. They differ in what stands
/// between instruction, query and document, and their scores differ a little.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptForm {
    /// One newline: its form for transformers.
    #[default]
    OneNewline,
    /// Two newlines: its form for vLLM.
    TwoNewlines,
}

/// What a reranker does with a document that does not fit a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongDocuments {
    /// Splits it at token boundaries into parts that do and overlap a little, at most
    /// [`MAX_PARTS`](crate::scheduler::limits::MAX_PARTS); its score is the best part's.
    #[default]
    BestPart,
    /// Scores its beginning, as the models' cards do.
    Truncate,
}

/// Where a model's files are.
#[derive(Clone)]
pub enum ModelSource {
    /// A folder in Hugging Face layout.
    Dir(PathBuf),
    /// A repository of a model hub; files are downloaded once into the cache.
    Hub {
        /// `owner/name`.
        repo: String,
        /// A branch, tag or commit; `None`: `main`.
        revision: Option<String>,
        /// The hub's address without a trailing slash; `None`: `https://huggingface.co`.
        endpoint: Option<String>,
        /// The access token of a private or gated repository.
        token: Option<String>,
        /// The cache folder, in the layout of `HF_HOME/hub`; `None`: `HF_HOME/hub`, else
        /// `~/.cache/huggingface/hub`.
        cache_dir: Option<PathBuf>,
    },
}

impl ModelSource {
    /// The name people know it by: the folder's path or the repository's id.
    pub fn name(&self) -> String {
        match self {
            Self::Dir(path) => path.display().to_string(),
            Self::Hub { repo, .. } => repo.clone(),
        }
    }
}

// By hand: a token must never be printed.
impl std::fmt::Debug for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dir(path) => f.debug_tuple("Dir").field(path).finish(),
            Self::Hub { repo, revision, endpoint, token, cache_dir } => f
                .debug_struct("Hub")
                .field("repo", repo)
                .field("revision", revision)
                .field("endpoint", endpoint)
                .field("token", &token.as_ref().map(|_| "***"))
                .field("cache_dir", cache_dir)
                .finish(),
        }
    }
}
