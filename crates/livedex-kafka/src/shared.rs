//! What the poll thread shares with the source, the acknowledger and the monitor.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use livedex_core::ports::{Acknowledger, FinishedRecord};

use crate::{
    KafkaError,
    diagnostics::lock,
    partitions::{PartitionStatus, PartitionTable},
    session::Session,
};

/// Shared state; locks are held for moments only, never over a call to librdkafka.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: Mutex<PartitionTable>,
    /// Set before the events end, if they end with an error.
    pub(crate) failure: Mutex<Option<KafkaError>>,
    /// Whether reading is paused, for back-pressure or because the source was stopped.
    pub(crate) is_paused: AtomicBool,
    /// Replaced by the poll thread alone.
    session: Mutex<Arc<Session>>,
    /// When the group gave this member its first assignment of the session, even an empty one.
    joined_at: Mutex<Option<Instant>>,
    /// Whether it ever did.
    has_joined: AtomicBool,
}

impl Shared {
    pub(crate) fn new(session: Session) -> Self {
        let session = Arc::new(session);
        let mut table = PartitionTable::default();
        table.begin(Arc::clone(&session));
        Self {
            table: Mutex::new(table),
            failure: Mutex::default(),
            is_paused: AtomicBool::default(),
            session: Mutex::new(session),
            joined_at: Mutex::default(),
            has_joined: AtomicBool::default(),
        }
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::clone(&lock(&self.session))
    }

    /// Gives up everything that was read in the session that has ended, and begins another.
    pub(crate) fn start_over(&self) {
        let next = Arc::new(self.session().renewed());
        lock(&self.table).begin(Arc::clone(&next));
        *lock(&self.session) = next;
        *lock(&self.joined_at) = None;
    }

    pub(crate) fn joined(&self, now: Instant) {
        lock(&self.joined_at).get_or_insert(now);
        self.has_joined.store(true, Ordering::Relaxed);
    }

    pub(crate) fn joined_at(&self) -> Option<Instant> {
        *lock(&self.joined_at)
    }

    /// Whether the group has ever given this member an assignment.
    pub(crate) fn has_joined(&self) -> bool {
        self.has_joined.load(Ordering::Relaxed)
    }
}

/// Reports finished records to the watermarks, from any thread.
pub(crate) struct KafkaAcknowledger {
    pub(crate) topic: Arc<str>,
    pub(crate) shared: Arc<Shared>,
}

impl Acknowledger for KafkaAcknowledger {
    fn finish(&self, record: &FinishedRecord) {
        if record.position.topic == self.topic {
            // The table knows the record's bytes itself, so that a report made twice, or under
            // a dead lease, cannot unbalance the budget.
            lock(&self.shared.table).finish(
                record.position.partition,
                record.position.offset,
                &record.lease,
            );
        }
    }
}

/// A look at a running source, from any thread.
#[derive(Debug, Clone)]
pub struct SourceMonitor {
    pub(crate) shared: Arc<Shared>,
}

impl SourceMonitor {
    /// Whether the group has given this member its partitions (which may be none).
    pub fn has_joined(&self) -> bool {
        self.shared.joined_at().is_some()
    }

    /// The partitions that this member owns, ascending.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        lock(&self.shared.table).status()
    }

    /// Bytes of records that were read and are not finished, with a flat cost per record.
    pub fn in_flight_bytes(&self) -> usize {
        lock(&self.shared.table).in_flight_bytes()
    }

    /// Whether reading is paused, for back-pressure or because the source was stopped.
    pub fn is_paused(&self) -> bool {
        self.shared.is_paused.load(Ordering::Relaxed)
    }
}
