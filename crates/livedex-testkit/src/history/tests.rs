//! The checker is checked: every broken promise is seen, and nothing else.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{chunk::ChunkConfig, lease::Lease};

use super::*;
use crate::{embedder::Words, workload::Workload};

/// A history, the rows of each of its versions, and the workload behind it.
struct World {
    history: History,
    workload: Workload,
    next: i64,
}

impl World {
    fn new() -> Self {
        let config = ChunkConfig { max_tokens: 64, overlap_tokens: 0 };
        let chunker = Chunker::new(config, Arc::new(Words)).unwrap();
        let history = History::new(Cutter::new(chunker, "model"));
        Self { history, workload: Workload::new(7), next: 0 }
    }

    /// Produces one change, and returns its offset and, of a version, its rows.
    fn produce(&mut self, change: Change) -> (i64, Vec<ChunkRow>) {
        let ticket = self.history.begin(&change).unwrap();
        let offset = self.next;
        self.next += 1;
        self.history.landed(&ticket, position(offset)).unwrap();
        (offset, self.rows(&change, offset))
    }

    fn rows(&self, change: &Change, offset: i64) -> Vec<ChunkRow> {
        let Change::Upsert(document) = change else { return Vec::new() };
        let cutter = &self.history.cutter;
        let chunked = cutter.chunker.chunk(document).unwrap();
        prepare(document, chunked, "model", &position(offset))
            .into_iter()
            .map(|chunk| ChunkRow { fields: chunk.fields, vector: Vec::new() })
            .collect()
    }

    fn violations(&self, committed: i64, rows: &[ChunkRow]) -> Vec<String> {
        self.letters(committed, rows, &[])
    }

    fn letters(&self, committed: i64, rows: &[ChunkRow], letters: &[RawRecord]) -> Vec<String> {
        let mut rows = by_document(rows);
        for key in self.history.documents() {
            rows.entry(key).or_default();
        }
        self.history.violations(&[(0, committed)].into(), &rows, letters).unwrap()
    }
}

fn position(offset: i64) -> SourcePosition {
    SourcePosition { topic: Arc::from("t"), partition: 0, offset }
}

fn letter(offset: i64, key: &[u8], value: &[u8], stage: &str) -> RawRecord {
    let headers = [
        (dead_letter::TOPIC, "t"),
        (dead_letter::PARTITION, "0"),
        (dead_letter::OFFSET, &offset.to_string()),
        (dead_letter::STAGE, stage),
        (dead_letter::EXCEPTION_MESSAGE, "because"),
    ];
    RawRecord {
        position: SourcePosition { topic: Arc::from("t.dlq"), partition: 0, offset: 0 },
        key: Some(key.to_vec()),
        value: Some(value.to_vec()),
        headers: headers.map(|(name, value)| (name.to_owned(), Some(value.into()))).into(),
        timestamp_ms: None,
        lease: Lease::new(),
    }
}

#[test]
fn a_committed_record_must_show_whole() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let (offset, first) = world.produce(create);
    assert!(world.violations(offset, &[]).is_empty(), "not committed, not there");
    assert_eq!(world.violations(offset + 1, &[]).len(), 1, "committed, not there");
    assert!(world.violations(offset, &first).is_empty(), "not committed, there");
    assert!(world.violations(offset + 1, &first).is_empty());
    assert!(first.len() > 1, "or it could not be there in part");
    let found = world.violations(offset + 1, &first[1..]);
    assert!(found[0].contains("neither it nor a later one is complete"), "{found:?}");
}

#[test]
fn an_update_may_be_half_done_until_it_is_committed() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let (old_offset, old) = world.produce(create);
    let update = world.workload.update(1).remove(0);
    let (offset, new) = world.produce(update);
    // New rows are written, stale ones are not deleted: every row by its key, the new one wins.
    let mut both: BTreeMap<ChunkId, ChunkRow> = BTreeMap::new();
    for row in old.iter().chain(&new) {
        both.insert(row.fields.id.clone(), row.clone());
    }
    let both: Vec<ChunkRow> = both.into_values().collect();
    assert!(both.len() > new.len(), "or nothing would be stale");
    assert!(world.violations(old_offset + 1, &old).is_empty());
    assert!(world.violations(old_offset + 1, &both).is_empty());
    assert!(world.violations(old_offset + 1, &new).is_empty());
    assert!(world.violations(offset + 1, &new).is_empty());
    let found = world.violations(offset + 1, &both);
    assert!(found[0].contains("is still as 0@0 left it"), "{found:?}");
    assert_eq!(world.violations(offset + 1, &old).len(), 1);
}

#[test]
fn a_deletion_takes_all_rows_and_none_come_back() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let (old_offset, old) = world.produce(create.clone());
    let delete = world.workload.delete(1).remove(0);
    let (offset, _) = world.produce(delete);
    assert!(world.violations(old_offset + 1, &[]).is_empty(), "deleted before its commit");
    assert!(world.violations(offset + 1, &[]).is_empty());
    assert_eq!(world.violations(offset + 1, &old[..1]).len(), 1, "one row is left, or back");
    // Created anew: half of it may be there, until it is committed.
    let (again, new) = world.produce(create);
    assert!(world.violations(offset + 1, &new[..1]).is_empty());
    assert_eq!(world.violations(again + 1, &new[..1]).len(), 1);
    assert_eq!(world.history.expected().len(), 1);
}

#[test]
fn what_shows_before_its_offset_is_known_is_no_mistake() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let (offset, old) = world.produce(create);
    let update = world.workload.update(1).remove(0);
    world.history.begin(&update).unwrap();
    let new = world.rows(&update, offset + 1);
    assert!(world.violations(offset + 1, &old).is_empty());
    assert!(world.violations(offset + 1, &new).is_empty());
}

#[test]
fn poison_must_be_a_dead_letter_as_it_came() {
    let mut world = World::new();
    let value = Poison::BrokenJson.value(None, 0);
    let key = Some(b"k".to_vec());
    let ticket = world.history.begin_poison(Poison::BrokenJson, None, key, value.clone());
    world.history.landed(&ticket, position(4)).unwrap();
    let whole = letter(4, b"k", &value, "DECODE");
    assert!(world.letters(4, &[], &[]).is_empty());
    assert_eq!(world.letters(5, &[], &[]).len(), 1);
    assert!(world.letters(5, &[], &[whole.clone(), whole.clone()]).is_empty(), "at least once");
    for (wrong, what) in [
        (letter(4, b"k", b"other", "DECODE"), "does not have its bytes"),
        (letter(4, b"k", &value, "EMBED"), "says EMBED"),
    ] {
        let found = world.letters(5, &[], &[wrong]);
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }
    let good = letter(3, b"a", b"b", "DECODE");
    let found = world.letters(5, &[], &[whole, good]);
    assert!(found[0].contains("0@3 is a dead letter"), "{found:?}");
}

#[test]
fn a_later_version_makes_up_for_poison_that_could_be_decoded() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let key = create.key().clone();
    let (_, old) = world.produce(create.clone());
    let value = Poison::Unembeddable.value(Some(&key), 0);
    let bytes = Some(key.id.as_str().as_bytes().to_vec());
    let ticket = world.history.begin_poison(Poison::Unembeddable, Some(&key), bytes, value);
    world.history.landed(&ticket, position(1)).unwrap();
    world.next = 2;
    assert_eq!(world.violations(2, &old).len(), 1, "the version before it does not");
    let Change::Upsert(mut document) = create else { panic!("a deletion") };
    document.text.push_str("\n## More\n\nA section that was not there.\n");
    let (offset, new) = world.produce(Change::Upsert(document));
    assert_eq!(world.violations(2, &old).len(), 1);
    assert!(world.violations(2, &new).is_empty());
    assert!(world.violations(offset + 1, &new).is_empty());
}

#[test]
fn a_document_never_goes_back() {
    let mut world = World::new();
    let create = world.workload.create(1).unwrap().remove(0);
    let key = create.key().clone();
    let (_, old) = world.produce(create.clone());
    let update = world.workload.update(1).remove(0);
    let (_, new) = world.produce(update);
    let mut seen = Seen::default();
    let mut look = |world: &World, rows: &[ChunkRow]| {
        let mut rows = by_document(rows);
        rows.entry(key.clone()).or_default();
        world.history.gone_back(&mut seen, &rows)
    };
    assert!(look(&world, &[]).is_empty(), "not there yet");
    assert!(look(&world, &old).is_empty() && look(&world, &new).is_empty());
    assert!(look(&world, &old)[0].ends_with("shows 0 after it had come to 1"));
    assert!(look(&world, &[])[0].ends_with("is gone after 1, and not deleted"));
    let delete = world.workload.delete(1).remove(0);
    let ticket = world.history.begin(&delete).unwrap();
    assert!(look(&world, &[]).is_empty(), "the tombstone is on its way");
    world.history.landed(&ticket, position(2)).unwrap();
    world.next = 3;
    assert!(look(&world, &new).is_empty(), "not deleted yet");
    assert!(look(&world, &[]).is_empty());
    assert!(look(&world, &new)[0].ends_with("shows 1 after it had come to 2"), "it came back");
    let (_, again) = world.produce(create);
    assert!(look(&world, &again).is_empty(), "it was made anew");
}
