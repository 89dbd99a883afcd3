//! Some records of a topic, read without a trace.
//!
//! No group is joined and nothing is committed: the partitions are assigned by hand, from offsets
//! that are given. librdkafka wants the name of a group for that, and uses it for nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use livedex_core::record::RawRecord;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as RdError,
    message::Message,
};

use crate::{
    KafkaConfig, KafkaError, client,
    diagnostics::QuietContext,
    error::{other, request_failed},
    reach, record,
};

/// How long all of it may take: a thousand records are read in a second, so a broker that needs
/// longer has stopped answering.
const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of records that are held at once; the first record is held whatever it has. Six
/// documents of the largest size, by default.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How much further back to look when offsets turn out to have no records (compaction,
/// transactions).
const STRIDE: i64 = 8;

/// Which records to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeekFrom {
    /// The newest.
    End,
    /// The oldest.
    Beginning,
}

/// What was read.
#[derive(Debug)]
pub struct Peeked {
    /// The records, by partition and offset.
    pub records: Vec<RawRecord>,
    /// The topic's partitions.
    pub n_partitions: usize,
    /// Offsets between the topic's beginnings and its ends: as many records as it has, or more
    /// (compaction and transactions leave offsets without records).
    pub n_offsets: i64,
    /// Whether records were left out because those that were read have too many bytes: 64 MiB.
    pub is_cut: bool,
}

/// A partition that is read: from `next` up to `end`, exclusive.
struct Part {
    low: i64,
    next: i64,
    end: i64,
    /// How many records of it are wanted.
    wanted: usize,
    records: VecDeque<RawRecord>,
}

/// Reads up to `n` records of `topic`, spread over its partitions. Blocks. See
/// [`crate::Admin::peek`].
pub(crate) fn read(
    config: &KafkaConfig,
    topic: &str,
    n: usize,
    from: PeekFrom,
) -> Result<Peeked, KafkaError> {
    let consumer = client::reader(config, &config.group)?;
    let peek = Peek { config, topic, consumer, start: Instant::now() };
    let mut parts = peek.parts()?;
    let n_partitions = parts.len();
    let n_offsets = parts.values().map(|part| part.end - part.low).sum();
    let available: Vec<i64> = parts.values().map(|part| part.end - part.low).collect();
    for (part, wanted) in parts.values_mut().zip(spread(n, &available)) {
        part.wanted = wanted;
        part.next = match from {
            PeekFrom::Beginning => part.low,
            PeekFrom::End => (part.end - wanted as i64).max(part.low),
        };
    }
    parts.retain(|_, part| part.wanted > 0);

    let mut budget = Budget { bytes: 0, is_cut: false };
    // Each round reads what the one before it lacked, from further back.
    let mut open = parts;
    let mut done: BTreeMap<i32, Part> = BTreeMap::new();
    while !open.is_empty() {
        let starts: BTreeMap<i32, i64> = open.iter().map(|(&id, part)| (id, part.next)).collect();
        peek.round(&mut open, from, &mut budget)?;
        for (id, mut part) in std::mem::take(&mut open) {
            let start = starts.get(&id).copied().unwrap_or(part.low);
            let lacks = part.records.len() < part.wanted && start > part.low && !budget.is_cut;
            if lacks && from == PeekFrom::End {
                part.next = (part.end - (part.end - start) * STRIDE).max(part.low);
                budget.give_back(part.records.drain(..));
                open.insert(id, part);
            } else {
                done.insert(id, part);
            }
        }
    }
    let records = done.into_values().flat_map(|part| part.records).collect();
    Ok(Peeked { records, n_partitions, n_offsets, is_cut: budget.is_cut })
}

struct Peek<'a> {
    config: &'a KafkaConfig,
    topic: &'a str,
    consumer: BaseConsumer<QuietContext>,
    start: Instant,
}

impl Peek<'_> {
    fn what(&self) -> String {
        format!("reading records of topic \"{}\"", self.topic)
    }

    /// All partitions, with their beginnings and ends.
    fn parts(&self) -> Result<BTreeMap<i32, Part>, KafkaError> {
        let diagnostics = &self.consumer.context().diagnostics;
        let mut parts = BTreeMap::new();
        for id in reach::partitions(self.config, &self.consumer, diagnostics, self.topic)? {
            let (low, end) = self
                .consumer
                .fetch_watermarks(self.topic, id, self.config.start_timeout)
                .map_err(|error| request_failed(self.config, self.topic, &self.what(), &error))?;
            let part = Part { low, next: low, end, wanted: 0, records: VecDeque::new() };
            parts.insert(id, part);
        }
        Ok(parts)
    }

    /// Reads every partition from its `next` to its end, or until it has what is wanted.
    fn round(
        &self,
        parts: &mut BTreeMap<i32, Part>,
        from: PeekFrom,
        budget: &mut Budget,
    ) -> Result<(), KafkaError> {
        let fail = |error: RdError| other(self.config, &self.what(), &error);
        let mut assignment = TopicPartitionList::new();
        for (&id, part) in parts.iter() {
            assignment
                .add_partition_offset(self.topic, id, Offset::Offset(part.next))
                .map_err(fail)?;
        }
        self.consumer.assign(&assignment).map_err(fail)?;
        let topic: Arc<str> = Arc::from(self.topic);
        let mut open: Vec<i32> = parts.keys().copied().collect();
        while !open.is_empty() && !budget.is_cut {
            if self.start.elapsed() > DEADLINE {
                return Err(KafkaError::Timeout {
                    brokers: self.config.brokers.clone(),
                    waited: DEADLINE,
                    what: self.what(),
                });
            }
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let id = message.partition();
                    // What the round before had fetched may still be handed out.
                    let Some(part) = parts.get_mut(&id).filter(|_| open.contains(&id)) else {
                        continue;
                    };
                    if message.offset() >= part.next && message.offset() < part.end {
                        part.next = message.offset() + 1;
                        let record = record::from_message(&topic, &message);
                        part.push(record, from, budget);
                    }
                    let is_full = from == PeekFrom::Beginning && part.records.len() >= part.wanted;
                    if is_full || message.offset() + 1 >= part.end {
                        open.retain(|other| *other != id);
                    }
                }
                // The last offsets may hold no records, or none that is committed.
                Some(Err(RdError::PartitionEOF(id))) => open.retain(|other| *other != id),
                Some(Err(error)) => self.give_up(&error)?,
                None => {}
            }
        }
        Ok(())
    }

    /// An error that trying again does not mend.
    fn give_up(&self, error: &RdError) -> Result<(), KafkaError> {
        use rdkafka::types::RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition) => {
                Err(request_failed(self.config, self.topic, &self.what(), error))
            }
            // librdkafka goes on, until the deadline.
            _ => Ok(()),
        }
    }
}

impl Part {
    /// Keeps a record, and of the newest no more than are wanted.
    fn push(&mut self, record: RawRecord, from: PeekFrom, budget: &mut Budget) {
        if from == PeekFrom::End && self.records.len() >= self.wanted {
            budget.give_back(self.records.drain(..1));
        }
        if budget.take(&record) {
            self.records.push_back(record);
        }
    }
}

/// Bytes of the records that are held.
struct Budget {
    bytes: usize,
    is_cut: bool,
}

impl Budget {
    fn take(&mut self, record: &RawRecord) -> bool {
        let is_first = self.bytes == 0;
        if !is_first && self.bytes + record.size() > MAX_BYTES {
            self.is_cut = true;
            return false;
        }
        self.bytes += record.size();
        true
    }

    fn give_back(&mut self, records: impl Iterator<Item = RawRecord>) {
        let bytes: usize = records.map(|record| record.size()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// How many of `n` to take from each: alike, and what one lacks from the others.
fn spread(n: usize, available: &[i64]) -> Vec<usize> {
    let mut shares = vec![0_usize; available.len()];
    let mut left = n;
    loop {
        let room = |(share, available): (&usize, &i64)| (*share as i64) < *available;
        let n_open = shares.iter().zip(available).filter(|pair| room(*pair)).count();
        if left == 0 || n_open == 0 {
            return shares;
        }
        let each = (left / n_open).max(1);
        for (share, available) in shares.iter_mut().zip(available) {
            let room = usize::try_from(*available).unwrap_or(0).saturating_sub(*share);
            let more = each.min(room).min(left);
            *share += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_alike_from_all_partitions() {
        assert_eq!(spread(10, &[100, 100, 100, 100]), [3, 3, 2, 2]);
        assert_eq!(spread(10, &[1, 100, 0, 3]), [1, 6, 0, 3]);
        assert_eq!(spread(10, &[2, 2]), [2, 2]);
        assert_eq!(spread(1, &[5, 5]), [1, 0]);
        assert_eq!(spread(0, &[5, 5]), [0, 0]);
        assert_eq!(spread(5, &[]), [0_usize; 0]);
        assert_eq!(spread(1000, &[i64::MAX, 1]), [999, 1]);
    }
}
