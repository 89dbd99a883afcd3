//! What the poll thread shares with the source, the acknowledger and the monitor.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use livedex_core::{
    ports::{Acknowledger, FinishedRecord},
    record::{Depth, RawRecord},
};

use crate::{
    KafkaConfig, KafkaError,
    diagnostics::lock,
    metrics,
    partitions::{CatchUp, PartitionStatus, PartitionTable},
    session::Session,
};

/// How long a member of the group without partitions waits for some before it counts as caught
/// up: the first assignment of a new member is empty while the others give partitions away.
const EMPTY_ASSIGNMENT_GRACE: Duration = Duration::from_secs(5);

/// Shared state; locks are held for moments only, never over a call to librdkafka.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The stream's name, for metrics.
    pub(crate) stream: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) table: Mutex<PartitionTable>,
    /// Set before the events end, if they end with an error.
    pub(crate) failure: Mutex<Option<KafkaError>>,
    /// Whether reading is paused, for back-pressure or because the source was stopped.
    pub(crate) is_paused: AtomicBool,
    /// Replaced by the poll thread alone.
    session: Mutex<Arc<Session>>,
    pub(crate) waiting: Waiting,
    membership: Mutex<Membership>,
}

/// The records between the poll thread and the pipeline: in the buffer and in the channel.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    /// A record was read.
    pub(crate) fn add(&self, record: &RawRecord) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(record.size(), Ordering::Relaxed);
    }

    /// These were handed out, or given up. Each has been added before.
    pub(crate) fn remove<'a>(&self, records: impl IntoIterator<Item = &'a RawRecord>) {
        for record in records {
            self.records.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(record.size(), Ordering::Relaxed);
        }
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Where the member stands in its group.
#[derive(Debug, Default)]
struct Membership {
    /// Whether the group has ever given this member an assignment.
    has_joined: bool,
    /// When the last assignment came, even an empty one. `None` in a session without one yet, and
    /// between a revoke and the assignment that follows it: an eager group takes everything before
    /// it gives it out again.
    assigned_at: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        let session = Arc::new(Session::start(config));
        let mut table = PartitionTable::default();
        table.begin(Arc::clone(&session));
        Self {
            stream: Arc::from(config.stream.as_str()),
            topic: Arc::from(config.topic.as_str()),
            table: Mutex::new(table),
            failure: Mutex::default(),
            is_paused: AtomicBool::default(),
            session: Mutex::new(session),
            waiting: Waiting::default(),
            membership: Mutex::default(),
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
        self.revoked();
    }

    pub(crate) fn assigned(&self, now: Instant) {
        *lock(&self.membership) = Membership { has_joined: true, assigned_at: Some(now) };
    }

    pub(crate) fn revoked(&self) {
        lock(&self.membership).assigned_at = None;
    }

    /// Whether what the member owns is its share, and no rebalance is known to be under way.
    pub(crate) fn is_settled(&self, owns_nothing: bool) -> bool {
        let assigned_at = lock(&self.membership).assigned_at;
        assigned_at.is_some_and(|at| !owns_nothing || at.elapsed() >= EMPTY_ASSIGNMENT_GRACE)
    }

    /// Brings the lag of each partition to the metrics, as far as it is known.
    pub(crate) fn report_lag(&self) {
        let owned = lock(&self.table).status();
        for status in owned {
            if let Some(records) = status.lag() {
                metrics::lag(&self.stream, &self.topic, status.partition, records);
            }
        }
    }

    /// Whether the group has ever given this member an assignment.
    pub(crate) fn has_joined(&self) -> bool {
        lock(&self.membership).has_joined
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
        self.shared.has_joined()
    }

    /// The partitions that this member owns, ascending.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        lock(&self.shared.table).status()
    }

    /// How far it is with what its partitions held when they were assigned; `None` until the
    /// group has given it partitions and the broker has said what they hold.
    pub fn catch_up(&self) -> Option<CatchUp> {
        let table = lock(&self.shared.table);
        if table.is_empty() { None } else { table.catch_up() }
    }

    /// Records that were read and that [`next`](livedex_core::ports::RecordSource::next) has not
    /// given out yet.
    pub fn waiting(&self) -> Depth {
        self.shared.waiting.depth()
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
