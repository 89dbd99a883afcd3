//! An embedder without a model, for suites in which the model does not matter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use livedex_core::{
    ids::ContentHash,
    ports::{Embedder, ModelError, ModelInfo, TokenCounter},
};

/// Counts words: what stands between white space.
#[derive(Debug, Clone, Copy)]
pub struct Words;

impl TokenCounter for Words {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
}

/// Embeds by hashing: equal texts have equal vectors, others point anywhere. A query finds the
/// chunk whose embedded text it repeats.
#[derive(Debug, Clone)]
pub struct HashEmbedder {
    info: ModelInfo,
    embedded: Arc<AtomicU64>,
}

impl HashEmbedder {
    /// An embedder of vectors with `dimension` numbers (at least 1).
    pub fn new(dimension: usize) -> Self {
        Self {
            info: ModelInfo {
                name: "hash".to_owned(),
                fingerprint: format!("hash-{dimension}"),
                dimension,
                max_tokens: usize::MAX,
            },
            embedded: Arc::default(),
        }
    }

    /// Texts of documents that it has embedded, its clones included.
    pub fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::Relaxed)
    }

    /// The vector of a text, L2-normalised: a function of the text alone.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..self.info.dimension)
            .map(|index| {
                let hash = ContentHash::of([text.as_bytes(), &index.to_le_bytes()]);
                // Four hexadecimal digits: 0 to 65,535.
                let number = u16::from_str_radix(&hash.as_str()[..4], 16).unwrap_or(0);
                f32::from(number) / 32_768.0 - 1.0
            })
            .collect();
        let norm = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        for number in &mut numbers {
            *number /= norm.max(f32::MIN_POSITIVE);
        }
        numbers
    }
}

#[async_trait]
impl Embedder for HashEmbedder {
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
        self.embedded.fetch_add(texts.len() as u64, Ordering::Relaxed);
        Ok(texts.iter().map(|text| Ok(self.vector(text))).collect())
    }

    async fn embed_query(
        &self,
        query: &str,
        _instruction: Option<&str>,
        _deadline: Option<Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        Ok(self.vector(query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn equal_texts_are_near_and_others_are_not() {
        let embedder = HashEmbedder::new(64);
        let texts = vec!["one text".to_owned(), "another text".to_owned()];
        let vectors: Vec<_> = embedder
            .embed_documents(texts)
            .await
            .unwrap()
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(embedder.embedded(), 2);
        let query = embedder.embed_query("one text", None, None).await.unwrap();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        assert!((dot(&query, &vectors[0]) - 1.0).abs() < 1e-5);
        assert!(dot(&query, &vectors[1]).abs() < 0.6);
    }
}
