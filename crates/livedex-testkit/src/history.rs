//! What was produced, and what the collection and the dead letters must therefore say: at the
//! end, and for every committed offset on the way.
//!
//! The promise that [`History::violations`] holds a worker to: for every record below a committed
//! offset, all chunks of it, or of a newer record of its document, are in the collection, and none
//! of an older one; or the record is in the dead-letter topic as it came.
//!
//! A record is noted before it is sent and gets its offset afterwards, so that nothing that shows
//! early is taken for a mistake. Two records of one document are never on their way together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use livedex_core::{
    chunk::Chunker,
    dead_letter,
    document::{Change, Document},
    ids::{ChunkId, ContentHash, DocumentKey},
    record::{RawRecord, SourcePosition},
    row::{ChunkRow, StoredRow, prepare},
};

use crate::{poison::Poison, stack::header};

/// Rows of the collection by document. Those of one document are of one moment.
pub type Rows = HashMap<DocumentKey, Vec<StoredRow>>;

/// How far each document was seen: the offset of the newest record that has shown.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    offsets: HashMap<DocumentKey, i64>,
}

/// Names a record that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ticket {
    /// The n-th event of a document.
    Event(DocumentKey, usize),
    /// The n-th poison.
    Poison(usize),
}

/// Everything that was produced.
pub struct History {
    cutter: Cutter,
    documents: BTreeMap<DocumentKey, Life>,
    poison: Vec<Poisoned>,
}

/// Cuts documents as the worker does.
#[derive(Clone)]
pub struct Cutter {
    chunker: Chunker,
    fingerprint: String,
}

/// The events of one document, in the order in which they were sent, which is that of their
/// offsets.
#[derive(Default)]
struct Life {
    partition: i32,
    events: Vec<Event>,
}

struct Event {
    /// `None` while it is on its way.
    offset: Option<i64>,
    what: What,
}

enum What {
    Version(Box<Version>),
    Deletion,
}

struct Version {
    document: Document,
    chunks: Vec<(ChunkId, ContentHash)>,
}

/// A record that can never be processed.
struct Poisoned {
    /// `None` while it is on its way.
    position: Option<SourcePosition>,
    poison: Poison,
    /// The document that it would have been a version of, if it can be decoded.
    document: Option<DocumentKey>,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl Cutter {
    /// Cuts with `chunker` for the model with this fingerprint.
    pub fn new(chunker: Chunker, fingerprint: impl Into<String>) -> Self {
        Self { chunker, fingerprint: fingerprint.into() }
    }

    fn version(&self, document: Document) -> Result<Version> {
        let nowhere = SourcePosition { topic: Arc::from(""), partition: 0, offset: 0 };
        let chunked = self.chunker.chunk(&document)?;
        let chunks = prepare(&document, chunked, &self.fingerprint, &nowhere)
            .into_iter()
            .map(|chunk| (chunk.fields.id, chunk.fields.attributes_hash))
            .collect();
        Ok(Version { document, chunks })
    }
}

impl History {
    /// Nothing was produced.
    pub fn new(cutter: Cutter) -> Self {
        Self { cutter, documents: BTreeMap::new(), poison: Vec::new() }
    }

    /// Notes an event that is about to be sent.
    pub fn begin(&mut self, change: &Change) -> Result<Ticket> {
        let what = match change {
            Change::Upsert(document) => {
                What::Version(Box::new(self.cutter.version((**document).clone())?))
            }
            Change::Delete(_) => What::Deletion,
        };
        let life = self.documents.entry(change.key().clone()).or_default();
        life.events.push(Event { offset: None, what });
        Ok(Ticket::Event(change.key().clone(), life.events.len() - 1))
    }

    /// Notes poison that is about to be sent. `document` is the document whose key it has.
    pub fn begin_poison(
        &mut self,
        poison: Poison,
        document: Option<&DocumentKey>,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Ticket {
        let document = document.filter(|_| poison.is_document()).cloned();
        self.poison.push(Poisoned { position: None, poison, document, key, value });
        Ticket::Poison(self.poison.len() - 1)
    }

    /// Notes where a record is.
    pub fn landed(&mut self, ticket: &Ticket, position: SourcePosition) -> Result<()> {
        match ticket {
            Ticket::Event(key, nth) => {
                let life = self.documents.get_mut(key).context("an event of no document")?;
                life.partition = position.partition;
                let event = life.events.get_mut(*nth).context("an event that was not noted")?;
                event.offset = Some(position.offset);
            }
            Ticket::Poison(nth) => {
                let poisoned = self.poison.get_mut(*nth).context("poison that was not noted")?;
                poisoned.position = Some(position);
            }
        }
        Ok(())
    }

    /// Records noted, poison included.
    pub fn len(&self) -> usize {
        self.documents.values().map(|life| life.events.len()).sum::<usize>() + self.poison.len()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last version of every document that is not deleted.
    pub fn expected(&self) -> BTreeMap<DocumentKey, Document> {
        let last = |(key, life): (&DocumentKey, &Life)| match &life.events.last()?.what {
            What::Version(version) => Some((key.clone(), version.document.clone())),
            What::Deletion => None,
        };
        self.documents.iter().filter_map(last).collect()
    }

    /// Every document that was ever noted.
    pub fn documents(&self) -> Vec<DocumentKey> {
        self.documents.keys().cloned().collect()
    }

    /// What is wrong with the rows of the documents in `rows` (a document without rows has an
    /// empty list) and with all dead letters, both read after the offsets `committed` (by
    /// partition) were: the first line for each document and poison.
    pub fn violations(
        &self,
        committed: &BTreeMap<i32, i64>,
        rows: &Rows,
        letters: &[RawRecord],
    ) -> Result<Vec<String>> {
        let mut violations = Vec::new();
        for (key, rows) in rows {
            match self.documents.get(key) {
                Some(life) => {
                    let at = committed.get(&life.partition).copied().unwrap_or(0);
                    violations.extend(life.violation(key, at, rows));
                }
                None => violations.push(format!("{key} was never produced, and has rows")),
            }
        }
        let letters = self.by_position(letters, &mut violations)?;
        for poisoned in &self.poison {
            let Some(position) = &poisoned.position else { continue };
            if position.offset >= committed.get(&position.partition).copied().unwrap_or(0) {
                continue;
            }
            match letters.get(&(position.partition, position.offset)) {
                Some(letter) => violations.extend(poisoned.difference(position, letter)?),
                None if self.is_superseded(poisoned, position, rows) => {}
                None => violations.push(format!(
                    "{:?} at {position} is committed, and is no dead letter",
                    poisoned.poison
                )),
            }
        }
        Ok(violations)
    }

    /// Which documents have gone back since they were seen last, or have gone without having been
    /// deleted. A record that is read again after a crash must not bring an old version back, not
    /// even for a moment.
    pub fn gone_back(&self, seen: &mut Seen, rows: &Rows) -> Vec<String> {
        let mut violations = Vec::new();
        for (key, rows) in rows {
            let Some(life) = self.documents.get(key) else { continue };
            let before = seen.offsets.get(key).copied();
            let now = match (rows.iter().map(|row| row.position.offset).max(), before) {
                (Some(newest), _) => newest,
                (None, None) => continue,
                (None, Some(before)) => match life.deleted_since(before) {
                    Ok(Some(at)) => at,
                    // Its tombstone is there, and its offset is not known yet.
                    Ok(None) => continue,
                    Err(()) => {
                        violations.push(format!("{key} is gone after {before}, and not deleted"));
                        continue;
                    }
                },
            };
            match before {
                Some(before) if now < before => {
                    violations.push(format!("{key} shows {now} after it had come to {before}"));
                }
                _ => {
                    seen.offsets.insert(key.clone(), now);
                }
            }
        }
        violations
    }

    /// Dead letters by where their records were. Those of no poison are violations.
    fn by_position<'a>(
        &self,
        letters: &'a [RawRecord],
        violations: &mut Vec<String>,
    ) -> Result<HashMap<(i32, i64), &'a RawRecord>> {
        let known: HashSet<(i32, i64)> = self
            .poison
            .iter()
            .filter_map(|poisoned| poisoned.position.as_ref())
            .map(|position| (position.partition, position.offset))
            .collect();
        let mut found = HashMap::new();
        for letter in letters {
            let partition: i32 = header(letter, dead_letter::PARTITION)?.parse()?;
            let offset: i64 = header(letter, dead_letter::OFFSET)?.parse()?;
            let is_poison = known.contains(&(partition, offset))
                // One whose position is not known yet, or that was sent twice.
                || self.poison.iter().any(|poisoned| poisoned.is_whole(letter));
            if !is_poison {
                let why = header(letter, dead_letter::EXCEPTION_MESSAGE)?;
                violations.push(format!("{partition}@{offset} is a dead letter: {why}"));
            }
            found.insert((partition, offset), letter);
        }
        Ok(found)
    }

    /// Whether a later record of the poison's document has taken effect, which the poison then
    /// cannot have kept from anybody.
    fn is_superseded(&self, poisoned: &Poisoned, position: &SourcePosition, rows: &Rows) -> bool {
        let Some(key) = &poisoned.document else { return false };
        let Some(life) = self.documents.get(key) else { return false };
        // Not read: it was in the middle of a change.
        let Some(rows) = rows.get(key) else { return true };
        let later = |event: &&Event| event.offset.is_none_or(|offset| offset > position.offset);
        is_complete(life.events.iter().filter(later), rows)
    }
}

/// All rows of a collection that nobody changes, by document.
pub fn by_document(rows: &[ChunkRow]) -> Rows {
    let mut by_document = Rows::new();
    for ChunkRow { fields, .. } in rows {
        by_document.entry(fields.document.clone()).or_default().push(StoredRow {
            id: fields.id.clone(),
            attributes_hash: fields.attributes_hash.clone(),
            position: fields.position.clone(),
        });
    }
    by_document
}

impl Life {
    /// The first deletion at `offset` or later: its offset if that is known. `Err` if there is
    /// none.
    fn deleted_since(&self, offset: i64) -> Result<Option<i64>, ()> {
        let is_later = |event: &&Event| event.offset.is_none_or(|at| at >= offset);
        let is_deletion = |event: &&Event| matches!(event.what, What::Deletion);
        let mut deletions = self.events.iter().filter(is_later).filter(is_deletion);
        deletions.next().map(|event| event.offset).ok_or(())
    }

    /// What is wrong with the document's rows, if everything below `committed` is finished.
    fn violation(&self, key: &DocumentKey, committed: i64, rows: &[StoredRow]) -> Option<String> {
        let is_committed = |event: &Event| event.offset.is_some_and(|offset| offset < committed);
        let floor = self.events.iter().rposition(is_committed)?;
        let at = format!("{key}: {}@{}", self.partition, self.events[floor].offset?);
        let events = &self.events[floor..];
        if !is_complete(events.iter(), rows) {
            return Some(format!("{at} is committed, and neither it nor a later one is complete"));
        }
        let allowed: HashSet<(&ChunkId, &ContentHash)> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Version(version) => Some(version.chunks.iter().map(|(id, hash)| (id, hash))),
                What::Deletion => None,
            })
            .flatten()
            .collect();
        let stale = rows.iter().find(|row| !allowed.contains(&(&row.id, &row.attributes_hash)))?;
        Some(format!(
            "{at} is committed, and chunk {} is still as {}@{} left it",
            stale.id, stale.position.partition, stale.position.offset
        ))
    }
}

/// Whether one of these events shows in full: a version with all of its chunks, whatever their
/// attributes; a deletion in any way, since the event after it may be half done.
fn is_complete<'a>(mut events: impl Iterator<Item = &'a Event>, rows: &[StoredRow]) -> bool {
    let ids: HashSet<&ChunkId> = rows.iter().map(|row| &row.id).collect();
    events.any(|event| match &event.what {
        What::Version(version) => version.chunks.iter().all(|(id, _)| ids.contains(id)),
        What::Deletion => true,
    })
}

impl Poisoned {
    fn is_whole(&self, letter: &RawRecord) -> bool {
        letter.key == self.key && letter.value.as_deref() == Some(&self.value)
    }

    /// How the dead letter differs from what was sent.
    fn difference(&self, position: &SourcePosition, letter: &RawRecord) -> Result<Option<String>> {
        let stage = header(letter, dead_letter::STAGE)?;
        let why = if !self.is_whole(letter) {
            "does not have its bytes".to_owned()
        } else if header(letter, dead_letter::TOPIC)? != &*position.topic {
            "names another topic".to_owned()
        } else if stage != self.poison.stage().as_str() {
            format!("says {stage}")
        } else {
            return Ok(None);
        };
        Ok(Some(format!("the dead letter of {:?} at {position} {why}", self.poison)))
    }
}

#[cfg(test)]
mod tests;
