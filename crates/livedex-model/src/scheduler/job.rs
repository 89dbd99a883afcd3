//! What a caller hands to the device thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use livedex_core::ports::ModelError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{activity::TurnId, models::Outcome, policy::Work};
use crate::backend::PairTokens;

/// One vector, or one probability per document.
pub(crate) type Answer = Result<Vec<f32>, ModelError>;

/// A message to the device thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// Work. Each carries its slot, so there are never more than slots.
    Submit(Submission),
    /// A batch that was in flight has ended.
    Landed(Landed),
    /// Look at the stop flag.
    Wake,
}

/// What came of a batch that was in flight.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) turn: TurnId,
    pub(crate) outcome: Outcome,
    /// How long its turn on the device was.
    pub(crate) took: Duration,
}

/// A tokenized request.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) work: Work,
    pub(crate) job: Job,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// A request's input, and the way back to its caller.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) input: Input,
    reply: oneshot::Sender<Answer>,
    slot: OwnedSemaphorePermit,
}

/// What is left to run, and what has come of the rest.
#[derive(Debug)]
pub(crate) enum Input {
    /// A sequence to embed.
    Sequence(Vec<u32>),
    /// Pairs to score.
    Pairs {
        /// Not yet given to the device.
        rest: std::vec::IntoIter<PairTokens>,
        /// Pairs without a score: those, and those that are on the device.
        unscored: usize,
        /// Of those that have run, in order.
        scores: Scores,
    },
}

impl Input {
    pub(crate) fn pairs(pairs: Vec<PairTokens>, scores: Scores) -> Self {
        Self::Pairs { unscored: pairs.len(), rest: pairs.into_iter(), scores }
    }
}

/// Scores as they come, in order. The caller sees them, too: at its deadline it takes what there is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scores(Arc<Mutex<Vec<f32>>>);

impl Scores {
    pub(crate) fn extend(&self, more: Vec<f32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
    }

    pub(crate) fn so_far(&self) -> Vec<f32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Job {
    pub(crate) fn new(
        input: Input,
        slot: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        (Self { input, reply, slot }, answer)
    }

    /// The caller waits no longer.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers. The slot is free before the caller knows, so that it can ask again at once.
    pub(crate) fn answer(self, answer: Answer) {
        drop(self.slot);
        // A caller that has gone does not want it.
        let _ = self.reply.send(answer);
    }
}
