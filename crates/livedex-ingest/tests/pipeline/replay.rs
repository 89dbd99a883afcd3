//! Records that come again from the dead-letter topic: an old version never takes the place of a
//! newer one, and of several that were refused the last one counts.

use std::sync::atomic::Ordering;

use livedex_core::{
    ports::ServiceError,
    record::{RawRecord, SourcePosition},
    replay::replayed_from_header,
};
use livedex_ingest::PipelineConfig;
use proptest::prelude::*;

use crate::rig::*;

/// A record at `offset` that stood at `first` before.
fn replayed(world: &World, offset: i64, first: i64, id: &str, value: Option<&str>) -> RawRecord {
    let mut record = world.record(offset, id, value);
    let first = SourcePosition { offset: first, ..record.position.clone() };
    record.headers.push(replayed_from_header(&first));
    record
}

/// The offsets that a document's rows carry.
fn row_offsets(world: &World) -> Vec<i64> {
    let rows = world.store.rows.lock().unwrap();
    let mut offsets: Vec<i64> = rows.values().map(|row| row.fields.position.offset).collect();
    offsets.sort_unstable();
    offsets
}

#[tokio::test]
async fn an_old_version_does_not_take_the_place_of_a_newer_one() {
    for same_wave in [false, true] {
        let world = World::new();
        let newer = world.record(7, "a", Some(&value("x", &["new"])));
        // Version 5 was refused, and is replayed now that 7 is in the collection.
        let older = replayed(&world, 20, 5, "a", Some(&value("x", &["old", "older"])));
        let summary = if same_wave {
            world.run(vec![newer, older], 2).await
        } else {
            world.run(vec![newer], 1).await;
            world.run(vec![older], 1).await
        };
        assert_eq!(summary.replays, u64::from(!same_wave));
        assert!(world.store.texts("a").concat().contains("end of new"), "same wave: {same_wave}");
        assert_eq!((world.store.texts("a").len(), row_offsets(&world)), (1, vec![7]));
        assert_eq!(world.acks.offsets(), [7, 20], "it is finished all the same");
    }
}

#[tokio::test]
async fn an_old_tombstone_does_not_delete_a_newer_version() {
    let world = World::new();
    world.run(vec![world.record(7, "a", Some(&value("x", &["new"])))], 1).await;
    world.run(vec![replayed(&world, 20, 5, "a", None)], 1).await;
    assert_eq!(world.store.texts("a").len(), 1);
    world.run(vec![replayed(&world, 21, 8, "a", None)], 1).await;
    assert_eq!(world.store.texts("a").len(), 0, "a newer one does");
}

#[tokio::test]
async fn what_was_deleted_since_does_not_come_back() {
    for (batch, is_known) in [(1, true), (3, true), (1, false), (3, false)] {
        let world = World::new();
        let mut records = vec![
            world.record(1, "a", Some(&value("x", &["first"]))),
            world.record(7, "a", None),
            replayed(&world, 20, 5, "a", Some(&value("x", &["refused"]))),
        ];
        if !is_known {
            // Its first version is the one that was refused.
            records.remove(0);
        }
        world.run(records, batch).await;
        assert_eq!(world.store.texts("a").len(), 0, "{batch}, {is_known}");
        // A version after the tombstone, refused and replayed, is alive.
        world.run(vec![replayed(&world, 21, 8, "a", Some(&value("x", &["alive"])))], 1).await;
        assert!(world.store.texts("a")[0].contains("end of alive"));
    }
}

#[tokio::test]
async fn of_several_versions_that_were_refused_the_last_one_counts() {
    // Replayed in order, one run or one wave; and in the wrong order.
    for (order, batch) in [([5, 8], 1), ([5, 8], 2), ([8, 5], 1), ([8, 5], 2)] {
        let world = World::new();
        world.run(vec![world.record(1, "a", Some(&value("x", &["first"])))], 1).await;
        let records = order.into_iter().zip(20..).map(|(first, offset)| {
            let name = format!("v{first}");
            replayed(&world, offset, first, "a", Some(&value("x", &[&name])))
        });
        world.run(records.collect(), batch).await;
        let texts = world.store.texts("a");
        assert!(
            texts.len() == 1 && texts[0].contains("end of v8"),
            "{order:?}, {batch}: {texts:?}"
        );
        assert_eq!(row_offsets(&world), [8], "the rows are of the version, wherever it stands now");
        // The next version from its producer is never taken for an old one.
        world.run(vec![world.record(30, "a", Some(&value("x", &["next"])))], 1).await;
        assert!(world.store.texts("a")[0].contains("end of next"));
    }
}

#[tokio::test]
async fn a_letter_that_is_replayed_twice_changes_nothing_the_second_time() {
    let world = World::new();
    let text = value("x", &["one", "two"]);
    world.run(vec![replayed(&world, 20, 5, "a", Some(&text))], 1).await;
    let before = world.store.rows.lock().unwrap().clone();
    let upserted = world.store.upserted.load(Ordering::SeqCst);
    let embedded = world.embedder.texts.load(Ordering::SeqCst);
    world.run(vec![replayed(&world, 21, 5, "a", Some(&text))], 1).await;
    assert_eq!(*world.store.rows.lock().unwrap(), before);
    assert_eq!(world.store.upserted.load(Ordering::SeqCst), upserted);
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), embedded);
    assert_eq!(world.acks.offsets(), [20, 21]);
}

#[tokio::test]
async fn a_replay_that_was_interrupted_is_finished_when_it_is_read_again() {
    let world = World::new();
    world.run(vec![world.record(1, "a", Some(&value("x", &["one", "two"])))], 1).await;
    // Written, and its partition lost before the old rows are deleted.
    let lease = world.lease.clone();
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(move |_| {
        lease.kill();
        None
    }));
    let text = value("x", &["three"]);
    world.run(vec![replayed(&world, 20, 5, "a", Some(&text))], 1).await;
    assert_eq!((world.store.texts("a").len(), world.acks.offsets()), (3, vec![1]));
    *world.store.upsert_fault.lock().unwrap() = None;

    let mut again = replayed(&world, 20, 5, "a", Some(&text));
    again.lease = livedex_core::lease::Lease::new();
    world.run(vec![again], 1).await;
    let texts = world.store.texts("a");
    assert!(texts.len() == 1 && texts[0].contains("end of three"), "{texts:?}");
    assert_eq!(world.acks.offsets(), [1, 20]);
}

#[tokio::test]
async fn where_the_newest_is_refused_the_replayed_one_before_it_counts() {
    let world = World::new();
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(|rows| {
        let is_poison = rows.iter().any(|row| row.fields.text.contains("poison"));
        is_poison.then(|| ServiceError::Reject("row refused".into()))
    }));
    let records = vec![
        world.record(6, "a", Some(&value("x", &["six"]))),
        world.record(8, "a", Some(&value("x", &["poison"]))),
        replayed(&world, 20, 7, "a", Some(&value("x", &["seven"]))),
    ];
    let summary = world.run(records, 3).await;
    assert_eq!((summary.dead_letters, summary.documents), (1, 1));
    assert!(world.store.texts("a")[0].contains("end of seven"));
    assert_eq!(world.letters.letters.lock().unwrap()[0].0, 8);
    assert_eq!(world.acks.offsets(), [6, 8, 20]);
}

/// An event of a document, refused or not; if it is, after how many further ones it is replayed.
#[derive(Debug, Clone)]
struct Op {
    document: usize,
    is_delete: bool,
    replayed_after: Option<usize>,
}

fn op() -> impl Strategy<Value = Op> {
    let replayed_after = prop_oneof![2 => Just(None), 1 => (0..12usize).prop_map(Some)];
    (0..3usize, prop::bool::weighted(0.25), replayed_after).prop_map(
        |(document, is_delete, replayed_after)| Op { document, is_delete, replayed_after },
    )
}

/// The partition as it is read: each event that was not refused where it stands, each that was
/// where it is replayed.
fn stream(world: &World, ops: &[Op]) -> Vec<RawRecord> {
    let mut offset = -1;
    let mut next = || {
        offset += 1;
        offset
    };
    let mut waiting: Vec<(usize, RawRecord)> = Vec::new();
    let mut stream = Vec::new();
    for index in 0..ops.len() + 12 {
        if let Some(op) = ops.get(index) {
            // No two versions are equal: one that changes nothing leaves no trace.
            let text = (!op.is_delete).then(|| value(&index.to_string(), &[&format!("v{index}")]));
            let record = world.record(next(), &format!("d{}", op.document), text.as_deref());
            match op.replayed_after {
                None => stream.push(record),
                Some(after) => waiting.push((index + after, record)),
            }
        }
        let (due, later) = waiting.into_iter().partition(|(at, _)| *at <= index);
        waiting = later;
        for (_, mut record) in due {
            record.headers.push(replayed_from_header(&record.position));
            record.position.offset = next();
            stream.push(record);
        }
    }
    assert!(waiting.is_empty());
    stream
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// In the end it is as if nothing had been refused.
    #[test]
    fn what_was_refused_and_is_replayed_counts_where_it_stood(
        ops in prop::collection::vec(op(), 1..30),
        batch in 1..10usize,
        wave_records in 1..12usize,
        waves_in_flight in 1..4usize,
    ) {
        block_on(async {
            let world = World::new();
            let records = stream(&world, &ops);
            assert_eq!(records.len(), ops.len());
            // Once, and once more from the start, as after a crash.
            for _ in 0..2 {
                let running =
                    world.start(PipelineConfig { wave_records, waves_in_flight, ..config() });
                for records in records.chunks(batch) {
                    running.send(records.to_vec());
                }
                running.finish().await.unwrap();
                for document in 0..3 {
                    let last = ops.iter().rposition(|op| op.document == document);
                    let expected = last.filter(|&index| !ops[index].is_delete);
                    let texts = world.store.texts(&format!("d{document}"));
                    match expected {
                        None => assert!(texts.is_empty(), "d{document}: {texts:?}"),
                        Some(index) => {
                            let words = format!("end of v{index}.");
                            let is_it = texts.len() == 1 && texts[0].contains(&words);
                            assert!(is_it, "d{document}, not v{index}: {texts:?}");
                        }
                    }
                }
            }
        });
    }
}
