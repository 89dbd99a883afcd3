//! Vectors for the rows to write: stored ones where the text is stored, new ones where it is not.
//!
//! All new texts of a wave go to the embedder in one call, so that its micro-batches fill.

use std::{collections::HashMap, mem};

use livedex_core::{
    ids::ChunkId,
    limits::MAX_UPSERT_ROWS,
    ports::{ChunkStore, ModelError},
};

use crate::{
    context::Context,
    error::IngestError,
    plan::PlannedRow,
    retry::{Attempt, Waiting, until_answered},
};

/// How far a norm may be from 1. A model in bf16 that normalises before it widens is off by up to
/// 2^-8; beyond this something else is wrong.
const NORM_TOLERANCE: f32 = 0.01;

/// A vector, or why the text has none.
pub(crate) type Embedded = Result<Vec<f32>, String>;

/// One vector for each of `rows`, in order. Clears [`PlannedRow::is_stored`] where the stored
/// vector is gone and the text was embedded again.
pub(crate) async fn vectors(
    context: &Context,
    rows: &mut [&mut PlannedRow],
) -> Result<Vec<Embedded>, IngestError> {
    let ids: Vec<ChunkId> =
        rows.iter().filter(|row| row.is_stored).map(|row| row.fields.id.clone()).collect();
    let mut stored = stored_vectors(context, &ids).await;
    let dimension = context.embedder.info().dimension;
    let mut vectors: Vec<Option<Embedded>> = Vec::with_capacity(rows.len());
    let mut texts = Vec::new();
    for row in rows.iter_mut() {
        let found = stored.remove(&row.fields.id).filter(|vector| check(vector, dimension).is_ok());
        if found.is_none() {
            row.is_stored = false;
            // Nobody asks for it again.
            texts.push(mem::take(&mut row.embed_text));
        }
        vectors.push(found.map(Ok));
    }
    let mut embedded = embed(context, texts).await?.into_iter();
    Ok(vectors
        .into_iter()
        .map(|stored| {
            stored.or_else(|| embedded.next()).unwrap_or_else(|| Err("it was not embedded".into()))
        })
        .collect())
}

/// What of `ids` is stored. A store that refuses to say costs an embedding, no more.
async fn stored_vectors(context: &Context, ids: &[ChunkId]) -> HashMap<ChunkId, Vec<f32>> {
    let mut stored = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(MAX_UPSERT_ROWS) {
        let store: &dyn ChunkStore = &*context.store;
        let attempt =
            until_answered(context.backoff, "read_vectors", || true, || store.vectors(ids)).await;
        if let Attempt::Done(vectors) = attempt {
            stored.extend(vectors);
        }
    }
    stored
}

/// Embeds `texts`, in order. What fails for now is tried again, alone.
async fn embed(context: &Context, texts: Vec<String>) -> Result<Vec<Embedded>, IngestError> {
    let dimension = context.embedder.info().dimension;
    let mut results: Vec<Option<Embedded>> = texts.iter().map(|_| None).collect();
    // Calls to make: each a list of indices into `texts`.
    let mut calls: Vec<Vec<usize>> = Vec::new();
    if !texts.is_empty() {
        calls.push((0..texts.len()).collect());
    }
    let mut waiting = Waiting::new(context.backoff, "embed");
    while let Some(call) = calls.pop() {
        let wanted: Vec<String> = call.iter().map(|&index| texts[index].clone()).collect();
        match context.embedder.embed_documents(wanted).await {
            Ok(answers) if answers.len() != call.len() => {
                return Err(IngestError::Contract {
                    port: "embedder",
                    what: format!("{} results for {} texts", answers.len(), call.len()),
                });
            }
            Ok(answers) => {
                let mut again = Vec::new();
                for (index, answer) in call.into_iter().zip(answers) {
                    match answer {
                        Ok(vector) => {
                            results[index] = Some(check(&vector, dimension).map(|()| vector));
                        }
                        Err(ModelError::Input(why)) => results[index] = Some(Err(why)),
                        Err(error @ ModelError::Dead(_)) => return Err(IngestError::Model(error)),
                        Err(ModelError::Overloaded { .. } | ModelError::DeadlineExceeded) => {
                            again.push(index);
                        }
                    }
                }
                if !again.is_empty() {
                    waiting.pause("the embedder is busy", "").await;
                    calls.push(again);
                }
            }
            Err(ModelError::Input(why)) => match call[..] {
                [index] => results[index] = Some(Err(why)),
                // It does not say which text, so each is asked for alone.
                _ => calls.extend(call.into_iter().map(|index| vec![index])),
            },
            Err(ModelError::Overloaded { .. } | ModelError::DeadlineExceeded) => {
                waiting.pause("the embedder is busy", "").await;
                calls.push(call);
            }
            Err(error @ ModelError::Dead(_)) => return Err(IngestError::Model(error)),
        }
    }
    waiting.over();
    Ok(results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err("it was not embedded".into())))
        .collect())
}

/// Milvus would store a NaN and return nonsense for it ever after.
fn check(vector: &[f32], dimension: usize) -> Result<(), String> {
    if vector.len() != dimension {
        return Err(format!("the embedding has {} dimensions, expected {dimension}", vector.len()));
    }
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm.is_nan() || (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(format!("the embedding has norm {norm}, expected 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_finite_unit_vectors_of_the_right_length_pass() {
        assert!(check(&[0.6, 0.8], 2).is_ok());
        assert!(check(&[0.6, 0.8], 3).is_err_and(|why| why.contains("2 dimensions, expected 3")));
        assert!(check(&[0.0, 0.0], 2).is_err_and(|why| why.contains("norm 0")));
        assert!(check(&[f32::NAN, 0.8], 2).is_err());
        assert!(check(&[f32::INFINITY, 0.0], 2).is_err());
    }
}
