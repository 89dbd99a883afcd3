//! How far a group has come, by the broker's word.
//!
//! Each reading makes its own client and drops it: they are rare, and nothing idle is left
//! connected.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer, error::KafkaError as RdError,
    types::RDKafkaErrorCode,
};

use crate::{KafkaConfig, KafkaError, client, error::request_failed, reach};

/// How far a group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: i32,
    /// The committed offset: the first that will be read. `None` if the group never committed.
    pub committed: Option<i64>,
    /// The first offset that the partition still has.
    pub low: i64,
    /// The offset that the next record will get.
    pub high: i64,
    /// Records between the committed offset (or the first) and the end. An upper bound:
    /// compaction and transactions leave offsets without records.
    pub lag: i64,
}

/// How far `group` has come in these partitions of `topic` (in all of them if `None`), ascending.
/// Blocks, for [`KafkaConfig::start_timeout`] per request at most.
pub(crate) fn read(
    config: &KafkaConfig,
    group: &str,
    topic: &str,
    partitions: Option<&[i32]>,
) -> Result<Vec<PartitionLag>, KafkaError> {
    let consumer = client::reader(config, group)?;
    let all = reach::partitions(config, &consumer, &consumer.context().diagnostics, topic)?;
    let what = format!("reading the offsets of group \"{group}\"");
    let fail = |error: RdError| request_failed(config, topic, &what, &error);
    let mut list = TopicPartitionList::with_capacity(all.len());
    for partition in all {
        if partitions.is_none_or(|wanted| wanted.contains(&partition)) {
            list.add_partition(topic, partition);
        }
    }
    let committed = until_coordinated(config.start_timeout, || {
        let answer = consumer.committed_offsets(list.clone(), config.start_timeout)?;
        for element in answer.elements() {
            element.error()?;
        }
        Ok(answer)
    })
    .map_err(fail)?;
    let mut lags = Vec::with_capacity(committed.count());
    for element in committed.elements_for_topic(topic) {
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let (low, high) = consumer
            .fetch_watermarks(topic, element.partition(), config.start_timeout)
            .map_err(fail)?;
        let lag = (high - committed.map_or(low, |at| at.max(low))).max(0);
        lags.push(PartitionLag { partition: element.partition(), committed, low, high, lag });
    }
    lags.sort_unstable_by_key(|lag| lag.partition);
    Ok(lags)
}

/// Makes a request of a group again, within `timeout`, while the broker that answers for the group
/// is not found: it is another one now, or a cluster sees its first group and makes the topic for
/// committed offsets. librdkafka returns that as an error.
pub(crate) fn until_coordinated<T>(
    timeout: Duration,
    mut request: impl FnMut() -> Result<T, RdError>,
) -> Result<T, RdError> {
    const PAUSE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    loop {
        match request() {
            Err(error) if is_uncoordinated(&error) && start.elapsed() < timeout => {
                std::thread::sleep(PAUSE);
            }
            end => return end,
        }
    }
}

fn is_uncoordinated(error: &RdError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress
        )
    )
}
