//! A device's models behind one door, whatever they take and give.

use std::sync::Arc;

use livedex_core::ports::ModelError;

use super::{
    activity::{Activity, Load, Turn},
    execute::{DeviceFailure, Model, execute},
    policy::Lane,
};
use crate::backend::{ForwardError, LoadedEmbedder, LoadedReranker, Memory, PairTokens, Pending};

/// A device's models.
pub(crate) struct Models {
    pub(crate) embedder: Option<LoadedEmbedder>,
    pub(crate) reranker: Option<LoadedReranker>,
}

/// A batch.
#[derive(Debug)]
pub(crate) enum Inputs {
    Sequences(Vec<Vec<u32>>),
    Pairs(Vec<PairTokens>),
}

/// What a forward pass gave for it, not yet checked.
#[derive(Debug)]
pub(crate) enum Outputs {
    Vectors(Vec<Vec<f32>>),
    Scores(Vec<f32>),
}

/// How a forward pass ended.
pub(crate) type Outcome = Result<Outputs, ForwardError>;

/// Every input's own result.
#[derive(Debug)]
pub(crate) enum Results {
    Vectors(Vec<Result<Vec<f32>, ModelError>>),
    Scores(Vec<Result<f32, ModelError>>),
}

impl Inputs {
    /// Tokens that are computed for them in one batch.
    pub(crate) fn tokens(&self) -> usize {
        match self {
            Self::Sequences(batch) => LoadedEmbedder::tokens(&batch.iter().collect::<Vec<_>>()),
            Self::Pairs(batch) => LoadedReranker::tokens(&batch.iter().collect::<Vec<_>>()),
        }
    }
}

impl Models {
    /// Whether any of them computes on its own.
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.embedder.as_ref().is_some_and(|model| model.is_asynchronous())
            || self.reranker.as_ref().is_some_and(|model| model.is_asynchronous())
    }

    /// The memory of the device that they share.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let of_embedder = self.embedder.as_ref().and_then(|model| model.memory());
        of_embedder.or_else(|| self.reranker.as_ref().and_then(|model| model.memory()))
    }

    /// Begins a batch.
    pub(crate) fn submit(&mut self, inputs: &Inputs) -> Result<Pending<Outputs>, ForwardError> {
        match (inputs, self) {
            (Inputs::Sequences(batch), Self { embedder: Some(model), .. }) => {
                model.submit(batch).map(|pending| converted(pending, Outputs::Vectors))
            }
            (Inputs::Pairs(batch), Self { reranker: Some(model), .. }) => {
                model.submit(batch).map(|pending| converted(pending, Outputs::Scores))
            }
            (Inputs::Sequences(_), _) => Err(ForwardError::Device(NO_EMBEDDER.into())),
            (Inputs::Pairs(_), _) => Err(ForwardError::Device(NO_RERANKER.into())),
        }
    }

    /// Whether a batch came to one valid result for each input, so that nothing has to run again.
    pub(crate) fn accepts(&self, inputs: &Inputs, outcome: &Outcome) -> bool {
        match (inputs, outcome, self) {
            (
                Inputs::Sequences(batch),
                Ok(Outputs::Vectors(vectors)),
                Self { embedder: Some(model), .. },
            ) => vectors.len() == batch.len() && vectors.iter().all(|v| model.check(v).is_ok()),
            (
                Inputs::Pairs(batch),
                Ok(Outputs::Scores(scores)),
                Self { reranker: Some(model), .. },
            ) => scores.len() == batch.len() && scores.iter().all(|s| model.check(s).is_ok()),
            _ => false,
        }
    }

    /// Runs a batch, or what is left to do after a run that came to `outcome`.
    pub(crate) fn execute(
        &mut self,
        inputs: &Inputs,
        outcome: Option<Outcome>,
        budget: &mut usize,
        lane: Lane,
        activity: &Arc<Activity>,
    ) -> Result<Results, DeviceFailure> {
        match inputs {
            Inputs::Sequences(batch) => {
                let model = self.embedder.as_mut().ok_or_else(|| failure(NO_EMBEDDER))?;
                let outcome = match outcome {
                    None => None,
                    Some(Err(error)) => Some(Err(error)),
                    Some(Ok(Outputs::Vectors(vectors))) => Some(Ok(vectors)),
                    Some(Ok(Outputs::Scores(_))) => return Err(failure(MIXED_UP)),
                };
                let mut model = Watched { model, lane, activity };
                execute(&mut model, batch, outcome, budget).map(Results::Vectors)
            }
            Inputs::Pairs(batch) => {
                let model = self.reranker.as_mut().ok_or_else(|| failure(NO_RERANKER))?;
                let outcome = match outcome {
                    None => None,
                    Some(Err(error)) => Some(Err(error)),
                    Some(Ok(Outputs::Scores(scores))) => Some(Ok(scores)),
                    Some(Ok(Outputs::Vectors(_))) => return Err(failure(MIXED_UP)),
                };
                let mut model = Watched { model, lane, activity };
                execute(&mut model, batch, outcome, budget).map(Results::Scores)
            }
        }
    }
}

const NO_EMBEDDER: &str = "an embedding was asked of a device without embedder";
const NO_RERANKER: &str = "a reranking was asked of a device without reranker";
const MIXED_UP: &str = "a batch has another model's results";

fn failure(reason: &str) -> DeviceFailure {
    DeviceFailure(reason.to_owned())
}

fn converted<T: Send + 'static>(
    pending: Pending<T>,
    convert: impl FnOnce(T) -> Outputs + Send + 'static,
) -> Pending<Outputs> {
    Pending::running(move || pending.wait().map(convert))
}

/// A model whose forward passes the watchdog and the metrics see.
pub(crate) struct Watched<'a, M> {
    pub(crate) model: &'a mut M,
    pub(crate) lane: Lane,
    pub(crate) activity: &'a Arc<Activity>,
}

impl<M: Model> Watched<'_, M> {
    fn begin(&self, batch: &[M::Input]) -> Turn {
        let tokens = M::tokens(&batch.iter().collect::<Vec<_>>());
        self.activity.begin(Load { lane: self.lane, tokens })
    }
}

impl<M: Model> Model for Watched<'_, M> {
    type Input = M::Input;
    type Output = M::Output;

    fn forward(&mut self, batch: &[M::Input]) -> Result<Vec<M::Output>, ForwardError> {
        let _turn = self.begin(batch);
        self.model.forward(batch)
    }

    fn submit(&mut self, batch: &[M::Input]) -> Result<Pending<Vec<M::Output>>, ForwardError> {
        let turn = self.begin(batch);
        self.model.submit(batch).map(|pending| {
            Pending::running(move || {
                let _turn = turn;
                pending.wait()
            })
        })
    }

    fn tokens(inputs: &[&M::Input]) -> usize {
        M::tokens(inputs)
    }

    fn check(&self, output: &M::Output) -> Result<(), String> {
        self.model.check(output)
    }
}
