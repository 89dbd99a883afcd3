//! Leases that die and shutdowns: nothing is written or acknowledged that must not be.

use std::{sync::atomic::Ordering, time::Duration};

use livedex_core::{lease::Lease, ports::ServiceError};
use livedex_ingest::PipelineConfig;

use crate::rig::*;

#[tokio::test]
async fn a_lease_killed_between_embedding_and_writing_writes_nothing() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(config());
    let other = Lease::new();
    let mut kept = world.record(1, "b", Some(&value("x", &["two"])));
    kept.position.partition = 1;
    kept.lease = other;
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"]))), kept]);
    until("the wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    world.lease.kill();
    world.embedder.gate.add_permits(10);
    let summary = running.finish().await.unwrap();
    assert_eq!(summary.records, 1);
    assert!(world.store.texts("a").is_empty(), "no write with a dead lease");
    assert_eq!(world.store.texts("b").len(), 1, "the other partition is not affected");
    assert_eq!(world.acks.offsets(), [1]);
}

#[tokio::test]
async fn a_lease_killed_between_upsert_and_delete_deletes_nothing() {
    let world = World::new();
    world.run(vec![world.record(0, "a", Some(&value("x", &["one", "two"])))], 1).await;
    let lease = world.lease.clone();
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(move |_| {
        lease.kill();
        None
    }));
    let summary = world.run(vec![world.record(1, "a", Some(&value("x", &["three"])))], 1).await;
    assert_eq!(summary.records, 0);
    assert_eq!(world.acks.offsets(), [0]);
    let texts = world.store.texts("a").concat();
    assert!(texts.contains("one") && texts.contains("two") && texts.contains("three"));
}

#[tokio::test]
async fn a_lease_killed_while_a_server_is_away_ends_the_wait() {
    let world = World::new();
    let lease = world.lease.clone();
    let mut n = 0;
    *world.store.upsert_fault.lock().unwrap() = Some(Box::new(move |_| {
        n += 1;
        if n == 3 {
            lease.kill();
        }
        Some(ServiceError::Retry("away".into()))
    }));
    let summary = world.run(vec![world.record(0, "a", Some(&value("x", &["one"])))], 1).await;
    assert_eq!(summary.records, 0);
    assert!(world.acks.offsets().is_empty() && world.store.rows.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_shutdown_finishes_the_waves_in_flight_and_starts_no_more() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { waves_in_flight: 1, wave_records: 1, ..config() });
    running.send(vec![
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "b", Some(&value("x", &["two"]))),
    ]);
    until("the first wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    running.shutdown.cancel();
    world.embedder.gate.add_permits(10);
    let summary = running.ended().await.unwrap();
    assert_eq!((summary.received, summary.records), (2, 1));
    assert_eq!(world.acks.offsets(), [0]);
    assert_eq!((world.store.texts("a").len(), world.store.texts("b").len()), (1, 0));
}

#[tokio::test]
async fn a_shutdown_that_takes_too_long_acknowledges_nothing_unfinished() {
    let world = World::new();
    *world.store.upsert_fault.lock().unwrap() =
        Some(Box::new(|_| Some(ServiceError::Retry("away for ever".into()))));
    let running = world.start(PipelineConfig { drain: Duration::from_millis(50), ..config() });
    running.send(vec![
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "b", Some("cannot be decoded")),
    ]);
    until("the dead letter is sent", || !world.letters.letters.lock().unwrap().is_empty()).await;
    running.shutdown.cancel();
    let summary = running.ended().await.unwrap();
    assert_eq!((summary.records, summary.dead_letters), (1, 1));
    assert_eq!(world.acks.offsets(), [1], "the dead letter only");
}
