//! The device thread: the only one that touches the models.
//!
//! A synchronous device (a CPU) runs one batch after the other on this thread. An asynchronous one
//! (a GPU) has a queue of its own: a batch goes behind the one that runs, another thread waits for
//! results, and what is done here (forming batches, copying ids, checking and answering) is done
//! while the device computes.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use livedex_core::ports::ModelError;

use super::{
    activity::{Load, Open},
    admission::Health,
    execute::DeviceFailure,
    flight::{Arrived, Flight, Flying},
    job::{Answer, Input, Job, Landed, Message, Submission},
    limits::MEMORY_INTERVAL,
    models::{Inputs, Models, Results},
    policy::{Batch, Dropped, Entry, Policy, Step, Ticket, Work},
    telemetry::{self, DROPPED_TOTAL, REASON, TOKEN_BUDGET},
    waiter::Waiter,
};

#[cfg(test)]
mod tests;

/// Everything the thread owns. Fields are dropped in this order: callers hear before weights
/// are freed.
pub(crate) struct Device {
    inbox: Receiver<Message>,
    jobs: HashMap<Ticket, Job>,
    policy: Policy,
    tickets: Ticket,
    budget: usize,
    health: Arc<Health>,
    activity: Open,
    /// Of an asynchronous device.
    waiter: Option<Waiter>,
    flight: Flight,
    /// When the device's memory was last looked at.
    looked: Option<Instant>,
    models: Models,
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned());
    format!("the device thread panicked: {text}")
}

impl Device {
    pub(crate) fn new(
        inbox: Receiver<Message>,
        policy: Policy,
        budget: usize,
        health: Arc<Health>,
        models: Models,
        activity: Open,
    ) -> Self {
        Self {
            inbox,
            jobs: HashMap::new(),
            policy,
            tickets: 0,
            budget,
            health,
            activity,
            waiter: None,
            flight: Flight::default(),
            looked: None,
            models,
        }
    }

    /// For an asynchronous device.
    pub(crate) fn with_waiter(mut self, waiter: Waiter) -> Self {
        self.waiter = Some(waiter);
        self.policy = self.policy.overlapping();
        self
    }

    /// Serves until stopped, or until the device dies. Either way nobody waits for ever:
    /// [`Health::ended`] is said before the jobs are dropped.
    pub(crate) fn serve(mut self) {
        metrics::gauge!(TOKEN_BUDGET).set(self.budget as f64);
        let end = catch_unwind(AssertUnwindSafe(|| self.run()));
        let reason = match end {
            Ok(Ok(())) => None,
            Ok(Err(DeviceFailure(reason))) => Some(reason),
            Err(panic) => Some(panic_message(&*panic)),
        };
        match &reason {
            None => tracing::debug!("the device thread has stopped"),
            Some(reason) => tracing::error!(reason, "the device is dead"),
        }
        self.health.ended(reason);
    }

    fn run(&mut self) -> Result<(), DeviceFailure> {
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            self.answer_arrived()?;
            let is_stopping = self.health.is_stopping();
            // The watchdog ends the device over this thread's head.
            if is_stopping && self.flight.is_empty() || self.health.has_ended() {
                return Ok(());
            }
            let now = Instant::now();
            self.sweep(now);
            self.report(now);
            let step = if !is_stopping && self.flight.has_room() {
                self.policy.next(now, self.flight.ingest_tokens())
            } else {
                Step::Idle
            };
            let waited = match step {
                Step::Run(batch) => {
                    self.start(batch)?;
                    continue;
                }
                Step::WaitUntil(until) => {
                    self.inbox.recv_timeout(until.saturating_duration_since(now))
                }
                Step::Idle => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match waited {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take(&mut self, message: Message) {
        let Submission { work, job, arrived, deadline } = match message {
            Message::Submit(submission) => submission,
            Message::Landed(landed) => return self.flight.land(landed),
            Message::Wake => return,
        };
        let ticket = self.tickets;
        self.tickets += 1;
        let (tokens, shared) = match &job.input {
            Input::Sequence(ids) => (vec![ids.len()], 0),
            Input::Pairs { rest, .. } => {
                let pairs = rest.as_slice();
                let shared = pairs.iter().map(|pair| pair.shared_prefix.min(pair.ids.len())).min();
                (pairs.iter().map(|pair| pair.ids.len()).collect(), shared.unwrap_or(0))
            }
        };
        self.policy.push(Entry { ticket, work, tokens, shared, arrived, deadline });
        self.jobs.insert(ticket, job);
    }

    fn sweep(&mut self, now: Instant) {
        let jobs = &self.jobs;
        let cancelled = |ticket| jobs.get(&ticket).is_none_or(Job::is_cancelled);
        for (ticket, why) in self.policy.sweep(now, cancelled) {
            let reason = match why {
                Dropped::Cancelled => "cancelled",
                Dropped::Deadline => "deadline",
            };
            metrics::counter!(DROPPED_TOTAL, REASON => reason).increment(1);
            self.finish(ticket, Err(ModelError::DeadlineExceeded));
        }
    }

    fn finish(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(job) = self.jobs.remove(&ticket) {
            job.answer(answer);
        }
    }

    fn report(&mut self, now: Instant) {
        self.health.report_depth();
        telemetry::busy(self.activity.take_busy());
        if self.looked.is_none_or(|looked| now - looked >= MEMORY_INTERVAL) {
            self.looked = Some(now);
            if let Some(memory) = self.models.memory() {
                telemetry::memory(memory);
            }
        }
    }

    /// Runs a batch, or submits it where there is somebody to wait for it.
    fn start(&mut self, batch: Batch) -> Result<(), DeviceFailure> {
        let inputs = self.gather(&batch);
        let Some(waiter) = &self.waiter else {
            let begun = Instant::now();
            let lane = batch.work.lane();
            let results =
                self.models.execute(&inputs, None, &mut self.budget, lane, &self.activity)?;
            self.done(batch, &inputs, results, begun.elapsed());
            return Ok(());
        };
        let load = Load { lane: batch.work.lane(), tokens: batch.tokens };
        let turn = self.activity.begin(load);
        let submitted = self.models.submit(&inputs);
        self.flight.push(Flying { turn: turn.id(), batch, inputs });
        match submitted {
            Ok(pending) => waiter.wait_for(turn, pending)?,
            Err(error) => {
                let (turn, took) = (turn.id(), turn.end());
                self.flight.land(Landed { turn, outcome: Err(error), took });
            }
        }
        Ok(())
    }

    /// Answers the batches in flight whose turn it is; what failed runs again, here.
    fn answer_arrived(&mut self) -> Result<(), DeviceFailure> {
        let next = |models: &Models, flight: &mut Flight| {
            flight.next(|inputs, outcome| models.accepts(inputs, outcome))
        };
        while let Some(arrived) = next(&self.models, &mut self.flight) {
            let Arrived { batch, inputs, outcome, took } = arrived;
            let (begun, lane) = (Instant::now(), batch.work.lane());
            let outcome = Some(outcome);
            let results =
                self.models.execute(&inputs, outcome, &mut self.budget, lane, &self.activity)?;
            self.done(batch, &inputs, results, took + begun.elapsed());
        }
        Ok(())
    }

    /// Takes a batch's inputs from their requests.
    fn gather(&mut self, batch: &Batch) -> Inputs {
        let jobs = &mut self.jobs;
        match batch.work {
            Work::EmbedQuery | Work::EmbedDocument => {
                let take = |(ticket, _): &(Ticket, usize)| match &mut jobs.get_mut(ticket)?.input {
                    Input::Sequence(ids) => Some(std::mem::take(ids)),
                    Input::Pairs { .. } => None,
                };
                Inputs::Sequences(batch.parts.iter().filter_map(take).collect())
            }
            Work::Rerank => {
                let mut pairs = Vec::new();
                for (ticket, count) in &batch.parts {
                    if let Some(Job { input: Input::Pairs { rest, .. }, .. }) = jobs.get_mut(ticket)
                    {
                        pairs.extend(rest.take(*count));
                    }
                }
                Inputs::Pairs(pairs)
            }
        }
    }

    /// Hands a batch's results to their requests, and reports what it cost.
    fn done(&mut self, batch: Batch, inputs: &Inputs, results: Results, took: Duration) {
        let lane = batch.work.lane();
        let budget = self.policy.lane_budget(lane);
        telemetry::batch(lane.label(), inputs.tokens(), budget, took);
        self.policy.set_budget(self.budget);
        metrics::gauge!(TOKEN_BUDGET).set(self.budget as f64);
        match results {
            Results::Vectors(results) => {
                for ((ticket, _), result) in batch.parts.into_iter().zip(results) {
                    self.finish(ticket, result);
                }
            }
            Results::Scores(results) => {
                let mut results = results.into_iter();
                for (ticket, count) in batch.parts {
                    // First the whole piece: collecting into a `Result` stops at the first error
                    // and would leave the rest to the next request.
                    let piece: Vec<_> = results.by_ref().take(count).collect();
                    self.collect(ticket, piece.into_iter().collect());
                }
            }
        }
    }

    /// Adds a piece to its request's scores, and answers when it is complete or has failed.
    fn collect(&mut self, ticket: Ticket, piece: Answer) {
        let Some(Job { input: Input::Pairs { unscored, scores, .. }, .. }) =
            self.jobs.get_mut(&ticket)
        else {
            return;
        };
        match piece {
            Err(error) => {
                self.policy.remove(ticket);
                self.finish(ticket, Err(error));
            }
            Ok(piece) => {
                *unscored -= piece.len();
                scores.extend(piece);
                if *unscored == 0 {
                    let scores = scores.so_far();
                    self.finish(ticket, Ok(scores));
                }
            }
        }
    }
}
