//! What was computed before: scores of pairs, embeddings of queries.
//!
//! Both models are functions: the same input gives the same numbers. So an entry is never out of date,
//! only forgotten. What is in a key is everything that the number depends on: the model with its
//! tokenizer and prompts (one fingerprint), the instruction, the query, and the text that is scored. A
//! chunk that was updated has another text, hence another key, and never meets an old score.
//!
//! Keys are hashes, so that neither queries nor texts are kept.

use std::sync::Arc;

use livedex_core::ids::ContentHash;
use moka::sync::Cache;

use crate::metrics;

/// Bytes that an entry takes beside its value: the key, moka's node and its place in two queues.
const ENTRY_BYTES: usize = 160;

/// Scores by (reranker, instruction, query, text).
#[derive(Debug, Clone)]
pub(crate) struct ScoreCache(Option<Cache<Key, f32>>);

/// Embeddings by (embedder, instruction, query).
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingCache(Option<Cache<Key, Arc<[f32]>>>);

/// 128 bits of BLAKE3: two inputs never meet by chance.
type Key = u128;

/// What all pairs of one reranking have in common.
#[derive(Debug, Clone)]
pub(crate) struct Question(ContentHash);

impl Question {
    pub(crate) fn new(fingerprint: &str, instruction: Option<&str>, query: &str) -> Self {
        Self(hash(fingerprint, instruction, query))
    }

    fn with(&self, text: &str) -> Key {
        key(&ContentHash::of([self.0.as_str().as_bytes(), text.as_bytes()]))
    }
}

impl ScoreCache {
    /// Holds at most `max_bytes`; nothing at all with 0.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = max_bytes / (ENTRY_BYTES + size_of::<f32>()) as u64;
        Self((entries > 0).then(|| Cache::new(entries)))
    }

    /// The scores that are known, one a text, in order.
    pub(crate) fn get(&self, question: &Question, texts: &[String]) -> Vec<Option<f32>> {
        let Some(cache) = &self.0 else { return vec![None; texts.len()] };
        let found: Vec<_> = texts.iter().map(|text| cache.get(&question.with(text))).collect();
        let hits = found.iter().flatten().count();
        metrics::cache("rerank", hits, found.len() - hits);
        found
    }

    pub(crate) fn put(&self, question: &Question, text: &str, score: f32) {
        if let Some(cache) = &self.0 {
            cache.insert(question.with(text), score);
        }
    }
}

impl EmbeddingCache {
    /// Holds at most `max_bytes` of embeddings of `dimension` numbers; nothing at all with 0.
    pub(crate) fn new(max_bytes: u64, dimension: usize) -> Self {
        let entries = max_bytes / (ENTRY_BYTES + dimension * size_of::<f32>()) as u64;
        Self((entries > 0).then(|| Cache::new(entries)))
    }

    pub(crate) fn get(
        &self,
        fingerprint: &str,
        instruction: Option<&str>,
        query: &str,
    ) -> Option<Arc<[f32]>> {
        let found = self.0.as_ref()?.get(&key(&hash(fingerprint, instruction, query)));
        metrics::cache("embedding", usize::from(found.is_some()), usize::from(found.is_none()));
        found
    }

    pub(crate) fn put(
        &self,
        fingerprint: &str,
        instruction: Option<&str>,
        query: &str,
        vector: &[f32],
    ) {
        if let Some(cache) = &self.0 {
            cache.insert(key(&hash(fingerprint, instruction, query)), vector.into());
        }
    }
}

/// No instruction is another key than an empty one: the model's default is not empty.
fn hash(fingerprint: &str, instruction: Option<&str>, query: &str) -> ContentHash {
    let is_given = [u8::from(instruction.is_some())];
    let instruction = instruction.unwrap_or_default();
    ContentHash::of([fingerprint.as_bytes(), &is_given, instruction.as_bytes(), query.as_bytes()])
}

/// A hash is 32 hexadecimal digits.
fn key(hash: &ContentHash) -> Key {
    u128::from_str_radix(hash.as_str(), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_score_is_found_for_what_it_was_computed_for_and_nothing_else() {
        let cache = ScoreCache::new(1 << 20);
        let question = Question::new("model", None, "why?");
        cache.put(&question, "because", 0.5);
        assert_eq!(cache.get(&question, &texts(&["because", "other"])), [Some(0.5), None]);
        for other in [
            Question::new("model 2", None, "why?"),
            Question::new("model", Some(""), "why?"),
            Question::new("model", Some("task"), "why?"),
            Question::new("model", None, "why"),
        ] {
            assert_eq!(cache.get(&other, &texts(&["because"])), [None]);
        }
    }

    #[test]
    fn where_one_part_ends_and_the_next_begins_matters() {
        let cache = EmbeddingCache::new(1 << 20, 2);
        cache.put("m", Some("ab"), "c", &[1.0, 0.0]);
        assert!(cache.get("m", Some("ab"), "c").is_some());
        assert!(cache.get("m", Some("a"), "bc").is_none());
        assert!(cache.get("m", None, "c").is_none());
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        let scores = ScoreCache::new(0);
        let question = Question::new("m", None, "q");
        scores.put(&question, "t", 0.5);
        assert_eq!(scores.get(&question, &texts(&["t"])), [None]);
        let embeddings = EmbeddingCache::new(100, 1024);
        embeddings.put("m", None, "q", &[0.0]);
        assert!(embeddings.get("m", None, "q").is_none());
    }
}
