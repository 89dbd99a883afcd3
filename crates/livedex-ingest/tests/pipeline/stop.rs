//! Leases that die and shutdowns: nothing is written or acknowledged that must not be.

use std::{sync::atomic::Ordering, time::Duration};

use livedex_core::{
    lease::Lease,
    ports::{ServiceError, SourceEvent},
};
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

#[tokio::test]
async fn until_caught_up_it_ends_only_when_all_that_was_read_is_finished() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { until_caught_up: true, ..config() });
    running.send(vec![
        world.record(0, "a", Some(&value("x", &["one"]))),
        world.record(1, "b", Some("cannot be decoded")),
    ]);
    running.say(Ok(SourceEvent::CaughtUp));
    until("the wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    until("the dead letter is sent", || world.letters.letters.lock().unwrap().len() == 1).await;
    assert!(!running.progress.is_caught_up(), "one record is not finished");
    world.embedder.gate.add_permits(10);
    let progress = running.progress.clone();
    let summary = running.ended().await.unwrap();
    assert_eq!((summary.records, summary.documents, summary.dead_letters), (2, 1, 1));
    assert_eq!(world.acks.offsets(), [0, 1]);
    assert!(progress.is_caught_up());
    assert_eq!(world.store.settled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn until_caught_up_it_goes_on_with_what_comes_before_its_end() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { until_caught_up: true, ..config() });
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    running.say(Ok(SourceEvent::CaughtUp));
    until("the wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    // Another member has died, and its partition has come to this one.
    running.send(vec![world.record(1, "b", Some(&value("x", &["two"])))]);
    until("both are read", || running.progress.summary().received == 2).await;
    world.embedder.gate.add_permits(10);
    until("both are finished", || running.progress.summary().records == 2).await;
    assert!(!running.progress.is_caught_up(), "the source has not said so since");
    running.say(Ok(SourceEvent::CaughtUp));
    assert_eq!(running.ended().await.unwrap().records, 2);
    assert_eq!(world.acks.offsets(), [0, 1]);
}

#[tokio::test]
async fn until_caught_up_nothing_to_read_is_an_end() {
    let world = World::new();
    let running = world.start(PipelineConfig { until_caught_up: true, ..config() });
    running.say(Ok(SourceEvent::CaughtUp));
    let progress = running.progress.clone();
    assert_eq!(running.ended().await.unwrap().received, 0);
    assert!(progress.is_caught_up());
}

#[tokio::test]
async fn stopped_before_it_is_caught_up_it_does_not_say_that_it_is() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { until_caught_up: true, ..config() });
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    until("the wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    running.shutdown.cancel();
    world.embedder.gate.add_permits(10);
    let progress = running.progress.clone();
    assert_eq!(running.ended().await.unwrap().records, 1, "what is in flight is finished");
    assert!(!progress.is_caught_up());
}

#[tokio::test]
async fn a_shutdown_ends_the_wait_for_what_decoding_needs() {
    let world = World::new();
    world.decoder.away.store(usize::MAX, Ordering::SeqCst);
    let running = world.start(config());
    running.send(vec![world.record(0, "a", Some(&value("x", &["one"])))]);
    until("the decoder is asked", || world.decoder.away.load(Ordering::SeqCst) < usize::MAX).await;
    running.shutdown.cancel();
    let summary = running.ended().await.unwrap();
    assert_eq!((summary.received, summary.records), (1, 0));
    assert!(world.acks.offsets().is_empty());
}
