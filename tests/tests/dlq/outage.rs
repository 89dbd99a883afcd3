//! Brokers that are not there, or fall silent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use livedex_kafka::{DeadLetterReader, KafkaConfig, KafkaError, Publisher, Start};
use livedex_testkit::{Kafka, Livedex, topic::noise};

use crate::support::Case;

/// Connecting gives up after 5 s, and a debug build on a busy machine is slow.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// A reader gives up after 30 s of silence.
const SILENCE: Duration = Duration::from_secs(45);

pub(crate) fn a_broker_that_does_not_answer_is_given_up() -> Result<()> {
    // A firewall or a wrong port: the connection stands, nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?.to_string();
    let livedex = Livedex::new(&format!("[kafka]\nbrokers = \"{address}\"\n"))?;
    for arguments in [&["dlq", "list"][..], &["dlq", "show", "0:0"], &["dlq", "replay"]] {
        let finished = livedex.run(arguments, GIVEN_UP)?;
        ensure!(finished.status.code() == Some(1), "{}", finished.status);
        ensure!(finished.stdout.is_empty(), "{}", finished.stdout);
        let lines: Vec<_> = finished.stderr.lines().collect();
        ensure!(lines.len() == 1 && lines[0].contains(&address), "{}", finished.stderr);
    }
    Ok(())
}

/// The topic for committed offsets is made when the first group is asked for, and until then the
/// broker says that it does not coordinate it.
pub(crate) async fn the_first_group_of_a_cluster_is_waited_for(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    case.bury_keys(&["a"]).await?;
    let finished = case.dlq(&["replay"])?.success()?;
    ensure!(finished.stdout.starts_with("replayed 1 to "), "{}", finished.stdout);
    ensure!(case.dlq(&["replay"])?.success()?.stdout.starts_with("replayed 0\n1 before the mark"));
    Ok(())
}

pub(crate) async fn a_broker_that_falls_silent_ends_the_reading(kafka: &mut Kafka) -> Result<()> {
    let case = Case::new(&kafka.brokers()).await?;
    // More than is fetched ahead and waits in batches.
    let letters = KafkaConfig {
        topic: case.kafka.dead_letter_topic.clone(),
        dead_letter_topic: case.kafka.topic.clone(),
        ..case.kafka.clone()
    };
    let publisher = Publisher::new(&letters)?;
    for seed in 1..=80 {
        publisher.publish(format!("k{seed}"), Some(noise(seed, 1_000_000)), vec![]).await?;
    }
    let mut reader = DeadLetterReader::open(&case.kafka, Start::default()).await?;
    ensure!(reader.n_offsets() == 80);
    let mut n_read = reader.next().await.context("no batch")??.len();
    kafka.pause();
    let start = Instant::now();
    let error = loop {
        match reader.next().await.context("it ended well")? {
            Ok(batch) => n_read += batch.len(),
            Err(error) => break error,
        }
    };
    kafka.resume();
    ensure!(matches!(error, KafkaError::Timeout { .. }), "{error}");
    ensure!(n_read < 80 && start.elapsed() < SILENCE, "{n_read} after {:?}", start.elapsed());
    Ok(())
}
