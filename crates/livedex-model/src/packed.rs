//! Sequences end to end, and the results of pooling them.

use candle_core::{Device, Result, Tensor};

use crate::backend::ForwardError;

/// Token ids of a batch without padding.
pub(crate) struct Packed {
    /// `[tokens]`, u32.
    pub(crate) ids: Tensor,
    /// Tokens of each sequence, none of them 0.
    pub(crate) lengths: Vec<usize>,
    /// Of each token within its sequence, from 0.
    pub(crate) positions: Vec<u32>,
}

impl Packed {
    /// Packs sequences of `1..=max_tokens` ids below `vocabulary`.
    pub(crate) fn new<'a>(
        batch: impl IntoIterator<Item = &'a [u32]>,
        max_tokens: usize,
        vocabulary: usize,
        device: &Device,
    ) -> std::result::Result<Self, ForwardError> {
        let mut ids = Vec::new();
        let mut lengths = Vec::new();
        let mut positions = Vec::new();
        for sequence in batch {
            if sequence.is_empty() || sequence.len() > max_tokens {
                return Err(ForwardError::Input(format!(
                    "a sequence has {} tokens, the model takes 1 to {max_tokens}",
                    sequence.len()
                )));
            }
            if let Some(id) = sequence.iter().find(|id| **id as usize >= vocabulary) {
                return Err(ForwardError::Input(format!(
                    "token id {id} is beyond the model's vocabulary of {vocabulary}"
                )));
            }
            ids.extend_from_slice(sequence);
            lengths.push(sequence.len());
            positions.extend(0..sequence.len() as u32);
        }
        let ids = Tensor::new(ids, device).map_err(forward_error)?;
        Ok(Self { ids, lengths, positions })
    }

    /// The row of each sequence's first token.
    pub(crate) fn firsts(&self) -> Vec<u32> {
        let mut at = 0;
        self.lengths
            .iter()
            .map(|n| {
                let first = at;
                at += *n as u32;
                first
            })
            .collect()
    }

    /// The row of each sequence's last token.
    pub(crate) fn lasts(&self) -> Vec<u32> {
        let mut at = 0;
        self.lengths
            .iter()
            .map(|n| {
                at += *n as u32;
                at - 1
            })
            .collect()
    }
}

/// Which rows of the last layer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every token's: `[tokens, hidden]`.
    All,
    /// Each sequence's first token's: `[sequences, hidden]`.
    Firsts,
}

/// The mean of each sequence's rows of a `[tokens, features]` matrix.
pub(crate) fn mean(hidden: &Tensor, lengths: &[usize]) -> Result<Vec<Vec<f32>>> {
    let (_, width) = hidden.dims2()?;
    let data = hidden.flatten_all()?.to_vec1::<f32>()?;
    let mut rows = data.chunks_exact(width);
    Ok(lengths
        .iter()
        .map(|&n| {
            let mut sum = vec![0.0f32; width];
            for row in rows.by_ref().take(n) {
                for (s, x) in sum.iter_mut().zip(row) {
                    *s += x;
                }
            }
            let factor = 1.0 / n as f32;
            sum.iter_mut().for_each(|s| *s *= factor);
            sum
        })
        .collect())
}

/// Keeps the leading `dimension` numbers of a vector and scales it to length 1. A vector of
/// length 0 becomes NaN, which callers of a backend check for.
pub(crate) fn finish(mut vector: Vec<f32>, dimension: usize) -> Vec<f32> {
    vector.truncate(dimension);
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// What a failure of candle means to the runtime. The text is candle's only sign for memory that
/// ran out on a device.
pub(crate) fn forward_error(error: candle_core::Error) -> ForwardError {
    let text = error.to_string();
    if text.to_ascii_lowercase().contains("out of memory")
        || text.contains("OUT_OF_MEMORY")
        || text.contains("ALLOC_FAILED")
    {
        ForwardError::OutOfMemory(text)
    } else {
        ForwardError::Device(text)
    }
}
