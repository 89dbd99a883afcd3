//! Decoded records, and which of them form the next wave.
//!
//! The order of a document's events is kept here: a record whose document is in a wave that is in
//! flight stays in the queue, and so do all later ones of that document, while records of other
//! documents pass it. Within a wave the events of one document collapse to the last; a replayed
//! one ([`livedex_core::replay`]) takes the place that its version has among them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

use livedex_core::{
    deletion::DeletionId,
    document::Change,
    ids::DocumentKey,
    record::{DeadLetterReason, Depth, RawRecord, SourcePosition},
    replay::{fence_position, is_later},
};

use crate::{
    config::PipelineConfig,
    metrics::{self, Outcome},
};

/// A record, and what it says.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) record: RawRecord,
    pub(crate) change: Result<Change, DeadLetterReason>,
}

/// A document's last event in a wave.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) record: RawRecord,
    pub(crate) change: Change,
    /// The document's earlier versions in the wave, oldest first. They are finished with this one,
    /// unless it cannot be applied: then the one before it counts.
    pub(crate) earlier: Vec<(RawRecord, Change)>,
}

impl Event {
    /// Where the version that it brings stands, or stood first.
    pub(crate) fn position(&self) -> SourcePosition {
        fence_position(&self.record)
    }

    /// The entry that a deletion of its document by that partition has.
    pub(crate) fn deletion_id(&self) -> DeletionId {
        let position = self.position();
        DeletionId::new(self.change.key(), &position.topic, position.partition)
    }

    /// Takes in a later record of the document. It becomes the event, unless it was replayed and
    /// brings an older version: then it goes where that belongs.
    fn take_in(&mut self, record: RawRecord, change: Change) {
        let position = fence_position(&record);
        if is_later(&self.position(), &position) {
            let before =
                |(other, _): &(RawRecord, Change)| !is_later(&fence_position(other), &position);
            let at = self.earlier.iter().rposition(before).map_or(0, |last| last + 1);
            self.earlier.insert(at, (record, change));
        } else {
            let record = mem::replace(&mut self.record, record);
            let change = mem::replace(&mut self.change, change);
            self.earlier.push((record, change));
        }
    }

    /// The event before this one, which takes its place.
    pub(crate) fn fall_back(mut earlier: Vec<(RawRecord, Change)>) -> Option<Self> {
        let (record, change) = earlier.pop()?;
        Some(Self { record, change, earlier })
    }
}

/// Records to work on together: at most one event a document.
#[derive(Debug, Default)]
pub(crate) struct Wave {
    pub(crate) events: Vec<Event>,
    /// Records that could not be decoded.
    pub(crate) undecoded: Vec<(RawRecord, DeadLetterReason)>,
    /// All of its records.
    pub(crate) depth: Depth,
}

impl Wave {
    /// The documents that are in flight with it.
    pub(crate) fn keys(&self) -> Vec<DocumentKey> {
        self.events.iter().map(|event| event.change.key().clone()).collect()
    }
}

/// Records that wait for a wave. Holds little more than one wave: the source is asked for more
/// only while there [is room](Queue::has_room).
pub(crate) struct Queue {
    entries: VecDeque<Decoded>,
    bytes: usize,
    busy: HashSet<DocumentKey>,
    max_records: usize,
    max_bytes: usize,
}

impl Queue {
    pub(crate) fn new(config: &PipelineConfig) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            busy: HashSet::new(),
            max_records: config.wave_records.max(1),
            max_bytes: config.wave_bytes.max(1),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is waiting.
    pub(crate) fn depth(&self) -> Depth {
        Depth { records: self.entries.len(), bytes: self.bytes }
    }

    /// Whether less than a wave is waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < self.max_records && self.bytes < self.max_bytes
    }

    pub(crate) fn push(&mut self, decoded: Decoded) {
        self.bytes += decoded.record.size();
        self.entries.push_back(decoded);
    }

    /// Takes the next wave and marks its documents as in flight; `None` if nothing can start now.
    /// Records of dead leases are dropped: their partition is another member's now.
    pub(crate) fn next_wave(&mut self) -> Option<Wave> {
        let mut wave = Wave::default();
        let mut place: HashMap<DocumentKey, usize> = HashMap::new();
        let mut waiting = VecDeque::new();
        let (mut n_records, mut n_bytes) = (0, 0);
        let mut entries = mem::take(&mut self.entries);
        while n_records < self.max_records && n_bytes < self.max_bytes {
            let Some(entry) = entries.pop_front() else { break };
            let size = entry.record.size();
            if !entry.record.lease.is_live() {
                self.bytes -= size;
                metrics::record(Outcome::Dropped);
                continue;
            }
            let Decoded { record, change } = match entry {
                Decoded { change: Ok(ref change), .. } if self.busy.contains(change.key()) => {
                    waiting.push_back(entry);
                    continue;
                }
                entry => entry,
            };
            n_records += 1;
            n_bytes += size;
            match change {
                Err(reason) => wave.undecoded.push((record, reason)),
                Ok(change) => match place.get(change.key()) {
                    Some(&index) => wave.events[index].take_in(record, change),
                    None => {
                        place.insert(change.key().clone(), wave.events.len());
                        wave.events.push(Event { record, change, earlier: Vec::new() });
                    }
                },
            }
        }
        waiting.append(&mut entries);
        self.entries = waiting;
        self.bytes -= n_bytes;
        self.busy.extend(place.into_keys());
        wave.depth = Depth { records: n_records, bytes: n_bytes };
        (n_records > 0).then_some(wave)
    }

    /// Tells that a wave with these documents is no longer in flight.
    pub(crate) fn landed(&mut self, keys: &[DocumentKey]) {
        for key in keys {
            self.busy.remove(key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use livedex_core::{
        ids::{DocumentId, Tenant},
        lease::Lease,
        record::Stage,
        replay::replayed_from_header,
    };

    use super::*;

    fn record(offset: i64, bytes: usize, lease: &Lease) -> RawRecord {
        RawRecord {
            position: SourcePosition { topic: "t".into(), partition: 0, offset },
            key: None,
            value: Some(vec![0; bytes]),
            headers: Vec::new(),
            timestamp_ms: None,
            lease: lease.clone(),
        }
    }

    fn entry(id: &str, offset: i64, lease: &Lease) -> Decoded {
        let key = DocumentKey { tenant: Tenant::default(), id: DocumentId::new(id).unwrap() };
        Decoded { record: record(offset, 10, lease), change: Ok(Change::Delete(key)) }
    }

    fn queue(wave_records: usize, wave_bytes: usize) -> Queue {
        Queue::new(&PipelineConfig { wave_records, wave_bytes, ..PipelineConfig::default() })
    }

    /// (offset of the event, offsets of the earlier ones)
    fn offsets(wave: &Wave) -> Vec<(i64, Vec<i64>)> {
        wave.events
            .iter()
            .map(|event| {
                let earlier = event.earlier.iter().map(|(r, _)| r.position.offset).collect();
                (event.record.position.offset, earlier)
            })
            .collect()
    }

    #[test]
    fn a_documents_events_collapse_to_the_last() {
        let (mut queue, lease) = (queue(10, 1000), Lease::new());
        for (id, offset) in [("a", 0), ("b", 1), ("a", 2), ("a", 3)] {
            queue.push(entry(id, offset, &lease));
        }
        let wave = queue.next_wave().unwrap();
        assert_eq!(offsets(&wave), [(3, vec![0, 2]), (1, vec![])]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn a_replayed_event_stands_where_its_version_does() {
        let (mut queue, lease) = (queue(10, 1000), Lease::new());
        let replayed = |offset, first| {
            let mut entry = entry("a", offset, &lease);
            let first = SourcePosition { offset: first, ..entry.record.position.clone() };
            entry.record.headers.push(replayed_from_header(&first));
            entry
        };
        queue.push(entry("a", 10, &lease));
        queue.push(entry("a", 11, &lease));
        // Older than both, between them (there was a 10 only), oldest of all, newest of all.
        queue.push(replayed(12, 9));
        queue.push(replayed(13, 10));
        queue.push(replayed(14, 3));
        assert_eq!(offsets(&queue.next_wave().unwrap()), [(11, vec![14, 12, 10, 13])]);
        queue.landed(&[entry("a", 0, &lease).change.unwrap().key().clone()]);
        queue.push(replayed(20, 7));
        queue.push(replayed(21, 8));
        queue.push(entry("a", 22, &lease));
        assert_eq!(offsets(&queue.next_wave().unwrap()), [(22, vec![20, 21])]);
    }

    #[test]
    fn a_document_in_flight_waits_and_others_pass_it() {
        let (mut queue, lease) = (queue(2, 1000), Lease::new());
        for (id, offset) in [("a", 0), ("b", 1), ("a", 2), ("c", 3), ("a", 4), ("d", 5)] {
            queue.push(entry(id, offset, &lease));
        }
        let first = queue.next_wave().unwrap();
        assert_eq!(offsets(&first), [(0, vec![]), (1, vec![])]);
        let second = queue.next_wave().unwrap();
        assert_eq!(offsets(&second), [(3, vec![]), (5, vec![])]);
        assert!(queue.next_wave().is_none(), "only events of a document in flight are left");
        queue.landed(&first.keys());
        assert_eq!(offsets(&queue.next_wave().unwrap()), [(4, vec![2])]);
    }

    #[test]
    fn a_wave_is_bounded_in_bytes_and_a_larger_record_passes_alone() {
        let (mut queue, lease) = (queue(10, 25), Lease::new());
        for (id, offset) in [("a", 0), ("b", 1), ("c", 2), ("d", 3)] {
            queue.push(entry(id, offset, &lease));
        }
        assert!(!queue.has_room());
        assert_eq!(queue.next_wave().unwrap().events.len(), 3, "the third crosses the bound");
        let mut large = entry("e", 4, &lease);
        large.record = record(4, 1000, &lease);
        queue.push(large);
        assert_eq!(queue.next_wave().unwrap().events.len(), 2);
        assert!(queue.has_room() && queue.bytes == 0);
    }

    #[test]
    fn records_of_a_dead_lease_are_dropped() {
        let (mut queue, dead, live) = (queue(10, 1000), Lease::new(), Lease::new());
        queue.push(entry("a", 0, &dead));
        queue.push(Decoded {
            record: record(1, 10, &dead),
            change: Err(DeadLetterReason {
                stage: Stage::Decode,
                class: "x".into(),
                message: "x".into(),
            }),
        });
        queue.push(entry("b", 2, &live));
        dead.kill();
        let wave = queue.next_wave().unwrap();
        assert_eq!(offsets(&wave), [(2, vec![])]);
        assert!(wave.undecoded.is_empty() && queue.is_empty() && queue.bytes == 0);
    }
}
