//! The device thread: the only one that touches the models.

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use livedex_core::ports::ModelError;

use super::{
    admission::Health,
    execute::{DeviceFailure, Model, execute},
    job::{Answer, Input, Job, Message, Submission},
    policy::{Batch, Dropped, Entry, Lane, Policy, Step, Ticket, Work},
    telemetry::{
        BATCH_SECONDS, BATCH_TOKENS, DROPPED_TOTAL, LANE, REASON, TOKEN_BUDGET, TOKENS_TOTAL,
    },
};
use crate::backend::{LoadedEmbedder, LoadedReranker, PairTokens};

#[cfg(test)]
mod tests;

/// A device's models.
pub(crate) struct Models {
    pub(crate) embedder: Option<LoadedEmbedder>,
    pub(crate) reranker: Option<LoadedReranker>,
}

/// Everything the thread owns. Fields are dropped in this order: callers hear before weights
/// are freed.
pub(crate) struct Device {
    inbox: Receiver<Message>,
    jobs: HashMap<Ticket, Job>,
    policy: Policy,
    tickets: Ticket,
    budget: usize,
    health: Arc<Health>,
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
    ) -> Self {
        Self { inbox, jobs: HashMap::new(), policy, tickets: 0, budget, health, models }
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
            if self.health.is_stopping() {
                return Ok(());
            }
            let now = Instant::now();
            self.sweep(now);
            self.health.report_depth();
            let waited = match self.policy.next(now) {
                Step::Run(batch) => {
                    self.run_batch(batch)?;
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
        let Message::Submit(Submission { work, job, arrived, deadline }) = message else {
            return;
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

    fn run_batch(&mut self, batch: Batch) -> Result<(), DeviceFailure> {
        match batch.work {
            Work::EmbedQuery | Work::EmbedDocument => self.embed(batch),
            Work::Rerank => self.rerank(batch),
        }
    }

    fn embed(&mut self, batch: Batch) -> Result<(), DeviceFailure> {
        let sequences: Vec<Vec<u32>> = (batch.parts.iter())
            .filter_map(|(ticket, _)| match &mut self.jobs.get_mut(ticket)?.input {
                Input::Sequence(ids) => Some(std::mem::take(ids)),
                Input::Pairs { .. } => None,
            })
            .collect();
        let Some(model) = &mut self.models.embedder else {
            return Err(DeviceFailure(
                "an embedding was asked of a device without embedder".into(),
            ));
        };
        let results = timed(model, &sequences, batch.work.lane(), &mut self.budget)?;
        self.policy.set_budget(self.budget);
        for ((ticket, _), result) in batch.parts.into_iter().zip(results) {
            self.finish(ticket, result);
        }
        Ok(())
    }

    fn rerank(&mut self, batch: Batch) -> Result<(), DeviceFailure> {
        let mut pairs: Vec<PairTokens> = Vec::new();
        for (ticket, count) in &batch.parts {
            if let Some(Job { input: Input::Pairs { rest, .. }, .. }) = self.jobs.get_mut(ticket) {
                pairs.extend(rest.take(*count));
            }
        }
        let Some(model) = &mut self.models.reranker else {
            return Err(DeviceFailure("a reranking was asked of a device without reranker".into()));
        };
        let results = timed(model, &pairs, batch.work.lane(), &mut self.budget)?;
        self.policy.set_budget(self.budget);
        let mut results = results.into_iter();
        for (ticket, count) in batch.parts {
            // First the whole piece: collecting into a `Result` stops at the first error and
            // would leave the rest to the next request.
            let piece: Vec<_> = results.by_ref().take(count).collect();
            self.collect(ticket, piece.into_iter().collect());
        }
        Ok(())
    }

    /// Adds a piece to its request's scores, and answers when it is complete or has failed.
    fn collect(&mut self, ticket: Ticket, piece: Answer) {
        let Some(Job { input: Input::Pairs { rest, scores }, .. }) = self.jobs.get_mut(&ticket)
        else {
            return;
        };
        match piece {
            Err(error) => {
                self.policy.remove(ticket);
                self.finish(ticket, Err(error));
            }
            Ok(piece) => {
                scores.extend(piece);
                if rest.as_slice().is_empty() {
                    let scores = scores.so_far();
                    self.finish(ticket, Ok(scores));
                }
            }
        }
    }
}

/// Runs a batch and reports what it cost.
fn timed<M: Model>(
    model: &mut M,
    inputs: &[M::Input],
    lane: Lane,
    budget: &mut usize,
) -> Result<Vec<Result<M::Output, ModelError>>, DeviceFailure> {
    let tokens = M::tokens(&inputs.iter().collect::<Vec<_>>());
    let begun = Instant::now();
    let before = *budget;
    let results = execute(model, inputs, budget)?;
    let lane = lane.label();
    metrics::histogram!(BATCH_SECONDS, LANE => lane).record(begun.elapsed().as_secs_f64());
    metrics::histogram!(BATCH_TOKENS, LANE => lane).record(tokens as f64);
    metrics::counter!(TOKENS_TOTAL, LANE => lane).increment(tokens as u64);
    if *budget != before {
        metrics::gauge!(TOKEN_BUDGET).set(*budget as f64);
    }
    Ok(results)
}
