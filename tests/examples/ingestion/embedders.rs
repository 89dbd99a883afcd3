//! An embedder that costs nothing: it knows every text beforehand.

use std::{collections::HashMap, sync::Arc, time::Instant};

use anyhow::Result;
use async_trait::async_trait;
use livedex_core::{
    ports::{Embedder, ModelError, ModelInfo, TokenCounter},
    row::{ChunkRow, PreparedChunk},
};
use livedex_testkit::embedder::{HashEmbedder, Words};

/// Vectors by their text.
pub(crate) struct Known {
    info: ModelInfo,
    vectors: HashMap<String, Vec<f32>>,
}

impl Known {
    /// Knows the texts of `chunks`.
    pub(crate) async fn new(chunks: &[PreparedChunk], dimension: usize) -> Result<Self> {
        let hash = HashEmbedder::new(dimension);
        let texts: Vec<String> = chunks.iter().map(|chunk| chunk.embed_text.clone()).collect();
        let embedded = hash.embed_documents(texts.clone()).await?;
        let vectors = texts.into_iter().zip(embedded);
        Ok(Self {
            info: ModelInfo { fingerprint: "known".to_owned(), ..hash.info().clone() },
            vectors: vectors.map(|(text, vector)| Ok((text, vector?))).collect::<Result<_>>()?,
        })
    }

    /// The chunks as rows, ready to write.
    pub(crate) fn rows(&self, chunks: &[PreparedChunk]) -> Vec<ChunkRow> {
        chunks
            .iter()
            .map(|chunk| ChunkRow {
                fields: chunk.fields.clone(),
                vector: self.vectors.get(&chunk.embed_text).cloned().unwrap_or_default(),
            })
            .collect()
    }

    fn vector(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        self.vectors.get(text).cloned().ok_or_else(|| ModelError::Input("unknown text".to_owned()))
    }
}

#[async_trait]
impl Embedder for Known {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokens(&self) -> Arc<dyn TokenCounter> {
        Arc::new(Words)
    }

    async fn embed_documents(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }

    async fn embed_query(
        &self,
        query: &str,
        _instruction: Option<&str>,
        _deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        self.vector(query)
    }
}
