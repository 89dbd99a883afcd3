//! What must work before the runtime is ready: a small forward pass of each model, the token
//! budgets where they are to be found, and, where asked for, the largest shape once.

use std::sync::Arc;

use super::{
    activity::Activity,
    execute::Model,
    limits::{
        BATCHES_IN_FLIGHT, DEFAULT_INGEST_TOKEN_BUDGET, DEFAULT_TOKEN_BUDGET, MEASURED_SEQUENCE,
        MEASURED_TOKENS_AT_LEAST, MIN_TOKEN_BUDGET,
    },
    measure::{self, Choice, Measured},
    models::{Models, Watched},
    policy::Lane,
};
use crate::{
    backend::{ForwardError, LoadedEmbedder, LoadedReranker, PairTokens, Pending},
    runtime::{RuntimeConfig, StartError},
};

/// Runs on the device thread, and returns the budgets to start with. A failure names the model.
pub(crate) fn self_test(
    models: &mut Models,
    config: &RuntimeConfig,
    activity: &Arc<Activity>,
) -> Result<Choice, StartError> {
    let is_asynchronous = models.is_asynchronous();
    let is_measured =
        is_asynchronous && (config.token_budget.is_none() || config.ingest_token_budget.is_none());
    let mut embeds = match &mut models.embedder {
        Some(model) => Some(Tested::embedder(model, activity)?),
        None => None,
    };
    let mut reranks = match &mut models.reranker {
        Some(model) => Some(Tested::reranker(model, activity)?),
        None => None,
    };
    let mut budgets = default_budgets();
    if is_measured {
        let of_embedder = embeds.as_mut().map(Tested::measure).transpose()?;
        let of_reranker = reranks.as_mut().map(Tested::measure).transpose()?;
        budgets = measured(of_embedder, of_reranker).unwrap_or(budgets);
    }
    budgets.query = config.token_budget.unwrap_or(budgets.query);
    budgets.ingest = config.ingest_token_budget.unwrap_or(budgets.ingest).min(budgets.query);
    if config.largest_shape || is_measured {
        let largest = Largest {
            steps_down: config.token_budget.is_none(),
            at_once: if is_asynchronous { BATCHES_IN_FLIGHT } else { 1 },
        };
        if let Some(model) = &mut embeds {
            budgets.query = model.run_largest(budgets.query, largest)?;
        }
        if let Some(model) = &mut reranks {
            budgets.query = model.run_largest(budgets.query, largest)?;
        }
        budgets.ingest = budgets.ingest.min(budgets.query);
    }
    if is_measured {
        let Choice { query, ingest } = budgets;
        tracing::info!(token_budget = query, ingest_token_budget = ingest, "token budgets are set");
    }
    Ok(budgets)
}

fn default_budgets() -> Choice {
    Choice { query: DEFAULT_TOKEN_BUDGET, ingest: DEFAULT_INGEST_TOKEN_BUDGET }
}

/// Rerankings fill query batches, documents those of ingest.
fn measured(embedder: Option<Choice>, reranker: Option<Choice>) -> Option<Choice> {
    let (query, ingest) = (reranker.or(embedder)?.query, embedder.or(reranker)?.ingest);
    Some(Choice { query, ingest })
}

/// How the largest shape is run.
#[derive(Clone, Copy)]
struct Largest {
    /// Nobody chose the budget, so one that does not fit is halved.
    steps_down: bool,
    /// Batches at once.
    at_once: usize,
}

/// A model of which a small pass has worked.
struct Tested<'a, M: Model> {
    name: String,
    model: Watched<'a, M>,
    /// Makes the longest input.
    longest: Box<dyn Fn() -> Result<M::Input, ForwardError>>,
    /// The longest input's first tokens, so many at most.
    cut: fn(&M::Input, usize) -> M::Input,
}

impl<'a> Tested<'a, LoadedEmbedder> {
    fn embedder(
        model: &'a mut LoadedEmbedder,
        activity: &'a Arc<Activity>,
    ) -> Result<Self, StartError> {
        let name = model.info().name.clone();
        let (tokenizer, tokens) = (model.tokenizer(), model.info().max_tokens);
        let mut model = Watched { model, lane: Lane::Ingest, activity };
        let small = tokenizer.encode_document("ready");
        small
            .and_then(|small| check(&mut model, &[small], 1))
            .map_err(|error| failed(&name, &error))?;
        let longest = move || uncounted(|| tokenizer.encode_document(&long_text(tokens)));
        let cut = |ids: &Vec<u32>, n: usize| ids.iter().copied().take(n).collect();
        Ok(Self { name, model, longest: Box::new(longest), cut })
    }
}

impl<'a> Tested<'a, LoadedReranker> {
    fn reranker(
        model: &'a mut LoadedReranker,
        activity: &'a Arc<Activity>,
    ) -> Result<Self, StartError> {
        let name = model.info().name.clone();
        let (tokenizer, tokens) = (model.tokenizer(), model.info().max_tokens);
        let mut model = Watched { model, lane: Lane::Query, activity };
        let small = tokenizer.encode("Is it ready?", None, "It is ready.");
        small
            .and_then(|small| check(&mut model, &small, 1))
            .map_err(|error| failed(&name, &error))?;
        let longest = move || {
            uncounted(|| tokenizer.encode("Is it long?", None, &long_text(tokens)))
                .and_then(longest)
                // Nothing shared: the budget counts what is shared once, and it is to be used up.
                .map(|long| PairTokens { shared_prefix: 0, ..long })
        };
        let cut = |pair: &PairTokens, n: usize| PairTokens {
            ids: pair.ids.iter().copied().take(n).collect(),
            type_ids: pair.type_ids.iter().copied().take(n).collect(),
            shared_prefix: 0,
        };
        Ok(Self { name, model, longest: Box::new(longest), cut })
    }
}

impl<M: Model> Tested<'_, M> {
    /// Measures sizes, and chooses. One line of log says what was seen.
    fn measure(&mut self) -> Result<Choice, StartError> {
        let Self { name, model, longest, cut } = self;
        let longest = longest().map_err(|error| failed(name, &error))?;
        let table = measure::table(|budget| {
            let sequence = cut(&longest, MEASURED_SEQUENCE.min(budget));
            let tokens = M::tokens(&[&sequence]).max(1);
            let count = (budget / tokens).max(1);
            let took = measure::time(model, &vec![sequence; count])?;
            Ok(took.map(|took| (count * tokens, took)))
        });
        let table = table.map_err(|error: ForwardError| failed(name, &error))?;
        let text = table.iter().map(Measured::to_string).collect::<Vec<_>>().join("; ");
        tracing::info!(model = name.as_str(), "measured batches of {text}");
        measure::choose(&table).ok_or_else(|| StartError::LargestShape {
            model: name.clone(),
            token_budget: MEASURED_TOKENS_AT_LEAST,
            reason: "out of memory".to_owned(),
        })
    }

    /// As many of the longest sequences as the budget holds, at least one. Returns the budget, or
    /// where it may step down the largest half of a half that fits.
    fn run_largest(&mut self, mut budget: usize, how: Largest) -> Result<usize, StartError> {
        let longest = (self.longest)().map_err(|error| failed(&self.name, &error))?;
        loop {
            let count = (budget / M::tokens(&[&longest]).max(1)).max(1);
            match check(&mut self.model, &vec![longest.clone(); count], how.at_once) {
                Ok(()) => return Ok(budget),
                Err(ForwardError::OutOfMemory(reason)) if how.steps_down && count > 1 => {
                    tracing::info!(budget, reason, "the longest texts do not fit: halving");
                    budget = (budget / 2).max(MIN_TOKEN_BUDGET);
                }
                Err(ForwardError::OutOfMemory(reason)) => {
                    let (model, token_budget) = (self.name.clone(), budget);
                    return Err(StartError::LargestShape { model, token_budget, reason });
                }
                Err(other) => return Err(failed(&self.name, &other)),
            }
        }
    }
}

/// More words than a model reads tokens, hardly two alike.
fn long_text(tokens: usize) -> String {
    (0..tokens).map(|n| format!("{:x} ", n.wrapping_mul(0x9e37_79b9) % 0xffff)).collect()
}

/// Tokenizes without a trace in the metrics: this text is nobody's.
fn uncounted<T>(encode: impl FnOnce() -> T) -> T {
    metrics::with_local_recorder(&metrics::NoopRecorder, encode)
}

fn longest(parts: Vec<PairTokens>) -> Result<PairTokens, ForwardError> {
    let longest = parts.into_iter().max_by_key(|part| part.ids.len());
    longest.ok_or_else(|| ForwardError::Input("the tokenizer gave nothing".into()))
}

/// Runs a batch so often, all at once as far as the device can, and checks the results.
fn check<M: Model>(model: &mut M, batch: &[M::Input], times: usize) -> Result<(), ForwardError> {
    let pending: Vec<_> = (0..times).map(|_| model.submit(batch)).collect();
    // All, also where one has failed: a smaller batch is not to find the others' memory taken.
    let ended: Vec<_> =
        pending.into_iter().map(|pending| pending.and_then(Pending::wait)).collect();
    for results in ended {
        let results = results?;
        if results.len() != batch.len() {
            let (got, wanted) = (results.len(), batch.len());
            return Err(ForwardError::Device(format!("{got} results for {wanted} inputs")));
        }
        results.iter().try_for_each(|result| model.check(result)).map_err(ForwardError::Input)?;
    }
    Ok(())
}

fn failed(model: &str, error: &ForwardError) -> StartError {
    StartError::SelfTest { model: model.to_owned(), reason: error.to_string() }
}
