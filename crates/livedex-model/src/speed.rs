//! How fast a loaded model is on this machine.

use std::time::{Duration, Instant};

use crate::{
    backend::{ForwardError, PairTokens},
    describe::Model,
};

/// Tokens of a measured sequence, where the model takes as many: a chunk of everyday size.
const SEQUENCE: usize = 200;

/// Tokens of the largest batch.
const BUDGET: usize = 4096;

/// What one forward pass may take; the batch is made as large as that allows.
const PASS: Duration = Duration::from_millis(800);

/// Passes of which the median counts, or fewer where they take longer than that together.
const PASSES: (usize, Duration) = (5, Duration::from_secs(5));

/// A measured speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Tokens per second, the median of some passes.
    pub tokens_per_second: f64,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Tokens of each.
    pub tokens: usize,
}

/// Measures for a few seconds, a model that is slow for some passes of one sequence. Blocking. The input is one token over and over, as any token
/// takes as long.
pub fn measure(model: &mut Model) -> Result<Speed, ForwardError> {
    let (tokens, id) = match model {
        Model::Embedder(model) => {
            (model.info().max_tokens, any(&model.tokenizer().encode_document("a")?))
        }
        Model::Reranker(model) => {
            let parts = model.tokenizer().encode("a", None, "a")?;
            (model.info().max_tokens, parts.first().map_or(0, |pair| any(&pair.ids)))
        }
    };
    let tokens = tokens.min(SEQUENCE);
    let ids = vec![id; tokens];
    // The first pass warms up, the second tells how large a batch may be.
    pass(model, &ids, 1)?;
    let one = pass(model, &ids, 1)?;
    let fitting = (PASS.as_secs_f64() / one.as_secs_f64().max(1e-6)) as usize;
    let sequences = fitting.clamp(1, (BUDGET / tokens).max(1));
    let mut times = vec![pass(model, &ids, sequences)?];
    while times.len() < PASSES.0 && times.iter().sum::<Duration>() < PASSES.1 {
        times.push(pass(model, &ids, sequences)?);
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64().max(1e-9);
    Ok(Speed { tokens_per_second: (sequences * tokens) as f64 / median, sequences, tokens })
}

fn any(ids: &[u32]) -> u32 {
    ids.first().copied().unwrap_or_default()
}

/// The time of one forward pass of `sequences` times the same ids.
fn pass(model: &mut Model, ids: &[u32], sequences: usize) -> Result<Duration, ForwardError> {
    match model {
        Model::Embedder(model) => {
            let batch = vec![ids.to_vec(); sequences];
            let start = Instant::now();
            model.forward(&batch)?;
            Ok(start.elapsed())
        }
        Model::Reranker(model) => {
            let pair =
                PairTokens { ids: ids.to_vec(), type_ids: vec![0; ids.len()], shared_prefix: 0 };
            let batch = vec![pair; sequences];
            let start = Instant::now();
            model.forward(&batch)?;
            Ok(start.elapsed())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::{describe::inspect, spec::ModelSpec};

    #[test]
    fn both_roles_are_measured_within_the_models_limit() {
        for (name, limit) in [("xlmr-embed", 64), ("modernbert-rerank", 96)] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
            let (_, mut model) = inspect(&ModelSpec::dir(folder.join(name)), None).unwrap();
            let speed = measure(&mut model).unwrap();
            assert!(speed.tokens_per_second > 0.0 && speed.tokens_per_second.is_finite());
            assert_eq!(speed.tokens, limit);
            assert!((1..=BUDGET / limit).contains(&speed.sequences), "{speed:?}");
        }
    }
}
