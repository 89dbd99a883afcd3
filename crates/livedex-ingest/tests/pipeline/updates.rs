//! Updates, deletions, replays and several events of one document.

use std::sync::atomic::Ordering;

use livedex_core::{
    limits::{MAX_CHUNKS_PER_DOCUMENT, MAX_WAVE_ROWS},
    ports::SourceEvent,
};
use livedex_ingest::{PipelineConfig, Summary};

use crate::rig::*;

fn count(world: &World, id: &str) -> usize {
    world.store.texts(id).len()
}

#[tokio::test]
async fn an_update_that_shrinks_embeds_only_what_is_new_and_deletes_what_is_gone() {
    let world = World::new();
    let first = value("x", &["one", "two", "three", "four"]);
    world.run(vec![world.record(0, "a", Some(&first))], 1).await;
    assert_eq!(count(&world, "a"), 4);
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), 4);

    let second = value("x", &["one", "two", "new"]);
    let summary = world.run(vec![world.record(1, "a", Some(&second))], 1).await;
    let texts = world.store.texts("a");
    assert_eq!(texts.len(), 3);
    assert!(texts[2].contains("end of new") && !texts.concat().contains("three"));
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), 5, "only the new section");
    let expected = Summary {
        received: 1,
        records: 1,
        documents: 1,
        chunks_embedded: 1,
        chunks_unchanged: 2,
        rows_deleted: 2,
        tokens_embedded: summary.tokens_embedded,
        ..Summary::default()
    };
    assert_eq!(summary, expected);
    assert!(summary.tokens_embedded >= 37);
    assert_eq!(world.acks.offsets(), [0, 1]);
}

#[tokio::test]
async fn changed_metadata_rewrites_rows_with_their_stored_vectors() {
    let world = World::new();
    world.run(vec![world.record(0, "a", Some(&value("x", &["one", "two"])))], 1).await;
    let before = world.store.rows.lock().unwrap().clone();
    let summary =
        world.run(vec![world.record(1, "a", Some(&value("y", &["one", "two"])))], 1).await;
    assert_eq!((summary.rows_rewritten, summary.chunks_embedded), (2, 0));
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), 2);
    for (id, row) in world.store.rows.lock().unwrap().iter() {
        assert_eq!(row.vector, before[id].vector);
        assert_ne!(row.fields.metadata, before[id].fields.metadata);
        assert_eq!(row.fields.position.offset, 1);
    }
}

#[tokio::test]
async fn a_row_whose_vector_is_gone_is_embedded_again() {
    let world = World::new();
    world.run(vec![world.record(0, "a", Some(&value("x", &["one", "two"])))], 1).await;
    *world.store.hide_vectors.lock().unwrap() = true;
    let summary =
        world.run(vec![world.record(1, "a", Some(&value("y", &["one", "two"])))], 1).await;
    assert_eq!((summary.rows_rewritten, summary.chunks_embedded), (0, 2));
    assert_eq!(world.store.rows.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tombstone_removes_the_document_and_no_other() {
    let world = World::new();
    let records = vec![
        world.record(0, "a", Some(&value("x", &["one", "two"]))),
        world.record(1, "b", Some(&value("x", &["one"]))),
    ];
    world.run(records, 2).await;
    let summary = world.run(vec![world.record(2, "a", None)], 1).await;
    assert_eq!((summary.rows_deleted, summary.documents), (2, 1));
    assert_eq!((count(&world, "a"), count(&world, "b")), (0, 1));
    let summary = world.run(vec![world.record(3, "unknown", None)], 1).await;
    assert_eq!((summary.rows_deleted, summary.records), (0, 1));
}

#[tokio::test]
async fn replays_change_nothing_and_embed_nothing() {
    let world = World::new();
    let history = || {
        vec![
            world.record(0, "a", Some(&value("x", &["one", "two", "three"]))),
            world.record(1, "b", Some(&value("x", &["other"]))),
            world.record(2, "a", Some(&value("x", &["one", "two", "three", "four"]))),
            // Only the end is cut off: without a rewritten row nothing would say that 3 was here.
            world.record(3, "a", Some(&value("x", &["one", "two"]))),
        ]
    };
    world.run(history(), 1).await;
    let before = world.store.rows.lock().unwrap().clone();
    let upserted = world.store.upserted.load(Ordering::SeqCst);
    let embedded = world.embedder.texts.load(Ordering::SeqCst);
    // One after the other: events that wait for an earlier one of their document may collapse.
    let mut seen = (0, 0, 0);
    for record in history() {
        let summary = world.run(vec![record], 1).await;
        seen.0 += summary.replays;
        seen.1 += summary.documents;
        seen.2 += summary.records;
    }
    assert_eq!(seen, (2, 2, 4));
    assert_eq!(*world.store.rows.lock().unwrap(), before);
    assert_eq!(world.store.upserted.load(Ordering::SeqCst), upserted, "no row was written");
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), embedded, "nothing was embedded");
}

#[tokio::test]
async fn events_of_one_document_in_a_wave_collapse_to_the_last() {
    let world = World::new();
    let records = vec![
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "a", None),
        world.record(2, "a", Some(&value("x", &["two"]))),
        world.record(3, "b", Some(&value("x", &["three"]))),
        world.record(4, "a", Some(&value("x", &["four"]))),
    ];
    let summary = world.run(records, 5).await;
    assert_eq!((summary.records, summary.documents, summary.chunks_embedded), (5, 2, 2));
    assert_eq!(world.acks.offsets(), [0, 1, 2, 3, 4]);
    assert!(world.store.texts("a")[0].contains("end of four"));
}

#[tokio::test]
async fn the_texts_of_a_wave_go_to_the_embedder_in_one_call() {
    let world = World::new();
    let ids: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
    let records: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| world.record(n as i64, id, Some(&value("x", &[id, "same"]))))
        .collect();
    world.run(records, 100).await;
    assert_eq!(world.embedder.calls.load(Ordering::SeqCst), 1);
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), 200);
}

#[tokio::test]
async fn a_wave_waits_for_a_document_in_flight_and_others_do_not() {
    let world = World::new();
    // One permit a call: the first wave is held in the embedder.
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { waves_in_flight: 3, ..config() });
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    let calls = || world.embedder.calls.load(Ordering::SeqCst);
    until("the first wave embeds", || calls() == 1).await;
    running.send(vec![
        world.record(1, "a", Some(&value("x", &["two"]))),
        world.record(2, "b", Some(&value("x", &["three"]))),
    ]);
    until("the other document embeds", || calls() == 2).await;
    assert_eq!(world.embedder.texts.load(Ordering::SeqCst), 0);
    world.embedder.gate.add_permits(10);
    let summary = running.finish().await.unwrap();
    assert_eq!((summary.records, summary.documents), (3, 3), "both events of a were applied");
    assert!(world.store.texts("a")[0].contains("end of two"));
}

#[tokio::test]
async fn caught_up_settles_the_store_once_and_ends_where_asked() {
    let world = World::new();
    let running = world.start(PipelineConfig { until_caught_up: true, ..config() });
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    running.say(Ok(SourceEvent::CaughtUp));
    let progress = running.progress.clone();
    assert_eq!(running.ended().await.unwrap().records, 1);
    assert_eq!(world.store.settled.load(Ordering::SeqCst), 1);
    assert!(progress.is_caught_up());

    let running = world.start(config());
    running.say(Ok(SourceEvent::CaughtUp));
    let progress = running.progress.clone();
    until("caught up", || progress.is_caught_up()).await;
    running.send(vec![world.record(1, "b", Some(&value("x", &["one"])))]);
    until("the record is finished", || progress.summary().records == 1).await;
    assert!(!progress.is_caught_up());
    running.say(Ok(SourceEvent::CaughtUp));
    until("caught up again", || progress.is_caught_up()).await;
    running.finish().await.unwrap();
    assert_eq!(world.store.settled.load(Ordering::SeqCst), 2, "not when nothing was written");
}

#[tokio::test]
async fn a_wave_of_many_short_sections_is_embedded_in_parts() {
    const SECTIONS: usize = 9000;
    let world = World::new();
    let text = format!("x|{}", "# a\n\nb\n\n".repeat(SECTIONS));
    let ids = ["a", "b", "c", "d"].into_iter().zip(0..);
    let records = ids.clone().map(|(id, offset)| world.record(offset, id, Some(&text)));
    let summary = world.run(records.collect(), 4).await;
    assert_eq!((summary.documents, summary.chunks_embedded), (4, 4 * SECTIONS as u64));
    for (id, _) in ids {
        assert_eq!(count(&world, id), SECTIONS);
    }
    // Two documents go beyond the limit, so that two are embedded at a time.
    assert_eq!(world.embedder.calls.load(Ordering::SeqCst), 2);
    let largest = world.embedder.largest.load(Ordering::SeqCst);
    assert_eq!(largest, 2 * SECTIONS);
    assert!(largest < MAX_WAVE_ROWS + MAX_CHUNKS_PER_DOCUMENT);
    assert_eq!(world.acks.offsets(), [0, 1, 2, 3]);
}
