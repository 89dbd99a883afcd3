//! Sequences end to end, and what a forward pass needs to know of them.

use crate::{
    backend::{ForwardError, PairTokens},
    groups::groups,
    kernels::{Kernels, Numbers, Spans},
};

use array::Array;
pub(crate) use array::Queries;

mod array;

/// What a model takes, and which rows of its last layer are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Ids of a sequence at most.
    pub(crate) max_tokens: usize,
    /// Ids are below it.
    pub(crate) vocabulary: usize,
    pub(crate) wanted: Wanted,
}

/// Which rows of the last layer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every token's: `[tokens, hidden]`.
    All,
    /// Each sequence's first token's: `[sequences, hidden]`.
    Firsts,
    /// Each sequence's last token's, shared prefixes left out: `[sequences, hidden]`.
    Lasts,
}

/// A batch without padding. All its numbers reach the device in one copy.
pub(crate) struct Packed {
    /// `[tokens]`.
    pub(crate) ids: Numbers,
    /// The segment of each token, where the caller named them.
    pub(crate) types: Option<Vec<u32>>,
    /// Tokens of each sequence, none of them 0. What a sequence shares with others is a sequence
    /// of its own, and not counted again.
    pub(crate) lengths: Vec<usize>,
    /// The sequence that each one continues; empty where nothing is shared.
    prefixes: Vec<Option<usize>>,
    /// Every token.
    pub(crate) all: Queries,
    /// Those that the last layer is wanted of, if not all.
    pub(crate) wanted: Option<Queries>,
    /// The rows of the last layer's output that each result comes from: the first, and how many.
    pub(crate) pooled: (Numbers, Numbers),
}

impl Packed {
    /// Packs sequences of `1..=max_tokens` ids below `vocabulary`.
    pub(crate) fn new<'a>(
        batch: impl IntoIterator<Item = &'a [u32]>,
        shape: Shape,
        kernels: &dyn Kernels,
    ) -> Result<Self, ForwardError> {
        let mut parts = Parts::default();
        for sequence in batch {
            check(sequence, shape)?;
            parts.push(sequence, 0);
        }
        parts.pack(Vec::new(), 0, shape.wanted, kernels)
    }

    /// Packs pairs for a causal model: prefixes that several have in common first and once, then
    /// what is left of each pair, in order.
    pub(crate) fn sharing(
        batch: &[PairTokens],
        shape: Shape,
        kernels: &dyn Kernels,
    ) -> Result<Self, ForwardError> {
        for pair in batch {
            check(&pair.ids, shape)?;
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
        parts.pack(prefixes, shared, shape.wanted, kernels)
    }

    /// With each token's segment.
    pub(crate) fn with_types(self, types: Vec<u32>) -> Self {
        Self { types: Some(types), ..self }
    }

    /// What these queries attend to: every token of their sequence.
    pub(crate) fn spans<'a>(&'a self, queries: &'a Queries) -> Spans<'a> {
        Spans {
            queries: &queries.lengths,
            keys: &self.lengths,
            prefixes: &self.prefixes,
            tables: queries.tables.as_ref(),
        }
    }
}

fn check(sequence: &[u32], shape: Shape) -> Result<(), ForwardError> {
    let Shape { max_tokens, vocabulary, .. } = shape;
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

    /// The first `shared` sequences are prefixes of others and have no result.
    fn pack(
        self,
        prefixes: Vec<Option<usize>>,
        shared: usize,
        wanted: Wanted,
        kernels: &dyn Kernels,
    ) -> Result<Packed, ForwardError> {
        let Self { ids, lengths, positions } = self;
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let row = |sequence: usize| match wanted {
            Wanted::Lasts => ends[sequence] - 1,
            Wanted::All | Wanted::Firsts => ends[sequence] - lengths[sequence],
        };
        let rows: Vec<u32> = (shared..lengths.len()).map(|sequence| row(sequence) as u32).collect();

        let mut array = Array::new(kernels.wants_tables());
        let keys = (lengths.as_slice(), prefixes.as_slice());
        let tokens: Vec<u32> = (0..ids.len() as u32).collect();
        let all = array.queries(tokens, &positions, lengths.clone(), keys);
        let (picked, firsts, counts) = if wanted == Wanted::All {
            (None, rows, lengths[shared..].iter().map(|length| *length as u32).collect())
        } else {
            let results =
                (0..lengths.len()).map(|sequence| usize::from(sequence >= shared)).collect();
            let count = rows.len() as u32;
            let picked = array.queries(rows, &positions, results, keys);
            (Some(picked), (0..count).collect(), vec![1; count as usize])
        };
        let (ids, firsts, counts) = (array.push(&ids), array.push(&firsts), array.push(&counts));

        let unpack = || -> candle_core::Result<Packed> {
            let placed = array.place(kernels)?;
            Ok(Packed {
                ids: placed.numbers(&ids)?,
                types: None,
                all: placed.queries(all)?,
                wanted: picked.map(|queries| placed.queries(queries)).transpose()?,
                pooled: (placed.numbers(&firsts)?, placed.numbers(&counts)?),
                lengths,
                prefixes,
            })
        };
        unpack().map_err(forward_error)
    }
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
    use crate::kernels::Cpu;

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
        let shape = Shape { max_tokens: 9, vocabulary: 10, wanted: Wanted::Lasts };
        let packed = Packed::sharing(&batch, shape, &Cpu::new()).unwrap();
        let ids = [1, 2, 3, 4, 7, 8, 5, 6, 9, 7, 8];
        assert_eq!(packed.ids.host, ids);
        assert_eq!(packed.ids.device.to_vec1::<u32>().unwrap(), ids);
        assert_eq!(packed.all.positions.host, [0, 1, 0, 1, 2, 3, 0, 1, 2, 2, 2]);
        assert_eq!(packed.lengths, [2, 2, 2, 2, 1, 1, 1]);
        let wanted = packed.wanted.as_ref().unwrap();
        let spans = packed.spans(wanted);
        assert_eq!(spans.prefixes, [None, None, Some(0), None, Some(0), Some(1), Some(1)]);
        assert_eq!(spans.queries, [0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(wanted.rows.host, [5, 7, 8, 9, 10]);
        assert_eq!(wanted.positions.host, [3, 1, 2, 2, 2]);
        assert_eq!(packed.pooled.0.host, [0, 1, 2, 3, 4]);
        assert_eq!(packed.pooled.1.host, [1; 5]);
    }

    #[test]
    fn rows_are_picked_and_pooled_as_wanted() {
        let batch: [&[u32]; 2] = [&[1, 2, 3], &[4, 5]];
        let pack = |wanted| {
            let shape = Shape { max_tokens: 9, vocabulary: 10, wanted };
            Packed::new(batch, shape, &Cpu::new()).unwrap()
        };
        let firsts = pack(Wanted::Firsts);
        assert_eq!(firsts.wanted.unwrap().rows.host, [0, 3]);
        assert_eq!((firsts.pooled.0.host, firsts.pooled.1.host), (vec![0, 1], vec![1, 1]));
        let all = pack(Wanted::All);
        assert!(all.wanted.is_none());
        assert_eq!((all.pooled.0.host, all.pooled.1.host), (vec![0, 3], vec![3, 2]));
    }
}
