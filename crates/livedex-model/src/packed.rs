//! Sequences end to end, and the results of pooling them.

use candle_core::{Device, Result, Tensor};

use crate::{
    backend::{ForwardError, PairTokens},
    groups::groups,
};

/// Token ids of a batch without padding.
pub(crate) struct Packed {
    /// `[tokens]`, u32.
    pub(crate) ids: Tensor,
    /// Tokens of each sequence, none of them 0. What a sequence shares with others is a sequence
    /// of its own, and not counted again.
    pub(crate) lengths: Vec<usize>,
    /// Of each token within its text, from 0.
    pub(crate) positions: Vec<u32>,
    /// The sequence that each one continues; empty where nothing is shared.
    pub(crate) prefixes: Vec<Option<usize>>,
    /// How many of the sequences, the first ones, are shared prefixes: they have no result.
    shared: usize,
}

impl Packed {
    /// Packs sequences of `1..=max_tokens` ids below `vocabulary`.
    pub(crate) fn new<'a>(
        batch: impl IntoIterator<Item = &'a [u32]>,
        max_tokens: usize,
        vocabulary: usize,
        device: &Device,
    ) -> std::result::Result<Self, ForwardError> {
        let mut parts = Parts::default();
        for sequence in batch {
            check(sequence, max_tokens, vocabulary)?;
            parts.push(sequence, 0);
        }
        parts.pack(Vec::new(), 0, device)
    }

    /// Packs pairs for a causal model: prefixes that several have in common first and once, then
    /// what is left of each pair, in order.
    pub(crate) fn sharing(
        batch: &[PairTokens],
        max_tokens: usize,
        vocabulary: usize,
        device: &Device,
    ) -> std::result::Result<Self, ForwardError> {
        for pair in batch {
            check(&pair.ids, max_tokens, vocabulary)?;
        }
        let mut parts = Parts::default();
        let mut starts = vec![(None, 0); batch.len()];
        for group in groups(&batch.iter().collect::<Vec<_>>()) {
            if let [first, _, ..] = group.members[..] {
                let prefix = parts.lengths.len();
                parts.push(&batch[first].ids[..group.prefix], 0);
                for member in group.members {
                    starts[member] = (Some(prefix), group.prefix);
                }
            }
        }
        let shared = parts.lengths.len();
        let mut prefixes = vec![None; shared];
        for (pair, (prefix, start)) in batch.iter().zip(starts) {
            parts.push(&pair.ids[start..], start);
            prefixes.push(prefix);
        }
        parts.pack(prefixes, shared, device)
    }

    /// How many results each sequence has: none if it is a shared prefix, else one.
    pub(crate) fn results(&self) -> Vec<usize> {
        (0..self.lengths.len()).map(|sequence| usize::from(sequence >= self.shared)).collect()
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

    /// The row of each sequence's last token, shared prefixes left out.
    pub(crate) fn lasts(&self) -> Vec<u32> {
        let mut at = 0;
        self.lengths
            .iter()
            .map(|n| {
                at += *n as u32;
                at - 1
            })
            .skip(self.shared)
            .collect()
    }
}

fn check(
    sequence: &[u32],
    max_tokens: usize,
    vocabulary: usize,
) -> std::result::Result<(), ForwardError> {
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
    Ok(())
}

/// What is being packed.
#[derive(Default)]
struct Parts {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    positions: Vec<u32>,
}

impl Parts {
    /// Adds ids whose first is at position `start`.
    fn push(&mut self, ids: &[u32], start: usize) {
        self.ids.extend_from_slice(ids);
        self.lengths.push(ids.len());
        self.positions.extend((start..start + ids.len()).map(|position| position as u32));
    }

    fn pack(
        self,
        prefixes: Vec<Option<usize>>,
        shared: usize,
        device: &Device,
    ) -> std::result::Result<Packed, ForwardError> {
        let ids = Tensor::new(self.ids, device).map_err(forward_error)?;
        let (lengths, positions) = (self.lengths, self.positions);
        Ok(Packed { ids, lengths, positions, prefixes, shared })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn pair(ids: &[u32], shared_prefix: usize) -> PairTokens {
        PairTokens { ids: ids.to_vec(), type_ids: vec![0; ids.len()], shared_prefix }
    }

    #[test]
    fn a_shared_prefix_is_there_once_and_first() {
        let batch = [
            pair(&[1, 2, 7, 8], 2),
            pair(&[5, 6], 1),
            pair(&[1, 2, 9], 2),
            pair(&[3, 4, 7], 2),
            pair(&[3, 4, 8], 2),
        ];
        let packed = Packed::sharing(&batch, 9, 10, &Device::Cpu).unwrap();
        let ids = packed.ids.to_vec1::<u32>().unwrap();
        assert_eq!(ids, [1, 2, 3, 4, 7, 8, 5, 6, 9, 7, 8]);
        assert_eq!(packed.positions, [0, 1, 0, 1, 2, 3, 0, 1, 2, 2, 2]);
        assert_eq!(packed.lengths, [2, 2, 2, 2, 1, 1, 1]);
        assert_eq!(packed.prefixes, [None, None, Some(0), None, Some(0), Some(1), Some(1)]);
        assert_eq!(packed.results(), [0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(packed.lasts(), [5, 7, 8, 9, 10]);
    }
}
