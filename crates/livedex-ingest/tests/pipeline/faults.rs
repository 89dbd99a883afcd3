//! What refuses, fails for now, or dies.

use std::sync::atomic::{AtomicUsize, Ordering};

use livedex_core::{
    ports::{ModelError, ServiceError},
    record::Stage,
};
use livedex_ingest::IngestError;

use crate::{fakes::*, rig::*};

fn letters(world: &World) -> Vec<(i64, Stage, String)> {
    let mut letters: Vec<_> = world
        .letters
        .letters
        .lock()
        .unwrap()
        .iter()
        .map(|(offset, reason)| (*offset, reason.stage, reason.class.clone()))
        .collect();
    letters.sort_by_key(|letter| letter.0);
    letters
}

#[tokio::test]
async fn poison_in_a_batch_is_bisected_to_the_guilty_document() {
    let world = World::new();
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(|rows| {
        rows.iter()
            .any(|row| row.fields.text.contains("poison"))
            .then(|| ServiceError::Reject("row refused".into()))
    }));
    let ids: Vec<String> = (0..30).map(|n| format!("d{n}")).collect();
    let records: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let name = if [0, 13, 29].contains(&n) { "poison" } else { "fine" };
            world.record(n as i64, id, Some(&value("x", &["good", name])))
        })
        .collect();
    let summary = world.run(records, 30).await;
    assert_eq!((summary.records, summary.dead_letters, summary.documents), (30, 3, 27));
    assert_eq!(world.acks.offsets(), (0..30).collect::<Vec<_>>());
    let expected = [0, 13, 29].map(|n| (n, Stage::Write, "StoreError.Reject".to_owned()));
    assert_eq!(letters(&world), expected);
    for (n, id) in ids.iter().enumerate() {
        let expected = if [0, 13, 29].contains(&n) { 0 } else { 2 };
        assert_eq!(world.store.texts(id).len(), expected, "{id}: all of it or nothing");
    }
}

#[tokio::test]
async fn a_refused_update_leaves_the_last_good_version() {
    let world = World::new();
    world.run(vec![world.record(0, "a", Some(&value("x", &["one", "two"])))], 1).await;
    let before = world.store.rows.lock().unwrap().clone();
    *world.store.upsert_fault.lock().unwrap() =
        Some(Box::new(|_| Some(ServiceError::Reject("row refused".into()))));
    let summary = world.run(vec![world.record(1, "a", Some(&value("x", &["three"])))], 1).await;
    assert_eq!(summary.dead_letters, 1);
    assert_eq!(*world.store.rows.lock().unwrap(), before);
}

#[tokio::test]
async fn when_the_last_event_is_refused_the_one_before_it_counts() {
    let world = World::new();
    let records = vec![
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "a", Some(&value("x", &["two"]))),
        world.record(2, "a", Some(&value("x", &["UNSPEAKABLE"]))),
        world.record(3, "a", Some(&value("x", &["INFINITE"]))),
    ];
    let summary = world.run(records, 4).await;
    assert_eq!((summary.records, summary.dead_letters, summary.documents), (4, 2, 1));
    assert!(world.store.texts("a")[0].contains("end of two"));
    assert_eq!(world.acks.offsets(), [0, 1, 2, 3]);
    let class = "ModelError.Input".to_owned();
    assert_eq!(letters(&world), [(2, Stage::Embed, class.clone()), (3, Stage::Embed, class)]);
}

#[tokio::test]
async fn one_text_without_an_embedding_fails_alone() {
    let world = World::new();
    let records = vec![
        world.record(0, "a", Some(&value("x", &["one", "UNSPEAKABLE", "two"]))),
        world.record(1, "b", Some(&value("x", &["three", "four"]))),
        world.record(2, "c", Some("cannot be decoded")),
    ];
    let summary = world.run(records, 3).await;
    assert_eq!((summary.records, summary.dead_letters, summary.documents), (3, 2, 1));
    assert_eq!((world.store.texts("a").len(), world.store.texts("b").len()), (0, 2));
    assert!(world.store.texts("b")[1].contains("end of four"), "each has its own vectors");
    for row in world.store.rows.lock().unwrap().values() {
        let text = livedex_core::chunk::embed_text(
            &row.fields.title,
            &row.fields.heading,
            &row.fields.text,
        );
        assert_eq!(row.vector, vector(&text), "each has its own vector");
    }
    assert_eq!(letters(&world)[1].1, Stage::Decode);
}

#[tokio::test]
async fn servers_that_are_away_are_waited_for() {
    let world = World::new();
    let failures = |n: usize| {
        let left = AtomicUsize::new(n);
        move || {
            let n = left.load(Ordering::SeqCst);
            left.store(n.saturating_sub(1), Ordering::SeqCst);
            match n {
                0 => None,
                n if n % 2 == 0 => Some(ServiceError::Retry("away".into())),
                _ => Some(ServiceError::Unknown("timeout".into())),
            }
        }
    };
    let (read, upsert, delete) = (failures(3), failures(4), failures(5));
    *world.store.read_fault.lock().unwrap() = Some(Box::new(move |_| read()));
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(move |_| upsert()));
    *world.store.delete_fault.lock().unwrap() = Some(Box::new(move |_| delete()));
    world.letters.n_away.store(3, Ordering::SeqCst);
    world.embedder.n_overloaded.store(2, Ordering::SeqCst);
    world.decoder.away.store(3, Ordering::SeqCst);
    let records = vec![
        world.record(0, "a", Some(&value("x", &["one", "two"]))),
        world.record(1, "b", Some("cannot be decoded")),
        world.record(2, "a", Some(&value("x", &["one"]))),
    ];
    let summary = world.run(records, 1).await;
    assert_eq!((summary.records, summary.dead_letters), (3, 1));
    assert_eq!(world.store.texts("a").len(), 1);
    assert_eq!(world.letters.n_away.load(Ordering::SeqCst), 0);
    assert_eq!(world.decoder.away.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_unreadable_document_is_found_by_halving() {
    let world = World::new();
    *world.store.read_fault.lock().unwrap() = Some(Box::new(|keys| {
        keys.contains(&key("d7")).then(|| ServiceError::Reject("bad id".into()))
    }));
    let ids: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let records: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| world.record(n as i64, id, Some(&value("x", &["one"]))))
        .collect();
    let summary = world.run(records, 20).await;
    assert_eq!((summary.records, summary.dead_letters, summary.documents), (20, 1, 19));
    assert_eq!(letters(&world), [(7, Stage::Write, "StoreError.Read".to_owned())]);
}

#[tokio::test]
async fn a_dead_embedder_ends_the_pipeline_and_nothing_is_acknowledged() {
    let world = World::new();
    *world.embedder.is_dead.lock().unwrap() = true;
    let running = world.start(config());
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    let error = running.ended().await.unwrap_err();
    assert!(matches!(error, IngestError::Model(ModelError::Dead(_))), "{error}");
    assert!(world.acks.offsets().is_empty());
}

#[tokio::test]
async fn a_failed_source_ends_the_pipeline() {
    let world = World::new();
    let running = world.start(config());
    running.say(Err(ServiceError::Reject("the topic is gone".into())));
    let error = running.ended().await.unwrap_err();
    assert!(matches!(error, IngestError::Source(_)), "{error}");
}
