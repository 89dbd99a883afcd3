//! One batch on a model, whatever happens: every input gets its own result.
//!
//! - Out of memory halves the token budget and runs the batch again in smaller parts.
//! - An input that the model refuses, or whose result is not valid (NaN, wrong norm), is
//!   found by bisection; the others get their results.
//! - Only a failure of the device ends everything.

use livedex_core::ports::ModelError;

use super::limits::{MIN_TOKEN_BUDGET, NORM_TOLERANCE};
use crate::{
    backend::{ForwardError, LoadedEmbedder, LoadedReranker, PairTokens, Pending},
    groups,
};

/// What [`execute`] needs of a backend.
pub(crate) trait Model {
    /// A sequence.
    type Input: Clone;
    /// Its result.
    type Output: Send + 'static;
    /// Runs a batch: one result per input, in order.
    fn forward(&mut self, batch: &[Self::Input]) -> Result<Vec<Self::Output>, ForwardError>;
    /// Begins a batch.
    fn submit(
        &mut self,
        batch: &[Self::Input],
    ) -> Result<Pending<Vec<Self::Output>>, ForwardError> {
        self.forward(batch).map(Pending::ready)
    }
    /// Tokens that are computed for these inputs in one batch.
    fn tokens(inputs: &[&Self::Input]) -> usize;
    /// What is wrong with a result.
    fn check(&self, output: &Self::Output) -> Result<(), String>;
}

/// The device is of no more use, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceFailure(pub(crate) String);

/// Runs `inputs`: one result per input, in order. `outcome` is what they came to where they have
/// run already, perhaps while another batch was on the device; nothing is on it now. Lowers
/// `budget` (in tokens) when the device runs out of memory. It is not raised again: the
/// device is ours, so the same shape would fail again, at the price of a failed batch each
/// time.
pub(crate) fn execute<M: Model>(
    model: &mut M,
    inputs: &[M::Input],
    mut outcome: Option<Result<Vec<M::Output>, ForwardError>>,
    budget: &mut usize,
) -> Result<Vec<Result<M::Output, ModelError>>, DeviceFailure> {
    let mut results: Vec<Option<Result<M::Output, ModelError>>> = Vec::new();
    results.resize_with(inputs.len(), || None);
    // Parts still to run, as indices into `inputs`. Every part pushed is smaller than the one
    // it comes from, or the whole after a run that does not count, so this ends.
    let mut parts: Vec<Vec<usize>> = vec![(0..inputs.len()).collect()];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let tokens = M::tokens(&part.iter().map(|&index| &inputs[index]).collect::<Vec<_>>());
        let has_run = outcome.is_some();
        if !has_run && tokens > *budget && part.len() > 1 {
            halve(part, &mut parts);
            continue;
        }
        let outcome = if let Some(outcome) = outcome.take() {
            outcome
        } else if part.len() == inputs.len() {
            model.forward(inputs)
        } else {
            let gathered: Vec<M::Input> = part.iter().map(|&index| inputs[index].clone()).collect();
            model.forward(&gathered)
        };
        match outcome {
            Ok(outputs) if outputs.len() != part.len() => {
                return Err(DeviceFailure(format!(
                    "the backend gave {} results for {} inputs",
                    outputs.len(),
                    part.len()
                )));
            }
            Ok(outputs) => {
                let mut bad = Vec::new();
                for (&index, output) in part.iter().zip(outputs) {
                    results[index] = Some(match model.check(&output) {
                        Ok(()) => Ok(output),
                        Err(reason) => {
                            bad.push(index);
                            Err(ModelError::Input(reason))
                        }
                    });
                }
                // A bad result in company may be the company's fault: they run again among
                // themselves, and in halves if all are bad.
                if bad.len() < part.len() {
                    parts.push(bad);
                } else if part.len() > 1 {
                    halve(part, &mut parts);
                }
            }
            Err(ForwardError::OutOfMemory(reason)) => {
                if has_run && part.len() == 1 {
                    // It was not alone on the device; now it is.
                    parts.push(part);
                } else if let [index] = part[..] {
                    let reason = format!("{tokens} tokens alone do not fit the device: {reason}");
                    results[index] = Some(Err(ModelError::Input(reason)));
                } else {
                    *budget = (*budget / 2).max(MIN_TOKEN_BUDGET.min(*budget));
                    tracing::warn!(
                        tokens,
                        sequences = part.len(),
                        budget = *budget,
                        reason,
                        "the device ran out of memory; the token budget is halved until restart"
                    );
                    halve(part, &mut parts);
                }
            }
            Err(ForwardError::Input(reason)) => {
                if let [index] = part[..] {
                    results[index] = Some(Err(ModelError::Input(reason)));
                } else {
                    halve(part, &mut parts);
                }
            }
            Err(ForwardError::Device(reason)) => return Err(DeviceFailure(reason)),
        }
    }
    // Every index was in a part, and a part ends with a result or in smaller parts.
    Ok(results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(ModelError::Input("it was not run".into()))))
        .collect())
}

/// Pushes both halves, so that the left one runs first.
fn halve(mut part: Vec<usize>, parts: &mut Vec<Vec<usize>>) {
    let right = part.split_off(part.len() / 2);
    parts.push(right);
    parts.push(part);
}

impl Model for LoadedEmbedder {
    type Input = Vec<u32>;
    type Output = Vec<f32>;

    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError> {
        self.as_mut().forward(batch)
    }

    fn submit(&mut self, batch: &[Vec<u32>]) -> Result<Pending<Vec<Vec<f32>>>, ForwardError> {
        self.as_mut().submit(batch)
    }

    fn tokens(inputs: &[&Vec<u32>]) -> usize {
        inputs.iter().map(|ids| ids.len()).sum()
    }

    fn check(&self, vector: &Vec<f32>) -> Result<(), String> {
        let dimension = self.info().dimension;
        if vector.len() != dimension {
            return Err(format!("the vector has {} numbers, not {dimension}", vector.len()));
        }
        let norm = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err("the vector is not finite".into());
        }
        if (norm - 1.0).abs() > NORM_TOLERANCE {
            return Err(format!("the vector's norm is {norm:.4}, not 1"));
        }
        Ok(())
    }
}

impl Model for LoadedReranker {
    type Input = PairTokens;
    type Output = f32;

    fn forward(&mut self, batch: &[PairTokens]) -> Result<Vec<f32>, ForwardError> {
        self.as_mut().forward(batch)
    }

    fn submit(&mut self, batch: &[PairTokens]) -> Result<Pending<Vec<f32>>, ForwardError> {
        self.as_mut().submit(batch)
    }

    fn tokens(inputs: &[&PairTokens]) -> usize {
        groups::tokens(inputs)
    }

    fn check(&self, probability: &f32) -> Result<(), String> {
        if (0.0..=1.0).contains(probability) {
            Ok(())
        } else {
            Err(format!("the score is {probability}, not a probability"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    /// Doubles numbers; the faults are in the data.
    struct Doubler {
        /// Inputs above this are refused, inputs equal to `nan` give an invalid result.
        refused: u32,
        nan: u32,
        /// An invalid input spoils the whole batch's results.
        contagious: bool,
        /// Inputs (of 100 tokens each) that fit.
        room: usize,
        passes: usize,
    }

    impl Default for Doubler {
        fn default() -> Self {
            Self { refused: u32::MAX, nan: u32::MAX, contagious: false, room: 1000, passes: 0 }
        }
    }

    impl Model for Doubler {
        type Input = u32;
        type Output = f32;

        fn forward(&mut self, batch: &[u32]) -> Result<Vec<f32>, ForwardError> {
            self.passes += 1;
            if batch.len() > self.room {
                return Err(ForwardError::OutOfMemory("full".into()));
            }
            if batch.iter().any(|&x| x > self.refused) {
                return Err(ForwardError::Input("refused".into()));
            }
            let spoilt = self.contagious && batch.contains(&self.nan);
            Ok(batch
                .iter()
                .map(|&x| if spoilt || x == self.nan { f32::NAN } else { x as f32 * 2.0 })
                .collect())
        }

        fn tokens(inputs: &[&u32]) -> usize {
            100 * inputs.len()
        }

        fn check(&self, output: &f32) -> Result<(), String> {
            if output.is_nan() { Err("NaN".into()) } else { Ok(()) }
        }
    }

    fn run<M: Model>(
        model: &mut M,
        inputs: &[M::Input],
        budget: &mut usize,
    ) -> Result<Vec<Result<M::Output, ModelError>>, DeviceFailure> {
        execute(model, inputs, None, budget)
    }

    #[test]
    fn out_of_memory_halves_the_budget_until_it_fits() {
        let mut model = Doubler { room: 10, ..Doubler::default() };
        let mut budget = 4000;
        let inputs: Vec<u32> = (0..40).collect();
        let results = run(&mut model, &inputs, &mut budget).unwrap();
        let expected: Vec<_> = (0..40).map(|x| Ok(x as f32 * 2.0)).collect();
        assert_eq!(results, expected);
        assert_eq!(budget, 1000);
        // 40, 20, then four of 10: the second 20 is not tried, the budget is known by then.
        assert_eq!(model.passes, 6);
    }

    #[test]
    fn an_input_that_does_not_fit_alone_fails_alone() {
        let mut model = Doubler { room: 0, ..Doubler::default() };
        let mut budget = 100;
        let results = run(&mut model, &[1], &mut budget).unwrap();
        assert!(
            matches!(&results[..], [Err(ModelError::Input(reason))] if reason.contains("100 tokens"))
        );
        assert_eq!(budget, 100, "one input says nothing about batches");
    }

    #[test]
    fn what_has_run_is_not_run_again_unless_it_failed_in_company() {
        let mut model = Doubler { room: 1, ..Doubler::default() };
        let mut budget = 4000;
        let full = || Some(Err(ForwardError::OutOfMemory("full".into())));
        let results = execute(&mut model, &[1], full(), &mut budget).unwrap();
        assert_eq!((results, model.passes, budget), (vec![Ok(2.0)], 1, 4000));
        let results = execute(&mut model, &[1, 2], full(), &mut budget).unwrap();
        assert_eq!((results, model.passes, budget), (vec![Ok(2.0), Ok(4.0)], 3, 2000));
        let done = Some(Ok(vec![2.0, f32::NAN]));
        let results = execute(&mut model, &[1, 2], done, &mut budget).unwrap();
        assert_eq!((results, model.passes), (vec![Ok(2.0), Ok(4.0)], 4), "the second one again");
        model.room = 0;
        let results = execute(&mut model, &[1], full(), &mut budget).unwrap();
        assert!(matches!(&results[..], [Err(ModelError::Input(_))]), "{results:?}");
    }

    #[test]
    fn a_wrong_number_of_results_is_a_broken_device() {
        struct Short;
        impl Model for Short {
            type Input = u32;
            type Output = f32;
            fn forward(&mut self, _: &[u32]) -> Result<Vec<f32>, ForwardError> {
                Ok(vec![1.0])
            }
            fn tokens(inputs: &[&u32]) -> usize {
                inputs.len()
            }
            fn check(&self, _: &f32) -> Result<(), String> {
                Ok(())
            }
        }
        assert!(run(&mut Short, &[1, 2], &mut 100).is_err());
    }

    proptest! {
        #[test]
        fn every_input_gets_its_own_result(
            inputs in prop::collection::vec(0u32..100, 0..60),
            refused in 50u32..120,
            nan in 0u32..120,
            contagious: bool,
            room in 1usize..70,
            has_run: bool,
            in_company: bool,
        ) {
            let mut model = Doubler { refused, nan, contagious, room, passes: 0 };
            let mut budget = 6000;
            let full = || Err(ForwardError::OutOfMemory("another batch".into()));
            let outcome =
                has_run.then(|| if in_company { full() } else { model.forward(&inputs) });
            let results = execute(&mut model, &inputs, outcome, &mut budget).unwrap();
            prop_assert_eq!(results.len(), inputs.len());
            for (&input, result) in inputs.iter().zip(&results) {
                if input > refused {
                    prop_assert_eq!(result, &Err(ModelError::Input("refused".into())));
                } else if input == nan {
                    prop_assert_eq!(result, &Err(ModelError::Input("NaN".into())));
                } else {
                    prop_assert_eq!(result, &Ok(input as f32 * 2.0));
                }
            }
            prop_assert!(model.passes <= 2 * inputs.len().max(1) + 6 * inputs.len());
        }
    }
}
