//! The chunker as it is by default: the default embedder's tokenizer, the default lengths.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Result;
use livedex_core::{
    chunk::{ChunkConfig, Chunker},
    limits::{DEFAULT_CHUNK_OVERLAP_TOKENS, DEFAULT_CHUNK_TOKENS},
    ports::TokenCounter,
};
use livedex_model::{ModelSpec, load_embedder};
use livedex_testkit::servers::environment;

/// A tokenizer that reads each text once. Most of each version was in the one before it, and the
/// stream is chunked three times over.
struct Remembering {
    tokenizer: Arc<dyn TokenCounter>,
    counts: Mutex<HashMap<Box<str>, usize>>,
}

impl TokenCounter for Remembering {
    fn count(&self, text: &str) -> usize {
        let known = |counts: &Mutex<HashMap<Box<str>, usize>>| {
            counts.lock().unwrap_or_else(PoisonError::into_inner).get(text).copied()
        };
        known(&self.counts).unwrap_or_else(|| {
            let count = self.tokenizer.count(text);
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.insert(text.into(), count);
            count
        })
    }
}

/// The same one for all tests.
pub(crate) fn chunker() -> Result<Chunker> {
    static TOKENS: LazyLock<Result<Arc<dyn TokenCounter>, String>> = LazyLock::new(|| {
        let environment = environment().map_err(|error| error.to_string())?;
        let spec = ModelSpec::dir(environment.minilm());
        let model = load_embedder(&spec).map_err(|error| error.to_string())?;
        Ok(Arc::new(Remembering { tokenizer: model.tokenizer(), counts: Mutex::default() }))
    });
    let config = ChunkConfig {
        max_tokens: DEFAULT_CHUNK_TOKENS,
        overlap_tokens: DEFAULT_CHUNK_OVERLAP_TOKENS,
    };
    let tokens = TOKENS.clone().map_err(anyhow::Error::msg)?;
    Ok(Chunker::new(config, tokens)?)
}
