//! What can be seen of a pipeline that works.

use std::sync::atomic::Ordering;

use livedex_ingest::{Depths, PipelineConfig};

use crate::rig::*;

#[tokio::test]
async fn depths_say_where_records_are_and_ages_how_old_they_were() {
    let world = World::new();
    world.embedder.gate.forget_permits(usize::MAX);
    let running = world.start(PipelineConfig { waves_in_flight: 1, wave_records: 2, ..config() });
    assert_eq!(running.progress.freshness(), None);
    running.send(
        ["a", "b", "c", "d", "e"]
            .into_iter()
            .zip(0..)
            .map(|(id, offset)| world.record(offset, id, Some(&value("x", &["one"]))))
            .collect(),
    );
    until("a wave embeds", || world.embedder.calls.load(Ordering::SeqCst) == 1).await;
    let Depths { queue, waves, waves_in_flight } = running.progress.depths();
    assert_eq!((queue.records, waves.records, waves_in_flight), (3, 2, 1));
    assert_eq!((queue.bytes * 2, queue.bytes % 3), (waves.bytes * 3, 0), "all are equally long");
    world.embedder.gate.add_permits(10);
    let progress = running.progress.clone();
    assert_eq!(running.finish().await.unwrap().records, 5);
    assert_eq!(progress.depths(), Depths::default());
    let freshness = progress.freshness().unwrap();
    // The records are from 1970.
    let years = |age: std::time::Duration| age.as_secs() / (365 * 24 * 3600);
    assert!(freshness.records == 5 && years(freshness.p50) > 50 && years(freshness.p99) > 50);
}
