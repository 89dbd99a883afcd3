//! The first contact: does a broker answer, does it let us in, does it know the topic?

use std::time::{Duration, Instant};

use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    metadata::Metadata,
    types::RDKafkaErrorCode,
};

use crate::{KafkaConfig, KafkaError, diagnostics::Diagnostics};

/// How long one metadata request is waited for before librdkafka's complaints are read.
const SLICE: Duration = Duration::from_millis(500);

/// Reads the metadata of `topic` (or of nothing but the brokers) within
/// [`KafkaConfig::start_timeout`]. A refused login ends the wait at once.
///
/// Polls `consumer`, which must not be subscribed or assigned.
pub(crate) fn metadata<C: ConsumerContext>(
    config: &KafkaConfig,
    consumer: &BaseConsumer<C>,
    diagnostics: &Diagnostics,
    topic: Option<&str>,
) -> Result<Metadata, KafkaError> {
    let start = Instant::now();
    let mut last = None;
    loop {
        let left = config.start_timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(unreachable(config, diagnostics, start.elapsed(), last));
        }
        match consumer.fetch_metadata(topic, SLICE.min(left)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => last = error.rdkafka_error_code(),
        }
        drain(consumer);
        if diagnostics.trouble().is_some_and(|trouble| trouble.is_refusal()) {
            return Err(unreachable(config, diagnostics, start.elapsed(), last));
        }
    }
}

/// Lets librdkafka deliver its log lines and complaints.
fn drain<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    const ENOUGH: Duration = Duration::from_millis(20);
    let start = Instant::now();
    while start.elapsed() < ENOUGH {
        // Neither subscribed nor assigned: there are no messages to lose here.
        let _ = consumer.poll(ENOUGH);
    }
}

fn unreachable(
    config: &KafkaConfig,
    diagnostics: &Diagnostics,
    waited: Duration,
    last: Option<RDKafkaErrorCode>,
) -> KafkaError {
    let brokers = config.brokers.clone();
    match diagnostics.trouble() {
        Some(trouble) if trouble.is_refusal() => {
            KafkaError::Authentication { brokers, detail: trouble.reason }
        }
        // "0/1 brokers are down" and the like say nothing that the error does not say.
        Some(trouble) if trouble.code != RDKafkaErrorCode::AllBrokersDown => {
            KafkaError::Unreachable { brokers, waited, detail: trouble.reason }
        }
        _ => {
            let detail = last.map_or_else(|| "no answer".to_owned(), |code| code.to_string());
            KafkaError::Unreachable { brokers, waited, detail }
        }
    }
}

/// The ids of the partitions of `topic`, ascending.
///
/// Waits within [`KafkaConfig::start_timeout`] for a topic that has just been made and whose
/// leaders are still being elected.
pub(crate) fn partitions<C: ConsumerContext>(
    config: &KafkaConfig,
    consumer: &BaseConsumer<C>,
    diagnostics: &Diagnostics,
    topic: &str,
) -> Result<Vec<i32>, KafkaError> {
    let start = Instant::now();
    loop {
        let metadata = metadata(config, consumer, diagnostics, Some(topic))?;
        let entry = metadata.topics().iter().find(|entry| entry.name() == topic);
        let code = match entry {
            None => RDKafkaErrorCode::UnknownTopicOrPartition,
            Some(entry) => match entry.error() {
                Some(error) => error.into(),
                // Read only without an error: librdkafka's list may be null otherwise.
                None if !entry.partitions().is_empty() => {
                    let mut partitions: Vec<i32> =
                        entry.partitions().iter().map(|p| p.id()).collect();
                    partitions.sort_unstable();
                    return Ok(partitions);
                }
                None => RDKafkaErrorCode::LeaderNotAvailable,
            },
        };
        let is_passing = code == RDKafkaErrorCode::LeaderNotAvailable;
        if !is_passing || start.elapsed() >= config.start_timeout {
            return Err(KafkaError::from_code(
                &config.brokers,
                topic,
                "reading the topic's metadata",
                code,
            ));
        }
        drain(consumer);
    }
}
