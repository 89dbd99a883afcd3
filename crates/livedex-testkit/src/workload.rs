//! Documents, updates and deletions from a seed: the same seed gives the same events.
//!
//! The documents are markdown of varied length (one to a dozen sections with headings, lists,
//! code, some non-Latin text, now and then a paragraph twice), so that chunks differ in number
//! and shape. Updates edit a section, drop sections, add some, rename, or replace everything.

use std::collections::BTreeMap;

use livedex_core::{
    document::{Change, ContentType, Document, MetadataValue},
    ids::{DocumentId, DocumentKey, IdError, Tenant},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// A stream of events and the state that they lead to.
#[derive(Debug)]
pub struct Workload {
    rng: StdRng,
    created: usize,
    versions: i64,
    live: BTreeMap<DocumentKey, Draft>,
    gone: Vec<DocumentKey>,
}

/// A document in parts, so that an update can change one of them.
#[derive(Debug, Clone)]
struct Draft {
    title: String,
    sections: Vec<String>,
    version: i64,
}

impl Workload {
    /// A stream that begins with nothing.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            created: 0,
            versions: 0,
            live: BTreeMap::new(),
            gone: Vec::new(),
        }
    }

    /// `count` new documents.
    pub fn create(&mut self, count: usize) -> Result<Vec<Change>, IdError> {
        (0..count)
            .map(|_| {
                let id = format!("docs/{:02}/page-{:05}.md", self.created % 17, self.created);
                self.created += 1;
                let key = DocumentKey { tenant: Tenant::default(), id: DocumentId::new(id)? };
                let draft = self.draft();
                Ok(self.put(key, draft))
            })
            .collect()
    }

    /// A new version of `count` documents, each at most once (fewer if fewer are live). One in
    /// three is shorter than before.
    pub fn update(&mut self, count: usize) -> Vec<Change> {
        self.pick(count)
            .into_iter()
            .enumerate()
            .map(|(index, key)| {
                let mut draft = self.live.get(&key).cloned().unwrap_or_else(|| self.draft());
                self.edit(&mut draft, index % 3 == 0);
                self.put(key, draft)
            })
            .collect()
    }

    /// Deletes `count` documents (fewer if fewer are live).
    pub fn delete(&mut self, count: usize) -> Vec<Change> {
        let keys = self.pick(count);
        for key in &keys {
            self.live.remove(key);
        }
        self.gone.extend(keys.iter().cloned());
        keys.into_iter().map(Change::Delete).collect()
    }

    /// Creates `count` documents anew that were deleted (fewer if fewer were).
    pub fn recreate(&mut self, count: usize) -> Vec<Change> {
        let count = count.min(self.gone.len());
        let keys: Vec<_> = self.gone.drain(..count).collect();
        keys.into_iter()
            .map(|key| {
                let draft = self.draft();
                self.put(key, draft)
            })
            .collect()
    }

    /// Some live document, if there is one.
    pub fn any(&mut self) -> Option<DocumentKey> {
        self.pick(1).pop()
    }

    /// The last version of every live document.
    pub fn expected(&self) -> BTreeMap<DocumentKey, Document> {
        self.live.iter().map(|(key, draft)| (key.clone(), draft.document(key))).collect()
    }

    /// The documents that are deleted, in the order of their deletion.
    pub fn deleted(&self) -> &[DocumentKey] {
        &self.gone
    }

    fn put(&mut self, key: DocumentKey, mut draft: Draft) -> Change {
        self.versions += 1;
        draft.version = self.versions;
        let document = draft.document(&key);
        self.live.insert(key, draft);
        Change::Upsert(Box::new(document))
    }

    fn pick(&mut self, count: usize) -> Vec<DocumentKey> {
        let keys: Vec<_> = self.live.keys().cloned().collect();
        keys.sample(&mut self.rng, count).cloned().collect()
    }

    fn edit(&mut self, draft: &mut Draft, shorter: bool) {
        if shorter {
            // At least one section goes, unless there is only one, which is then replaced by a
            // single sentence.
            if draft.sections.len() > 1 {
                let keep = self.rng.random_range(1..draft.sections.len());
                draft.sections.truncate(keep);
            } else {
                draft.sections = vec![self.sentence()];
            }
            return;
        }
        match self.rng.random_range(0..4) {
            0 => {
                let at = self.rng.random_range(0..draft.sections.len());
                draft.sections[at] = self.section();
            }
            1 => {
                let at = self.rng.random_range(0..=draft.sections.len());
                let section = self.section();
                draft.sections.insert(at, section);
            }
            2 => draft.title = self.title(),
            _ => *draft = self.draft(),
        }
    }

    fn draft(&mut self) -> Draft {
        // Mostly short, a few long ones.
        let count = if self.rng.random_bool(0.1) { 12 } else { self.rng.random_range(1..6) };
        let sections = (0..count).map(|_| self.section()).collect();
        Draft { title: self.title(), sections, version: 0 }
    }

    fn title(&mut self) -> String {
        let words: Vec<_> = (0..self.rng.random_range(2..5)).map(|_| self.word()).collect();
        format!("The {} of {}", words[0], words[1..].join(" "))
    }

    fn section(&mut self) -> String {
        let level = self.rng.random_range(2..4);
        let mut text = format!("{} {} {}\n", "#".repeat(level), self.word(), self.word());
        for _ in 0..self.rng.random_range(1..4) {
            let paragraph = self.paragraph();
            text.push('\n');
            text.push_str(&paragraph);
            text.push('\n');
            if self.rng.random_bool(0.05) {
                text.push_str(&format!("\n{paragraph}\n"));
            }
        }
        text
    }

    fn paragraph(&mut self) -> String {
        match self.rng.random_range(0..10) {
            0 => {
                let items = self.rng.random_range(2..6);
                (0..items)
                    .map(|_| format!("- {} {}", self.word(), self.word()))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            1 => format!("```\nlet {} = {};\n```", self.word(), self.rng.random_range(0..1000)),
            _ => {
                let sentences = self.rng.random_range(1..7);
                (0..sentences).map(|_| self.sentence()).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn sentence(&mut self) -> String {
        let length = self.rng.random_range(4..18);
        let words: Vec<_> = (0..length).map(|_| self.word()).collect();
        format!("Number {} {}.", self.rng.random_range(0..1_000_000), words.join(" "))
    }

    fn word(&mut self) -> &'static str {
        WORDS.choose(&mut self.rng).copied().unwrap_or("word")
    }
}

impl Draft {
    fn document(&self, key: &DocumentKey) -> Document {
        Document {
            key: key.clone(),
            title: Some(self.title.clone()),
            text: format!("# {}\n\n{}", self.title, self.sections.join("\n")),
            content_type: ContentType::Markdown,
            url: Some(format!("https://docs.example.org/{}", key.id)),
            metadata: [
                ("version".to_owned(), MetadataValue::Int(self.version)),
                ("even".to_owned(), MetadataValue::Bool(self.version % 2 == 0)),
                (
                    "tags".to_owned(),
                    MetadataValue::Strings(vec![
                        "generated".to_owned(),
                        format!("t{}", self.version % 5),
                    ]),
                ),
            ]
            .into(),
            version: Some(self.version.to_string()),
            updated_at_ms: Some(1_700_000_000_000 + self.version),
        }
    }
}

/// Ordinary words, a few that are several tokens, a few outside ASCII.
const WORDS: [&str; 64] = [
    "partition",
    "offset",
    "the",
    "of",
    "a",
    "broker",
    "collection",
    "vector",
    "index",
    "query",
    "stream",
    "consumer",
    "producer",
    "commit",
    "chunk",
    "document",
    "embedding",
    "is",
    "not",
    "with",
    "before",
    "after",
    "every",
    "write",
    "read",
    "delete",
    "tombstone",
    "watermark",
    "leader",
    "replica",
    "segment",
    "log",
    "retention",
    "compaction",
    "schema",
    "cluster",
    "node",
    "memory",
    "disk",
    "network",
    "latency",
    "throughput",
    "batch",
    "token",
    "model",
    "layer",
    "attention",
    "score",
    "rank",
    "candidate",
    "tenant",
    "filter",
    "metadata",
    "heading",
    "antidisestablishmentarianism",
    "café",
    "Straße",
    "naïve",
    "データ",
    "поток",
    "向量",
    "🦀",
    "don't",
    "e.g.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_events_and_another_seed_others() {
        let events = |seed| {
            let mut workload = Workload::new(seed);
            let mut events = workload.create(20).unwrap();
            events.extend(workload.update(10));
            events.extend(workload.delete(5));
            events
        };
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
    }

    #[test]
    fn what_is_expected_is_the_last_version_of_what_is_not_deleted() {
        let mut workload = Workload::new(3);
        let created = workload.create(50).unwrap();
        let updated = workload.update(30);
        let deleted = workload.delete(10);
        assert_eq!((created.len(), updated.len(), deleted.len()), (50, 30, 10));
        let mut state = BTreeMap::new();
        for change in created.into_iter().chain(updated).chain(deleted) {
            match change {
                Change::Upsert(document) => {
                    state.insert(document.key.clone(), *document);
                }
                Change::Delete(key) => {
                    assert!(state.remove(&key).is_some());
                }
            }
        }
        assert_eq!(state, workload.expected());
        assert_eq!(workload.deleted().len(), 10);
        assert!(workload.deleted().iter().all(|key| !state.contains_key(key)));
    }

    #[test]
    fn what_was_deleted_first_is_created_anew_first() {
        let mut workload = Workload::new(6);
        workload.create(10).unwrap();
        let deleted = workload.delete(4);
        let again = workload.recreate(3);
        let keys = |changes: &[Change]| -> Vec<DocumentKey> {
            changes.iter().map(|change| change.key().clone()).collect()
        };
        assert_eq!(keys(&again), keys(&deleted[..3]));
        assert_eq!(workload.deleted(), keys(&deleted[3..]));
        assert!(again.iter().all(|change| workload.expected().contains_key(change.key())));
        assert_eq!(workload.recreate(9).len(), 1);
    }

    #[test]
    fn some_updates_are_shorter_and_some_longer() {
        let mut workload = Workload::new(4);
        workload.create(60).unwrap();
        let before = workload.expected();
        let lengths = workload.update(60).into_iter().filter_map(|change| match change {
            Change::Upsert(document) => {
                Some(document.text.len().cmp(&before[&document.key].text.len()))
            }
            Change::Delete(_) => None,
        });
        let lengths: Vec<_> = lengths.collect();
        assert!(lengths.iter().filter(|order| order.is_lt()).count() >= 20);
        assert!(lengths.iter().any(|order| order.is_gt()));
    }
}
