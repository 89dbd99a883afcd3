//! What was computed before: scores of pairs, embeddings of queries.
//!
//! Both models are functions: the same input gives the same numbers. So an entry is never out of date,
//! only forgotten. What is in a key is everything that the number depends on: the model with its
//! tokenizer and prompts (one fingerprint), the instruction, the query, and the text that is scored. A
//! chunk that was updated has another text, hence another key, and never meets an old score.
//!
//! Keys are hashes, so that neither queries nor texts are kept.

use livedex_core::ids::ContentHash;
use moka::sync::Cache;

use crate::metrics;

/// Bytes that an entry takes beside its value: the key, moka's node and its place in two queues.
const ENTRY_BYTES: usize = 160;

/// Values by what they depend on.
#[derive(Clone)]
pub(crate) struct Memory<V> {
    /// Its name in metrics.
    name: &'static str,
    cache: Option<Cache<Key, V>>,
}

/// What a value depends on: 128 bits of BLAKE3, so that two inputs never meet by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u128);

impl Key {
    /// A query, as a model with this fingerprint reads it. No instruction is another key than an empty
    /// one: the model's default is not empty.
    pub(crate) fn of_query(fingerprint: &str, instruction: Option<&str>, query: &str) -> Self {
        let is_given = [u8::from(instruction.is_some())];
        let instruction = instruction.unwrap_or_default();
        Self::of(&[fingerprint.as_bytes(), &is_given, instruction.as_bytes(), query.as_bytes()])
    }

    /// The query with a text that is scored for it.
    pub(crate) fn with(self, text: &str) -> Self {
        Self::of(&[&self.0.to_le_bytes(), text.as_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let hash = ContentHash::of(parts.iter().copied());
        // It is 32 hexadecimal digits.
        Self(u128::from_str_radix(hash.as_str(), 16).unwrap_or_default())
    }
}

impl<V: Clone + Send + Sync + 'static> Memory<V> {
    /// Holds at most `max_bytes` of values of `value_bytes` each; nothing at all with 0.
    pub(crate) fn new(name: &'static str, max_bytes: u64, value_bytes: usize) -> Self {
        let entries = max_bytes / (ENTRY_BYTES + value_bytes) as u64;
        Self { name, cache: (entries > 0).then(|| Cache::new(entries)) }
    }

    /// The values that are known, one a key, in order.
    pub(crate) fn get(&self, keys: &[Key]) -> Vec<Option<V>> {
        let Some(cache) = &self.cache else { return vec![None; keys.len()] };
        let found: Vec<_> = keys.iter().map(|key| cache.get(key)).collect();
        let hits = found.iter().flatten().count();
        metrics::cache(self.name, hits, found.len() - hits);
        found
    }

    pub(crate) fn put(&self, key: Key, value: V) {
        if let Some(cache) = &self.cache {
            cache.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(max_bytes: u64) -> Memory<f32> {
        Memory::new("rerank", max_bytes, size_of::<f32>())
    }

    #[test]
    fn a_score_is_found_for_what_it_was_computed_for_and_nothing_else() {
        let scores = scores(1 << 20);
        let question = Key::of_query("model", None, "why?");
        scores.put(question.with("because"), 0.5);
        let keys = [question.with("because"), question.with("other")];
        assert_eq!(scores.get(&keys), [Some(0.5), None]);
        for other in [
            Key::of_query("model 2", None, "why?"),
            Key::of_query("model", Some(""), "why?"),
            Key::of_query("model", Some("task"), "why?"),
            Key::of_query("model", None, "why"),
        ] {
            assert_eq!(scores.get(&[other.with("because")]), [None]);
        }
    }

    #[test]
    fn where_one_part_ends_and_the_next_begins_matters() {
        let embeddings = Memory::new("embedding", 1 << 20, 8);
        embeddings.put(Key::of_query("m", Some("ab"), "c"), [1.0, 0.0]);
        assert!(embeddings.get(&[Key::of_query("m", Some("ab"), "c")])[0].is_some());
        assert!(embeddings.get(&[Key::of_query("m", Some("a"), "bc")])[0].is_none());
        assert!(embeddings.get(&[Key::of_query("m", None, "c")])[0].is_none());
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        let scores = scores(0);
        let key = Key::of_query("m", None, "q").with("t");
        scores.put(key, 0.5);
        assert_eq!(scores.get(&[key]), [None]);
        let embeddings = Memory::new("embedding", 100, 4096);
        embeddings.put(key, [0.0]);
        assert!(embeddings.get(&[key])[0].is_none());
    }
}
