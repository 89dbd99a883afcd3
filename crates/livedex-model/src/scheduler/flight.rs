//! The batches that are on an asynchronous device, oldest first.
//!
//! They land in order, and are answered in order. One that cannot be answered as it is (it failed, or
//! has invalid results) is run again, in parts if need be, with nothing else on the device: what
//! another batch takes of the memory must not count against it. So nothing is submitted from
//! then on until all have landed.

use std::{collections::VecDeque, time::Duration};

use super::{
    activity::TurnId,
    job::Landed,
    limits::BATCHES_IN_FLIGHT,
    models::{Inputs, Outcome},
    policy::{Batch, Lane},
};
use crate::backend::ForwardError;

/// A batch that has been submitted.
#[derive(Debug)]
pub(crate) struct Flying {
    pub(crate) turn: TurnId,
    pub(crate) batch: Batch,
    /// For a second run.
    pub(crate) inputs: Inputs,
}

/// A batch whose turn it is to be answered.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) batch: Batch,
    pub(crate) inputs: Inputs,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Batches in flight.
#[derive(Debug, Default)]
pub(crate) struct Flight(VecDeque<(Flying, Option<(Outcome, Duration)>)>);

impl Flight {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether another batch may be submitted.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < BATCHES_IN_FLIGHT && self.0.iter().all(|(_, landed)| landed.is_none())
    }

    /// Tokens of the ingest lane that the next batch would have in front of it.
    pub(crate) fn ingest_tokens(&self) -> usize {
        let batches = self.0.iter().map(|(flying, _)| &flying.batch);
        batches.filter(|batch| batch.work.lane() == Lane::Ingest).map(|batch| batch.tokens).sum()
    }

    pub(crate) fn push(&mut self, flying: Flying) {
        self.0.push_back((flying, None));
    }

    pub(crate) fn land(&mut self, Landed { turn, outcome, took }: Landed) {
        if let Some((_, landed)) = self.0.iter_mut().find(|(flying, _)| flying.turn == turn) {
            *landed = Some((outcome, took));
        }
    }

    /// The oldest batch once it has landed and can be dealt with: at once if its results are accepted or
    /// the device has failed, else when all have landed.
    pub(crate) fn next(&mut self, accepts: impl Fn(&Inputs, &Outcome) -> bool) -> Option<Arrived> {
        let (oldest, Some((outcome, _))) = self.0.front()? else {
            return None;
        };
        let at_once =
            matches!(outcome, Err(ForwardError::Device(_))) || accepts(&oldest.inputs, outcome);
        if !at_once && self.0.iter().any(|(_, landed)| landed.is_none()) {
            return None;
        }
        let (Flying { batch, inputs, .. }, landed) = self.0.pop_front()?;
        landed.map(|(outcome, took)| Arrived { batch, inputs, outcome, took })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{models::Outputs, policy::Work};

    fn flying(turn: TurnId, work: Work, tokens: usize) -> Flying {
        let batch = Batch { work, parts: vec![(turn, 1)], tokens };
        Flying { turn, batch, inputs: Inputs::Sequences(vec![vec![1; tokens]]) }
    }

    fn landed(turn: TurnId, outcome: Outcome) -> Landed {
        Landed { turn, outcome, took: Duration::ZERO }
    }

    fn good() -> Outcome {
        Ok(Outputs::Scores(vec![]))
    }

    fn turn(arrived: Option<Arrived>) -> Option<TurnId> {
        arrived.map(|arrived| arrived.batch.parts[0].0)
    }

    fn accepts(_: &Inputs, outcome: &Outcome) -> bool {
        outcome.is_ok()
    }

    #[test]
    fn batches_are_answered_in_order() {
        let mut flight = Flight::default();
        flight.push(flying(7, Work::EmbedDocument, 30));
        assert!(flight.has_room());
        flight.push(flying(8, Work::EmbedQuery, 5));
        assert!(!flight.has_room());
        assert_eq!(flight.ingest_tokens(), 30);
        flight.land(landed(8, good()));
        assert_eq!(turn(flight.next(accepts)), None, "the older one first");
        flight.land(landed(7, good()));
        assert_eq!(turn(flight.next(accepts)), Some(7));
        assert_eq!(turn(flight.next(accepts)), Some(8));
        assert!(flight.is_empty() && flight.has_room());
    }

    #[test]
    fn a_batch_that_failed_waits_for_an_idle_device() {
        let full = || Err(ForwardError::OutOfMemory("full".into()));
        let mut flight = Flight::default();
        flight.push(flying(1, Work::EmbedDocument, 30));
        flight.push(flying(2, Work::EmbedDocument, 30));
        flight.land(landed(1, full()));
        assert_eq!(turn(flight.next(accepts)), None);
        flight.land(landed(2, good()));
        assert_eq!(turn(flight.next(accepts)), Some(1));
        // One that failed at its submission, behind one that runs: nothing goes behind it.
        flight.land(landed(2, good()));
        assert_eq!(turn(flight.next(accepts)), Some(2));
        flight.push(flying(3, Work::EmbedDocument, 30));
        flight.land(landed(3, full()));
        assert!(!flight.has_room());
    }

    #[test]
    fn a_failed_device_is_known_at_once() {
        let mut flight = Flight::default();
        flight.push(flying(1, Work::EmbedDocument, 30));
        flight.push(flying(2, Work::EmbedDocument, 30));
        flight.land(landed(1, Err(ForwardError::Device("gone".into()))));
        assert_eq!(turn(flight.next(accepts)), Some(1));
    }
}
