//! Taking topics and groups away again.

use std::time::{Duration, Instant};

use rdkafka::{admin::AdminOptions, consumer::Consumer, types::RDKafkaErrorCode};

use super::{admin_client, connect, request_failed};
use crate::{KafkaConfig, KafkaError, reach};

/// How often it is looked whether a topic is still there.
const EVERY: Duration = Duration::from_millis(50);

/// Deletes a topic. Brokers answer before it is gone, and one that is created meanwhile under the
/// same name would be taken for the old one.
pub(super) fn topic(config: &KafkaConfig, topic: &str) -> Result<(), KafkaError> {
    let what = format!("deleting topic \"{topic}\"");
    let admin = admin_client(config)?;
    let answer = tokio::runtime::Handle::current()
        .block_on(admin.delete_topics(&[topic], &options(config)))
        .map_err(|error| request_failed(config, topic, &what, &error))?;
    match answer.into_iter().next() {
        Some(Ok(_)) => {}
        Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => return Ok(()),
        Some(Err((_, code))) => {
            return Err(KafkaError::from_code(&config.brokers, topic, &what, code));
        }
        None => {
            let code = RDKafkaErrorCode::Fail;
            return Err(KafkaError::from_code(&config.brokers, topic, &what, code));
        }
    }
    let start = Instant::now();
    loop {
        let consumer = connect(config)?;
        match reach::partitions(config, &consumer, &consumer.context().diagnostics, topic) {
            Err(KafkaError::UnknownTopic { .. }) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) if start.elapsed() < config.start_timeout => std::thread::sleep(EVERY),
            Ok(_) => {
                let (brokers, waited) = (config.brokers.clone(), config.start_timeout);
                return Err(KafkaError::Timeout { brokers, waited, what });
            }
        }
    }
}

/// Deletes a group that has no member.
pub(super) fn group(config: &KafkaConfig, group: &str) -> Result<(), KafkaError> {
    let what = format!("deleting group \"{group}\"");
    let admin = admin_client(config)?;
    let answer = tokio::runtime::Handle::current()
        .block_on(admin.delete_groups(&[group], &options(config)))
        .map_err(|error| request_failed(config, "", &what, &error))?;
    match answer.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::GroupIdNotFound => {
            Err(KafkaError::from_code(&config.brokers, "", &what, code))
        }
        _ => Ok(()),
    }
}

fn options(config: &KafkaConfig) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(config.start_timeout))
        .operation_timeout(Some(config.start_timeout))
}
