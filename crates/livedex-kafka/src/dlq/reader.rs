//! The dead-letter topic as batches of records, from somewhere to where its ends are now.
//!
//! In no group, and nothing is committed. Partition after partition, each in offset order: so the
//! order is the same every time, and the letters of one record key, which lie in one partition,
//! come in the order in which they were written.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use livedex_core::record::RawRecord;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as RdError,
    message::Message,
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::mpsc;

use crate::{
    KafkaConfig, KafkaError, client,
    diagnostics::QuietContext,
    error::{other, request_failed},
    reach, record,
};

/// How long nothing may come before the broker counts as gone.
const STALLED: Duration = Duration::from_secs(30);

/// The longest wait inside one poll.
const POLL: Duration = Duration::from_millis(100);

/// Records and bytes of one batch; the record that crosses them is still in it. One batch waits
/// while another is worked on and a third is read, so a few times this is held, and what
/// librdkafka has fetched ahead.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where reading starts: each partition at the highest of these, or at its first record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// At the first record of this time or later, in milliseconds since 1970. Records of an
    /// earlier time may follow it, and come too; a broker that cannot tell gives all of them.
    pub since_ms: Option<i64>,
    /// At these offsets, by partition. One above the end of its partition counts as none: the
    /// topic was made again since.
    pub offsets: BTreeMap<i32, i64>,
}

/// What is read of one partition: from `start` up to `end`, which is not read.
#[derive(Debug, Clone, Copy)]
struct Range {
    partition: i32,
    start: i64,
    end: i64,
}

/// A reader. Dropping it ends the reading.
pub struct DeadLetterReader {
    batches: mpsc::Receiver<Result<Vec<RawRecord>, KafkaError>>,
    n_offsets: u64,
    bounds: Bounds,
}

/// The first offset that a partition has, and the one that its next record will get.
pub(crate) type Bounds = BTreeMap<i32, (i64, i64)>;

impl DeadLetterReader {
    /// Connects, notes where the ends of [`KafkaConfig::dead_letter_topic`] are, and starts to
    /// read. An unreachable broker and a missing topic are errors within
    /// [`KafkaConfig::start_timeout`].
    pub async fn open(config: &KafkaConfig, start: Start) -> Result<Self, KafkaError> {
        let (batches_in, batches) = mpsc::channel(1);
        let reading = Arc::new(config.clone());
        let opening = Arc::clone(&reading);
        let opened = tokio::task::spawn_blocking(move || {
            let consumer = client::reader(&opening, &opening.group)?;
            let (ranges, bounds) = ranges(&opening, &consumer, &start)?;
            Ok((consumer, ranges, bounds))
        });
        let (consumer, ranges, bounds) =
            opened.await.map_err(|error| other(config, "reading dead letters", &error))??;
        let n_offsets = ranges.iter().map(|range| range.end.abs_diff(range.start)).sum();
        thread::Builder::new()
            .name("livedex-kafka-dlq".to_owned())
            .spawn(move || {
                let read = Reading { config: &reading, consumer: &consumer, batches: &batches_in };
                if let Err(error) = read.all(&ranges) {
                    // Nobody may be waiting any more.
                    let _ = batches_in.blocking_send(Err(error));
                }
            })
            .map_err(|error| other(config, "starting to read dead letters", &error))?;
        Ok(Self { batches, n_offsets, bounds })
    }

    /// Offsets between start and end: how many records there are at most, since compaction and
    /// transactions leave offsets without one.
    pub fn n_offsets(&self) -> u64 {
        self.n_offsets
    }

    /// Where each partition begins and ends.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The next records, in order and never none; `None` at the end. An error is the last that
    /// comes. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Vec<RawRecord>, KafkaError>> {
        self.batches.recv().await
    }
}

/// The record at one place of [`KafkaConfig::dead_letter_topic`]; `None` if the partition has no
/// record there, or there is no such partition.
pub async fn read_one(
    config: &KafkaConfig,
    partition: i32,
    offset: i64,
) -> Result<Option<RawRecord>, KafkaError> {
    let config = Arc::new(config.clone());
    let asked = Arc::clone(&config);
    let read = tokio::task::spawn_blocking(move || {
        let consumer = client::reader(&config, &config.group)?;
        let (ranges, _) = ranges(&config, &consumer, &Start::default())?;
        let has = |range: &Range| {
            range.partition == partition && (range.start..range.end).contains(&offset)
        };
        let Some(range) = ranges.into_iter().find(has) else { return Ok(None) };
        let (batches, mut found) = mpsc::channel(1);
        let read = Reading { config: &config, consumer: &consumer, batches: &batches };
        read.one(Range { start: offset, end: offset + 1, ..range }, &mut Batch::default(), true)?;
        let batch = found.try_recv().ok().transpose()?;
        Ok(batch.and_then(|mut batch| batch.pop()).filter(|one| one.position.offset == offset))
    });
    read.await.map_err(|error| other(&asked, "reading a dead letter", &error))?
}

/// What there is to read, partitions ascending, and where each partition begins and ends.
fn ranges(
    config: &KafkaConfig,
    consumer: &BaseConsumer<QuietContext>,
    start: &Start,
) -> Result<(Vec<Range>, Bounds), KafkaError> {
    let topic = &config.dead_letter_topic;
    let what = format!("reading the offsets of topic \"{topic}\"");
    let fail = |error: RdError| request_failed(config, topic, &what, &error);
    let diagnostics = &consumer.context().diagnostics;
    let partitions = reach::partitions(config, consumer, diagnostics, topic)?;
    let mut since = BTreeMap::new();
    if let Some(time) = start.since_ms {
        let mut times = TopicPartitionList::with_capacity(partitions.len());
        for &partition in &partitions {
            times.add_partition_offset(topic, partition, Offset::Offset(time)).map_err(fail)?;
        }
        let found = consumer.offsets_for_times(times, config.start_timeout).map_err(fail)?;
        since = found.elements().iter().map(|e| (e.partition(), e.offset())).collect();
    }
    let mut ranges = Vec::with_capacity(partitions.len());
    let mut bounds = Bounds::new();
    for partition in partitions {
        let (first, end) =
            consumer.fetch_watermarks(topic, partition, config.start_timeout).map_err(fail)?;
        bounds.insert(partition, (first, end));
        let given = start.offsets.get(&partition).copied().filter(|&offset| offset <= end);
        let timely = match since.get(&partition) {
            Some(Offset::Offset(offset)) => *offset,
            // Every record is older.
            Some(Offset::End) => end,
            _ => first,
        };
        let start = first.max(given.unwrap_or(first)).max(timely);
        if start < end {
            ranges.push(Range { partition, start, end });
        }
    }
    Ok((ranges, bounds))
}

#[derive(Default)]
struct Batch {
    records: Vec<RawRecord>,
    bytes: usize,
}

struct Reading<'a> {
    config: &'a KafkaConfig,
    consumer: &'a BaseConsumer<QuietContext>,
    batches: &'a mpsc::Sender<Result<Vec<RawRecord>, KafkaError>>,
}

impl Reading<'_> {
    /// Reads the ranges one after the other.
    fn all(&self, ranges: &[Range]) -> Result<(), KafkaError> {
        let mut batch = Batch::default();
        for (index, range) in ranges.iter().enumerate() {
            if !self.one(*range, &mut batch, index + 1 == ranges.len())? {
                break;
            }
        }
        Ok(())
    }

    /// Reads one range. Returns false once nobody wants more.
    fn one(&self, range: Range, batch: &mut Batch, is_last: bool) -> Result<bool, KafkaError> {
        let topic: Arc<str> = Arc::from(self.config.dead_letter_topic.as_str());
        let what = format!("reading dead letters from topic \"{topic}\"");
        let fail = |error: &RdError| request_failed(self.config, &topic, &what, error);
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment
            .add_partition_offset(&topic, range.partition, Offset::Offset(range.start))
            .and_then(|()| self.consumer.assign(&assignment))
            .map_err(|error| fail(&error))?;
        let mut last_progress = Instant::now();
        let mut is_open = true;
        while is_open {
            match self.consumer.poll(POLL) {
                // One that was fetched before the assignment changed.
                Some(Ok(message)) if message.partition() != range.partition => {}
                Some(Ok(message)) => {
                    last_progress = Instant::now();
                    is_open = message.offset() + 1 < range.end;
                    if message.offset() < range.end {
                        let record = record::from_message(&topic, &message);
                        batch.bytes += record.size();
                        batch.records.push(record);
                    }
                }
                // The last offsets may hold no records (compaction, transactions).
                Some(Err(RdError::PartitionEOF(partition))) => {
                    is_open = partition != range.partition;
                }
                Some(Err(error)) if is_final(&error) => return Err(fail(&error)),
                // librdkafka keeps trying.
                Some(Err(_)) | None => {}
            }
            let is_full = batch.records.len() >= BATCH_RECORDS || batch.bytes >= BATCH_BYTES;
            let is_end = is_last && !is_open;
            if !batch.records.is_empty() && (is_full || is_end) {
                let full = std::mem::take(batch);
                if self.batches.blocking_send(Ok(full.records)).is_err() {
                    return Ok(false);
                }
                last_progress = Instant::now();
            }
            if self.batches.is_closed() {
                return Ok(false);
            }
            if last_progress.elapsed() > STALLED {
                let brokers = self.config.brokers.clone();
                return Err(KafkaError::Timeout { brokers, waited: STALLED, what });
            }
        }
        Ok(true)
    }
}

/// Whether trying again is pointless.
fn is_final(error: &RdError) -> bool {
    matches!(error, RdError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::TopicAuthorizationFailed
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::Authentication
                    | Code::SaslAuthenticationFailed
                    | Code::SSL
            )
        )
}
