//! The poll thread: the only place that touches the consumer.
//!
//! One `BaseConsumer`, polled at least every 100 ms from its creation to its end, whatever the
//! pipeline does: so `max.poll.interval.ms` is never at risk, however long a batch takes. Not
//! `StreamConsumer` and no split partition queues: both have lost wake-ups on record
//! (rust-rdkafka #638, #665, #840; vector #22006, #26438).
//!
//! Records that were read wait in a buffer until the channel has room. The buffer needs no bound
//! of its own: what is in it counts as in flight, and the gate pauses reading at the budget.
//! (Pausing whenever the channel is full would flap; see [`crate::gate`].) Pausing loses
//! nothing: what librdkafka had fetched ahead it fetches again from the position after the last
//! record that was polled.
//!
//! After standing still for too long (see [`crate::session`]) the thread gives up everything that
//! was read and joins the group anew, whether or not the coordinator has noticed: some lease may
//! have been found dead meanwhile, and its record must be read again by somebody.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use livedex_core::{
    ports::SourceEvent,
    record::{Depth, RawRecord},
};
use rdkafka::{
    TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError as RdError, KafkaResult},
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use tokio::sync::{mpsc, watch};

use crate::{
    EndMode, KafkaConfig, KafkaError,
    diagnostics::lock,
    gate::{Gate, Moved},
    member::MemberConsumer,
    metrics::{self, SourceMeters},
    partitions::Tracked,
    record,
    shared::Shared,
};

/// The longest wait inside one poll.
const POLL: Duration = Duration::from_millis(100);

/// The wait while something else than a message may be the next thing to happen: room in the
/// channel, bytes given back.
const BUSY_POLL: Duration = Duration::from_millis(5);

/// The poll thread's ends of the channels.
pub(crate) struct Wires {
    pub(crate) events: mpsc::Sender<SourceEvent>,
    /// Whether the source was stopped.
    pub(crate) stopped: watch::Receiver<bool>,
    /// Until when the last commit may take; the thread ends then.
    pub(crate) close: Receiver<Instant>,
    /// Told at the end whether everything finished is committed.
    pub(crate) closed: watch::Sender<Option<bool>>,
}

/// The poll thread's state.
pub(crate) struct Poll {
    consumer: Arc<MemberConsumer>,
    shared: Arc<Shared>,
    brokers: String,
    topic: Arc<str>,
    end: EndMode,
    max_poll_records: usize,
    commit_interval: Duration,
    revoke_timeout: Duration,
    gate: Gate,
    buffer: VecDeque<RawRecord>,
    /// `None` once no more events will come.
    events: Option<mpsc::Sender<SourceEvent>>,
    stopped: watch::Receiver<bool>,
    close: Receiver<Instant>,
    closed: watch::Sender<Option<bool>>,
    meters: SourceMeters,
    last_commit: Instant,
    /// Whether this stretch of having caught up was announced.
    is_announced: bool,
    /// Whether there is no more to read for now, because it ends once what was read is committed.
    is_held: bool,
}

impl Poll {
    pub(crate) fn new(
        config: &KafkaConfig,
        end: EndMode,
        consumer: Arc<MemberConsumer>,
        shared: Arc<Shared>,
        wires: Wires,
    ) -> Self {
        let meters = SourceMeters::new(&shared.stream);
        Self {
            consumer,
            shared,
            brokers: config.brokers.clone(),
            topic: Arc::from(config.topic.as_str()),
            end,
            max_poll_records: config.max_poll_records,
            commit_interval: config.commit_interval,
            revoke_timeout: config.revoke_timeout,
            gate: Gate::new(config.max_in_flight_bytes),
            buffer: VecDeque::new(),
            events: Some(wires.events),
            stopped: wires.stopped,
            close: wires.close,
            closed: wires.closed,
            meters,
            last_commit: Instant::now(),
            is_announced: false,
            is_held: false,
        }
    }

    /// Runs until it is told to close.
    pub(crate) fn run(mut self) {
        loop {
            match self.close.try_recv() {
                Ok(deadline) => return self.finish(deadline),
                Err(TryRecvError::Disconnected) => {
                    let deadline = Instant::now() + self.revoke_timeout;
                    return self.finish(deadline);
                }
                Err(TryRecvError::Empty) => {}
            }
            if !self.shared.session().poll() {
                self.start_over();
            }
            if self.events.is_some() && *self.stopped.borrow() {
                self.stop_reading();
            }
            self.steer();
            let is_idle = self.poll();
            if is_idle || self.buffer.len() >= self.max_poll_records {
                self.hand_out();
                self.meters.waiting(self.shared.waiting.depth());
                self.announce();
                self.commit_if_due();
            }
        }
    }

    /// Joins the group as one that has nothing.
    fn start_over(&mut self) {
        tracing::warn!(
            limit_ms = self.shared.session().room().as_millis() as u64,
            "this process stood still for so long that its partitions may be another member's: it \
             writes and commits nothing more for them, and joins the group again"
        );
        metrics::rebalanced(&self.shared.stream, "expired");
        self.shared.start_over();
        self.shared.waiting.remove(&self.buffer);
        self.buffer.clear();
        self.is_announced = false;
        self.consumer.unsubscribe();
        // One that was stopped has nothing to come back for.
        if self.events.is_some()
            && let Err(error) = self.consumer.subscribe(&[&self.topic])
        {
            self.fail(KafkaError::Other {
                brokers: self.brokers.clone(),
                what: "joining the group again".to_owned(),
                detail: error.to_string().replace(['\n', '\r'], " "),
            });
        }
    }

    /// Polls once. True if nothing more is waiting just now.
    fn poll(&mut self) -> bool {
        let wait = match &self.events {
            Some(events) if !self.buffer.is_empty() && events.capacity() > 0 => Duration::ZERO,
            Some(_) if !self.buffer.is_empty() || self.gate.is_closed() => BUSY_POLL,
            _ => POLL,
        };
        // The message borrows the consumer, and taking it needs `self`.
        let consumer = Arc::clone(&self.consumer);
        match consumer.poll(wait) {
            Some(Ok(message)) => {
                self.take(&message);
                false
            }
            Some(Err(error)) => {
                self.complain(error);
                true
            }
            None => true,
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        if self.events.is_none() {
            // Stopped: not tracked, so not committed, so read again by whoever comes next.
            return;
        }
        let mut record = record::from_message(&self.topic, message);
        let (partition, offset) = (record.position.partition, record.position.offset);
        record.lease = match lock(&self.shared.table).track(partition, offset, record.size()) {
            Tracked::New(lease) => lease,
            Tracked::StartsOver(lease) => {
                tracing::warn!(position = %record.position, "the partition starts over: was the topic made again?");
                lease
            }
            Tracked::Duplicate | Tracked::NotOurs => return,
        };
        self.meters.records.increment(1);
        self.shared.waiting.add(&record);
        self.buffer.push_back(record);
    }

    fn complain(&mut self, error: RdError) {
        let code = match error {
            RdError::PartitionEOF(partition) => {
                lock(&self.shared.table).reached_end(partition);
                return;
            }
            RdError::MessageConsumptionFatal(code) => {
                let detail = self
                    .consumer
                    .client()
                    .fatal_error()
                    .map_or_else(|| code.to_string(), |(_, text)| text);
                return self
                    .fail(KafkaError::Fatal { code, detail: detail.replace(['\n', '\r'], " ") });
            }
            other => other.rdkafka_error_code(),
        };
        // Once it has worked, everything but a fatal error is waited out; librdkafka goes on
        // trying, and the context has logged it. Before that these are mistakes of set-up.
        let Some(code) = code.filter(|_| !self.shared.has_joined()) else { return };
        match code {
            RDKafkaErrorCode::InconsistentGroupProtocol => {
                self.fail(KafkaError::Fatal { code, detail: code.to_string() });
            }
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication => {
                self.fail(KafkaError::from_code(
                    &self.brokers,
                    &self.topic,
                    "joining the group",
                    code,
                ));
            }
            _ => {}
        }
    }

    /// Ends the events with an error.
    fn fail(&mut self, error: KafkaError) {
        if self.events.is_some() {
            *lock(&self.shared.failure) = Some(error);
            self.stop_reading();
        }
    }

    /// Pauses or resumes reading.
    fn steer(&mut self) {
        let in_flight = lock(&self.shared.table).in_flight_bytes();
        self.meters.in_flight_bytes.set(f64::from(u32::try_from(in_flight).unwrap_or(u32::MAX)));
        if self.events.is_none() {
            return;
        }
        match self.gate.update(in_flight) {
            Some(Moved::Closed) => tracing::debug!(in_flight, "the in-flight budget is used up"),
            Some(Moved::Opened) => tracing::debug!(in_flight, "the in-flight budget has room"),
            None => {}
        }
        let is_paused = self.gate.is_closed() || self.is_held;
        if is_paused != self.shared.is_paused.load(Ordering::Relaxed) {
            self.set_paused(is_paused);
        }
    }

    fn set_paused(&mut self, is_paused: bool) {
        // First, so that a partition assigned from now on follows.
        self.shared.is_paused.store(is_paused, Ordering::Relaxed);
        self.meters.paused.set(if is_paused { 1.0 } else { 0.0 });
        let apply = |list: TopicPartitionList| -> KafkaResult<()> {
            if is_paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) }
        };
        if let Err(error) = self.consumer.assignment().and_then(apply) {
            // Not paused: the budget is overshot. Not resumed: the next assignment resumes.
            tracing::warn!(%error, is_paused, "pausing or resuming failed");
        }
    }

    /// Gives the pipeline what it has room for. Records whose partition was revoked meanwhile
    /// are dropped: they belong to somebody else.
    fn hand_out(&mut self) {
        let Some(events) = &self.events else { return };
        while !self.buffer.is_empty() {
            let Ok(permit) = events.try_reserve() else { return };
            let n = self.buffer.len().min(self.max_poll_records);
            let mut batch: Vec<RawRecord> = self.buffer.drain(..n).collect();
            let dead = batch.extract_if(.., |record| !record.lease.is_live());
            self.shared.waiting.remove(&dead.collect::<Vec<_>>());
            if !batch.is_empty() {
                permit.send(SourceEvent::Records(batch));
            }
        }
    }

    /// Says that everything has been read (and committed, where that is the end), once each time
    /// it comes true.
    fn announce(&mut self) {
        let Some(events) = &self.events else { return };
        let table = lock(&self.shared.table);
        let is_settled = self.shared.is_settled(table.is_empty());
        let is_caught_up = is_settled
            && match self.end {
                EndMode::Forever => table.all_at_end(),
                EndMode::UntilCaughtUp => table.all_read(),
                EndMode::UntilCommitted => table.all_read() && table.all_committed(),
            };
        // On a topic that never rests, what comes later would keep it from its end. A partition
        // that is assigned meanwhile brings the reading back.
        self.is_held = self.end == EndMode::UntilCommitted && is_settled && table.all_read();
        drop(table);
        if !is_caught_up {
            self.is_announced = false;
        } else if !self.is_announced && self.buffer.is_empty() {
            self.is_announced = events.try_send(SourceEvent::CaughtUp).is_ok();
            if self.is_announced && self.end != EndMode::Forever {
                self.stop_reading();
            }
        }
    }

    /// No more events; membership and commits go on until the close.
    fn stop_reading(&mut self) {
        self.events = None;
        self.shared.waiting.remove(&self.buffer);
        self.buffer.clear();
        self.set_paused(true);
    }

    fn commit_if_due(&mut self) {
        if self.last_commit.elapsed() < self.commit_interval {
            return;
        }
        self.last_commit = Instant::now();
        let n_partitions = lock(&self.shared.table).len();
        self.meters.partitions.set(f64::from(u32::try_from(n_partitions).unwrap_or(u32::MAX)));
        self.consumer.context().commit();
    }

    /// Commits what is finished and leaves the group.
    fn finish(mut self, deadline: Instant) {
        self.stop_reading();
        let is_ok = self.commit_last(deadline);
        self.meters.in_flight_bytes.set(0.0);
        self.meters.waiting(Depth::default());
        self.meters.paused.set(0.0);
        self.meters.partitions.set(0.0);
        // Destroys the consumer: it leaves the group, and the last revoke kills the leases.
        drop(self.consumer);
        self.closed.send_replace(Some(is_ok));
    }

    /// Commits what is finished, until the broker confirms it or `deadline`, and returns whether it
    /// did. It polls meanwhile: during a rebalance, as in a rolling restart, the broker lets a commit
    /// wait, refuses it, and goes on only once every member has polled.
    fn commit_last(&self, deadline: Instant) -> bool {
        let mut asked = None;
        while Instant::now() < deadline && self.shared.session().poll() {
            let wait = match &asked {
                None => match self.consumer.context().begin_commit(deadline) {
                    None => return true,
                    begun => {
                        asked = begun;
                        BUSY_POLL
                    }
                },
                Some(answer) => match answer.try_recv() {
                    Err(TryRecvError::Empty) => BUSY_POLL,
                    // Whether anything is left to commit the table knows.
                    outcome => {
                        asked = None;
                        if outcome == Ok(true) { Duration::ZERO } else { POLL }
                    }
                },
            };
            // What comes although everything is paused is not tracked.
            let _ = self.consumer.poll(wait);
        }
        false
    }
}
