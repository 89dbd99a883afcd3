//! Deletions are remembered: what came before one never comes back, not even for a moment, and
//! costs no embedding.

use std::sync::atomic::Ordering;

use livedex_core::{lease::Lease, ports::ServiceError, record::RawRecord};

use crate::{fakes::*, rig::*};

/// Runs `records` again, each alone, and checks that nothing at all is written or embedded.
async fn changes_nothing(world: &World, records: &[RawRecord]) {
    let rows = world.store.rows.lock().unwrap().clone();
    let entries = world.store.entries.lock().unwrap().clone();
    let writes = world.store.writes.load(Ordering::SeqCst);
    let embedded = world.embedder.texts.load(Ordering::SeqCst);
    for batch in [1, records.len()] {
        world.run(records.to_vec(), batch).await;
        assert_eq!(*world.store.rows.lock().unwrap(), rows);
        assert_eq!(*world.store.entries.lock().unwrap(), entries);
        assert_eq!(world.store.writes.load(Ordering::SeqCst), writes, "something was written");
        assert_eq!(world.embedder.texts.load(Ordering::SeqCst), embedded);
    }
}

#[tokio::test]
async fn a_deleted_document_does_not_come_back() {
    for batch in [1, 3] {
        let world = World::new();
        let records = [
            world.record(0, "a", Some(&value("x", &["one", "two"]))),
            world.record(1, "a", Some(&value("x", &["one"]))),
            world.record(2, "a", None),
        ];
        world.run(records.to_vec(), batch).await;
        assert!(world.store.texts("a").is_empty());
        changes_nothing(&world, &records).await;
        changes_nothing(&world, &records[..1]).await;
    }
}

#[tokio::test]
async fn a_document_without_text_is_fenced_like_a_deleted_one() {
    let world = World::new();
    let records = [
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "a", Some(&value("x", &[]))),
        // Never had any.
        world.record(2, "b", Some(&value("x", &[]))),
        world.record(3, "c", None),
    ];
    world.run(records.to_vec(), 1).await;
    assert!(world.store.rows.lock().unwrap().is_empty());
    changes_nothing(&world, &records).await;
}

#[tokio::test]
async fn a_document_that_is_made_again_lives() {
    let world = World::new();
    let records = [
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "a", None),
        world.record(2, "a", Some(&value("x", &["one", "two"]))),
    ];
    world.run(records.to_vec(), 1).await;
    assert_eq!(world.store.texts("a").len(), 2);
    changes_nothing(&world, &records).await;
    // And can be deleted again.
    world.run(vec![world.record(3, "a", None)], 1).await;
    assert!(world.store.texts("a").is_empty());
    changes_nothing(&world, &records).await;
}

#[tokio::test]
async fn a_deletion_tells_nothing_of_other_partitions_and_documents() {
    let world = World::new();
    world.run(vec![world.record(5, "a", None)], 1).await;
    let mut elsewhere = world.record(0, "a", Some(&value("x", &["one"])));
    elsewhere.position.partition = 1;
    world.run(vec![elsewhere, world.record(1, "b", Some(&value("x", &["one"])))], 2).await;
    assert_eq!((world.store.texts("a").len(), world.store.texts("b").len()), (1, 1));
}

#[tokio::test]
async fn what_is_collapsed_away_does_not_come_back_either() {
    let world = World::new();
    let (one, other) = (value("x", &["one"]), value("x", &["other"]));
    world.run(vec![world.record(0, "a", Some(&one))], 1).await;
    // There and back again in one wave: the rows are as they were, and are of a later record now.
    let records = [world.record(1, "a", Some(&other)), world.record(2, "a", Some(&one))];
    let summary = world.run(records.to_vec(), 2).await;
    assert_eq!((summary.chunks_embedded, summary.rows_rewritten), (0, 1));
    changes_nothing(&world, &records).await;

    // Deleted in between.
    let records = [world.record(3, "a", None), world.record(4, "a", Some(&one))];
    let summary = world.run(records.to_vec(), 2).await;
    assert_eq!((summary.chunks_embedded, summary.rows_rewritten), (0, 1));
    changes_nothing(&world, &records).await;

    // The same again and again is no reason to write.
    let records = [world.record(5, "a", Some(&one)), world.record(6, "a", Some(&one))];
    changes_nothing(&world, &records).await;
}

#[tokio::test]
async fn a_crash_at_each_step_of_a_deletion_heals() {
    for at_entry in [true, false] {
        let world = World::new();
        let before = world.record(0, "a", Some(&value("x", &["one", "two"])));
        world.run(vec![before.clone()], 1).await;
        let lease = world.lease.clone();
        let crash = move || {
            lease.kill();
            Some(ServiceError::Unknown("no answer".into()))
        };
        if at_entry {
            *world.store.entry_fault.lock().unwrap() = Some(Box::new(move |_| crash()));
        } else {
            *world.store.delete_fault.lock().unwrap() = Some(Box::new(move |_| crash()));
        }
        world.run(vec![world.record(1, "a", None)], 1).await;
        assert_eq!((world.store.texts("a").len(), world.acks.offsets()), (2, vec![0]));
        // The rows never go before the entry is there.
        assert_eq!(world.store.entries.lock().unwrap().is_empty(), at_entry);
        *world.store.entry_fault.lock().unwrap() = None;
        *world.store.delete_fault.lock().unwrap() = None;

        let tombstone = RawRecord { lease: Lease::new(), ..world.record(1, "a", None) };
        world.run(vec![tombstone], 1).await;
        assert!(world.store.texts("a").is_empty());
        assert_eq!(world.acks.offsets(), [0, 1]);
        changes_nothing(&world, &[RawRecord { lease: Lease::new(), ..before }]).await;
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_is_a_dead_letter_and_takes_no_other_with_it() {
    let world = World::new();
    let documents = ["a", "b", "c"].into_iter().zip(0..);
    let created =
        documents.clone().map(|(id, offset)| world.record(offset, id, Some(&value("x", &["one"]))));
    world.run(created.collect(), 3).await;
    *world.store.entry_fault.lock().unwrap() = Some(Box::new(|entries| {
        let is_guilty = entries.iter().any(|entry| entry.document == key("b"));
        is_guilty.then(|| ServiceError::Reject("refused".into()))
    }));
    let deleted = documents.map(|(id, offset)| world.record(offset + 10, id, None));
    let summary = world.run(deleted.collect(), 3).await;
    assert_eq!((summary.dead_letters, summary.rows_deleted), (1, 2));
    assert_eq!(world.letters.letters.lock().unwrap()[0].0, 11);
    assert_eq!((world.store.texts("a").len(), world.store.texts("b").len()), (0, 1));
    assert_eq!(world.acks.offsets(), [0, 1, 2, 10, 11, 12]);
}
