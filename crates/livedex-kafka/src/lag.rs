//! How far a group has come, by the broker's word.
//!
//! Each reading makes its own client and drops it: they are rare, and nothing idle is left
//! connected.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as RdError,
};

use crate::{
    KafkaConfig, KafkaError,
    admin::{other, request_failed},
    client,
    diagnostics::QuietContext,
    reach,
};

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
    let consumer: BaseConsumer<QuietContext> = client::reader(config, group)?
        .create_with_context(QuietContext::default())
        .map_err(|error| other(config, "setting up a reader", &error))?;
    let all = reach::partitions(config, &consumer, &consumer.context().diagnostics, topic)?;
    let what = format!("reading the offsets of group \"{group}\"");
    let fail = |error: RdError| request_failed(config, topic, &what, &error);
    let mut list = TopicPartitionList::with_capacity(all.len());
    for partition in all {
        if partitions.is_none_or(|wanted| wanted.contains(&partition)) {
            list.add_partition(topic, partition);
        }
    }
    let committed = consumer.committed_offsets(list, config.start_timeout).map_err(fail)?;
    let mut lags = Vec::with_capacity(committed.count());
    for element in committed.elements_for_topic(topic) {
        element.error().map_err(fail)?;
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
