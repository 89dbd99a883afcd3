//! What must work before the runtime is ready: a small forward pass of each model, and, where
//! asked for, the largest shape once.

use super::{device::Models, execute::Model};
use crate::{
    backend::{ForwardError, PairTokens},
    runtime::{RuntimeConfig, StartError},
};

/// Runs on the device thread. A failure names the model.
pub(crate) fn self_test(models: &mut Models, config: &RuntimeConfig) -> Result<(), StartError> {
    if let Some(model) = &mut models.embedder {
        let (name, tokenizer) = (model.info().name.clone(), model.tokenizer());
        let small = tokenizer.encode_document("ready");
        small.and_then(|small| check(model, &[small])).map_err(|error| failed(&name, &error))?;
        if config.largest_shape {
            let tokens = model.info().max_tokens;
            let long = uncounted(|| tokenizer.encode_document(&"long ".repeat(tokens)));
            run_largest(model, long, config).map_err(|error| largest(&name, config, &error))?;
        }
    }
    if let Some(model) = &mut models.reranker {
        let (name, tokenizer) = (model.info().name.clone(), model.tokenizer());
        let small = tokenizer.encode("Is it ready?", None, "It is ready.");
        small.and_then(|small| check(model, &small)).map_err(|error| failed(&name, &error))?;
        if config.largest_shape {
            let tokens = model.info().max_tokens;
            // Nothing shared: the budget counts what is shared once, and it is to be used up.
            let long = uncounted(|| tokenizer.encode("Is it long?", None, &"long ".repeat(tokens)))
                .and_then(longest)
                .map(|long| PairTokens { shared_prefix: 0, ..long });
            run_largest(model, long, config).map_err(|error| largest(&name, config, &error))?;
        }
    }
    Ok(())
}

/// Tokenizes without a trace in the metrics: this text is nobody's.
fn uncounted<T>(encode: impl FnOnce() -> T) -> T {
    metrics::with_local_recorder(&metrics::NoopRecorder, encode)
}

fn longest(parts: Vec<PairTokens>) -> Result<PairTokens, ForwardError> {
    let longest = parts.into_iter().max_by_key(|part| part.ids.len());
    longest.ok_or_else(|| ForwardError::Input("the tokenizer gave nothing".into()))
}

/// As many of the longest sequences as the budget holds, at least one.
fn run_largest<M: Model>(
    model: &mut M,
    long: Result<M::Input, ForwardError>,
    config: &RuntimeConfig,
) -> Result<(), ForwardError> {
    let long = long?;
    let count = (config.token_budget / M::tokens(&[&long]).max(1)).max(1);
    check(model, &vec![long; count])
}

fn check<M: Model>(model: &mut M, batch: &[M::Input]) -> Result<(), ForwardError> {
    let results = model.forward(batch)?;
    if results.len() != batch.len() {
        let (got, wanted) = (results.len(), batch.len());
        return Err(ForwardError::Device(format!("{got} results for {wanted} inputs")));
    }
    results.iter().try_for_each(|result| model.check(result)).map_err(ForwardError::Input)
}

fn failed(model: &str, error: &ForwardError) -> StartError {
    StartError::SelfTest { model: model.to_owned(), reason: error.to_string() }
}

fn largest(model: &str, config: &RuntimeConfig, error: &ForwardError) -> StartError {
    match error {
        ForwardError::OutOfMemory(reason) => StartError::LargestShape {
            model: model.to_owned(),
            token_budget: config.token_budget,
            reason: reason.clone(),
        },
        other => failed(model, other),
    }
}
