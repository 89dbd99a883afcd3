//! The keys that are alive on a topic.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer, error::KafkaError as RdError, message::Message,
};

use crate::{
    KafkaConfig, KafkaError, client,
    error::{other, request_failed},
    reach,
};

/// How long nothing may come before the broker counts as gone.
const STALLED: Duration = Duration::from_secs(30);

/// Reads `topic` from its start to where its ends are now, and returns the keys whose last
/// record in their partition has a value. Blocks. See [`crate::Admin::read_keys`].
pub(crate) fn read(config: &KafkaConfig, topic: &str) -> Result<HashSet<Vec<u8>>, KafkaError> {
    let consumer = client::reader(config, &config.group)?;
    let what = format!("reading the keys of topic \"{topic}\"");
    let mut assignment = TopicPartitionList::new();
    // Partition to the offset where reading it is done.
    let mut open = BTreeMap::new();
    for partition in reach::partitions(config, &consumer, &consumer.context().diagnostics, topic)? {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition, config.start_timeout)
            .map_err(|error| request_failed(config, topic, &what, &error))?;
        if low < high {
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(low))
                .map_err(|error| other(config, &what, &error))?;
            open.insert(partition, high);
        }
    }
    consumer.assign(&assignment).map_err(|error| other(config, &what, &error))?;

    // Per partition: a key that moved when partitions were added lives if it lives anywhere.
    let mut alive: HashMap<i32, HashSet<Vec<u8>>> = HashMap::new();
    let mut last_progress = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                last_progress = Instant::now();
                let partition = message.partition();
                let Some(&high) = open.get(&partition) else { continue };
                if message.offset() < high
                    && let Some(key) = message.key()
                {
                    let keys = alive.entry(partition).or_default();
                    if message.payload().is_some() {
                        keys.insert(key.to_vec());
                    } else {
                        keys.remove(key);
                    }
                }
                if message.offset() + 1 >= high {
                    open.remove(&partition);
                }
            }
            // The last offsets may hold no records (compaction, transactions).
            Some(Err(RdError::PartitionEOF(partition))) => {
                open.remove(&partition);
                last_progress = Instant::now();
            }
            Some(Err(_)) | None => {}
        }
        if last_progress.elapsed() > STALLED {
            return Err(KafkaError::Timeout {
                brokers: config.brokers.clone(),
                waited: STALLED,
                what,
            });
        }
    }
    Ok(alive.into_values().flatten().collect())
}
