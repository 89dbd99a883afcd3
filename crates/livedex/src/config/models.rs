//! `[embedder]`, `[reranker]` and `[hub]` to what the loader takes.

use std::path::{Path, PathBuf};

use livedex_model::{Matmul, ModelSource, ModelSpec};

use super::{
    raw::{RawEmbedder, RawReranker},
    secret::Secret,
};

/// The embedder, if one is named.
pub(super) fn embedder(
    raw: &RawEmbedder,
    matmul: Matmul,
    hub: &Hub,
    base: &Path,
) -> Option<ModelSpec> {
    let model = raw.model.as_deref()?;
    Some(ModelSpec {
        adapter: raw.adapter.as_ref().map(|path| base.join(path)),
        expected_sha256: raw.sha256.clone(),
        max_tokens: raw.max_tokens,
        dimension: raw.dimension,
        instruction: raw.instruction.clone(),
        query_prompt: raw.query_prompt.clone(),
        document_prompt: raw.document_prompt.clone(),
        precision: raw.precision,
        matmul,
        ..ModelSpec::new(hub.source(base, model, raw.revision.as_deref()))
    })
}

/// The reranker, if one is named and it is not switched off.
pub(super) fn reranker(
    raw: &RawReranker,
    matmul: Matmul,
    hub: &Hub,
    base: &Path,
) -> Option<ModelSpec> {
    let model = raw.model.as_deref().filter(|_| raw.enabled)?;
    Some(ModelSpec {
        adapter: raw.adapter.as_ref().map(|path| base.join(path)),
        expected_sha256: raw.sha256.clone(),
        max_tokens: raw.max_tokens,
        instruction: raw.instruction.clone(),
        precision: raw.precision,
        matmul,
        prompt_form: raw.prompt_form,
        long_documents: raw.long_documents,
        ..ModelSpec::new(hub.source(base, model, raw.revision.as_deref()))
    })
}

/// Where models come from that are no folder: `[hub]`.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) endpoint: Option<String>,
    /// The access token, already read from its file.
    pub(super) token: Option<Secret>,
    pub(super) cache_dir: Option<PathBuf>,
}

impl Hub {
    /// A folder where there is one, below `base`; else a hub id where it looks like one
    /// (`owner/name`); else a folder, so that the error speaks of a missing folder.
    pub(crate) fn source(&self, base: &Path, model: &str, revision: Option<&str>) -> ModelSource {
        let dir: PathBuf = base.join(model);
        if dir.is_dir() || !looks_like_hub_id(model) {
            return ModelSource::Dir(dir);
        }
        ModelSource::Hub {
            repo: model.to_owned(),
            revision: revision.map(str::to_owned),
            endpoint: self.endpoint.clone(),
            token: self.token.as_ref().map(|token| token.expose().to_owned()),
            cache_dir: self.cache_dir.clone(),
        }
    }
}

fn looks_like_hub_id(model: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    model.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use livedex_model::{LongDocuments, Precision, PromptForm};

    use super::*;

    #[test]
    fn what_a_reranker_does_with_prompt_and_length_is_passed_on() {
        let spec = |toml: &str| {
            let raw: RawReranker = toml::from_str(toml).unwrap();
            let hub = Hub { endpoint: None, token: None, cache_dir: None };
            reranker(&raw, Matmul::Candle, &hub, Path::new(".")).unwrap()
        };
        let plain = spec("model = 'a/b'");
        assert_eq!((plain.prompt_form, plain.long_documents), (None, LongDocuments::BestPart));
        assert_eq!((plain.precision, plain.matmul), (Precision::Auto, Matmul::Candle));
        let set = spec(
            "model = 'a/b'\nprecision = 'q8_0'\nprompt_form = 'two-newlines'\nlong_documents = 'truncate'\n",
        );
        assert_eq!(set.prompt_form, Some(PromptForm::TwoNewlines));
        assert_eq!(set.long_documents, LongDocuments::Truncate);
        assert_eq!(set.precision, Precision::Q8_0);
    }

    #[test]
    fn hub_ids_are_told_from_paths() {
        for id in ["Qwen/Qwen3-Embedding-0.6B", "sentence-transformers/all-MiniLM-L6-v2"] {
            assert!(looks_like_hub_id(id), "{id}");
        }
        for path in ["model", "./model", "/srv/model", "a/b/c", "../x", "~/x", "a/"] {
            assert!(!looks_like_hub_id(path), "{path}");
        }
    }
}
