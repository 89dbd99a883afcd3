//! The way to the device thread: bounded lanes, and whether the thread is alive.
//!
//! A request takes a slot of its lane before anything is done for it, and gives it back when
//! it is answered or dropped. The query lane refuses when no slot is free; the ingest lane
//! lets the caller wait, first come, first served.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    time::Instant,
};

use livedex_core::ports::ModelError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{
    job::{Answer, Input, Job, Message, Submission},
    policy::{Lane, Work},
    telemetry::{DROPPED_TOTAL, LANE, QUEUE_DEPTH, REASON},
};

const STOPPED: &str = "the runtime was stopped";

/// What the device thread is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    /// It was told to end.
    Stopped,
    /// The device failed or the thread panicked, and why.
    Dead(String),
}

/// One lane's slots.
#[derive(Debug)]
struct Slots {
    free: Arc<Semaphore>,
    limit: usize,
}

impl Slots {
    fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }
}

/// Shared by callers and the device thread.
#[derive(Debug)]
pub(crate) struct Health {
    state: watch::Sender<State>,
    stopping: AtomicBool,
    query: Slots,
    ingest: Slots,
}

impl Health {
    pub(crate) fn new(query_limit: usize, ingest_limit: usize) -> Self {
        Self {
            state: watch::Sender::new(State::Running),
            stopping: AtomicBool::new(false),
            query: Slots::new(query_limit),
            ingest: Slots::new(ingest_limit),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The thread has ended: with a reason if it died. Wakes who waits for room or for an answer. Of
    /// two ends, the first counts.
    pub(crate) fn ended(&self, reason: Option<String>) {
        self.state.send_if_modified(|state| {
            let runs = *state == State::Running;
            if runs {
                *state = reason.map_or(State::Stopped, State::Dead);
            }
            runs
        });
        self.query.free.close();
        self.ingest.free.close();
    }

    /// Somebody has said that it ended, although the thread may not know yet.
    pub(crate) fn has_ended(&self) -> bool {
        *self.state.borrow() != State::Running
    }

    /// Resolves with the reason once the thread has died; never if it was stopped.
    pub(crate) fn dead(&self) -> impl Future<Output = String> + Send + use<> {
        let mut state = self.state.subscribe();
        async move {
            // The sender lives as long as any handle; without one nobody can die any more.
            if let Ok(state) = state.wait_for(|state| matches!(state, State::Dead(_))).await
                && let State::Dead(reason) = &*state
            {
                return reason.clone();
            }
            std::future::pending().await
        }
    }

    /// The error of every request from now on. Waits until the thread has said why it ended.
    async fn unavailable(&self) -> ModelError {
        let mut state = self.state.subscribe();
        ModelError::Dead(match state.wait_for(|state| *state != State::Running).await.as_deref() {
            Ok(State::Dead(reason)) => reason.clone(),
            _ => STOPPED.to_owned(),
        })
    }

    fn slots(&self, lane: Lane) -> &Slots {
        match lane {
            Lane::Query => &self.query,
            Lane::Ingest => &self.ingest,
        }
    }

    /// How many slots of the lane are taken.
    pub(crate) fn depth(&self, lane: Lane) -> usize {
        let slots = self.slots(lane);
        slots.limit - slots.free.available_permits()
    }

    /// Reports how many slots of each lane are taken.
    pub(crate) fn report_depth(&self) {
        for lane in [Lane::Query, Lane::Ingest] {
            metrics::gauge!(QUEUE_DEPTH, LANE => lane.label()).set(self.depth(lane) as f64);
        }
    }
}

/// A caller's end.
#[derive(Debug)]
pub(crate) struct Admission {
    health: Arc<Health>,
    inbox: SyncSender<Message>,
}

impl Admission {
    /// `inbox` has room for every slot, for every batch in flight, and for one message more.
    pub(crate) fn new(health: Arc<Health>, inbox: SyncSender<Message>) -> Self {
        Self { health, inbox }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// A slot of the query lane, or [`ModelError::Overloaded`] at once.
    pub(crate) async fn query_slot(&self) -> Result<OwnedSemaphorePermit, ModelError> {
        let slots = self.health.slots(Lane::Query);
        match slots.free.clone().try_acquire_owned() {
            Ok(slot) => Ok(slot),
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                metrics::counter!(DROPPED_TOTAL, REASON => "overloaded").increment(1);
                Err(ModelError::Overloaded { limit: slots.limit })
            }
            Err(tokio::sync::TryAcquireError::Closed) => Err(self.health.unavailable().await),
        }
    }

    /// Waits for `count` slots of the ingest lane, all at once: two callers that took them one
    /// by one could each hold what the other needs. `count` is at most the lane's limit.
    pub(crate) async fn ingest_slots(
        &self,
        count: usize,
    ) -> Result<Vec<OwnedSemaphorePermit>, ModelError> {
        let all = u32::try_from(count).unwrap_or(u32::MAX);
        let slots = self.health.slots(Lane::Ingest).free.clone();
        match slots.acquire_many_owned(all).await {
            Ok(mut all) => Ok(std::iter::from_fn(|| all.split(1)).take(count).collect()),
            Err(_) => Err(self.health.unavailable().await),
        }
    }

    /// Queues work.
    pub(crate) async fn submit(
        &self,
        work: Work,
        input: Input,
        slot: OwnedSemaphorePermit,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Answer>, ModelError> {
        let (job, answer) = Job::new(input, slot);
        let submission = Submission { work, job, arrived: Instant::now(), deadline };
        match self.inbox.try_send(Message::Submit(submission)) {
            Ok(()) => Ok(answer),
            // Cannot be: the inbox has room for every slot.
            Err(TrySendError::Full(_)) => {
                Err(ModelError::Overloaded { limit: self.health.slots(work.lane()).limit })
            }
            Err(TrySendError::Disconnected(_)) => Err(self.health.unavailable().await),
        }
    }

    /// Waits for the answer, or for the device's end: a thread that hangs in the driver answers nobody.
    pub(crate) async fn answer(&self, answer: oneshot::Receiver<Answer>) -> Answer {
        tokio::select! {
            // An answer that was given before the end counts.
            biased;
            Ok(answer) = answer => answer,
            error = self.health.unavailable() => Err(error),
        }
    }

    /// Ends the device thread after the current batch.
    pub(crate) fn stop(&self) {
        self.health.stopping.store(true, Ordering::Release);
        // Full: it is awake. Disconnected: it has ended.
        let _ = self.inbox.try_send(Message::Wake);
    }
}
