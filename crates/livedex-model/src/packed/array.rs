//! Numbers of a batch that reach the device in one copy.

use std::ops::Range;

use candle_core::{Result, Tensor};
use livedex_cuda::plan::{self, Span};

use crate::kernels::{Kernels, Numbers, Tables};

/// Tokens that attention is computed for.
pub(crate) struct Queries {
    /// Their rows among all tokens.
    pub(crate) rows: Numbers,
    /// Of each within its text, from 0.
    pub(crate) positions: Numbers,
    /// How many each sequence has.
    pub(super) lengths: Vec<usize>,
    pub(super) tables: Option<Tables>,
}

/// The same as places in an [`Array`].
pub(super) struct QueriesAt {
    rows: Range<usize>,
    positions: Range<usize>,
    lengths: Vec<usize>,
    tables: Option<[Range<usize>; 2]>,
}

/// What is being gathered.
pub(super) struct Array {
    numbers: Vec<u32>,
    with_tables: bool,
}

impl Array {
    /// With or without [`Tables`] for attention.
    pub(super) fn new(with_tables: bool) -> Self {
        Self { numbers: Vec::new(), with_tables }
    }

    /// Adds numbers; gives their place.
    pub(super) fn push(&mut self, numbers: &[u32]) -> Range<usize> {
        let start = self.numbers.len();
        self.numbers.extend_from_slice(numbers);
        start..self.numbers.len()
    }

    /// Adds the queries `rows`, of which each sequence has as many as `lengths` says. The keys are
    /// every token's: their number in each sequence, and the sequence that it continues.
    pub(super) fn queries(
        &mut self,
        rows: Vec<u32>,
        positions: &[u32],
        lengths: Vec<usize>,
        keys: (&[usize], &[Option<usize>]),
    ) -> QueriesAt {
        let positions: Vec<u32> = rows.iter().map(|row| positions[*row as usize]).collect();
        let tables = self.with_tables.then(|| {
            let spans = spans(&lengths, keys);
            let blocks: Vec<u32> = plan::blocks(&spans).into_iter().flatten().collect();
            let spans: Vec<u32> = spans.iter().flat_map(|span| span.words()).collect();
            [self.push(&spans), self.push(&blocks)]
        });
        QueriesAt { rows: self.push(&rows), positions: self.push(&positions), lengths, tables }
    }

    /// Copies everything to the device.
    pub(super) fn place(self, kernels: &dyn Kernels) -> Result<Placed> {
        let device = kernels.place(&self.numbers)?;
        Ok(Placed { numbers: self.numbers, device })
    }
}

/// What was gathered, on both sides.
pub(super) struct Placed {
    numbers: Vec<u32>,
    device: Tensor,
}

impl Placed {
    fn view(&self, place: &Range<usize>) -> Result<Tensor> {
        self.device.narrow(0, place.start, place.len())
    }

    pub(super) fn numbers(&self, place: &Range<usize>) -> Result<Numbers> {
        Ok(Numbers { host: self.numbers[place.clone()].to_vec(), device: self.view(place)? })
    }

    pub(super) fn queries(&self, at: QueriesAt) -> Result<Queries> {
        let tables = match &at.tables {
            Some([spans, blocks]) => {
                Some(Tables { spans: self.view(spans)?, blocks: self.view(blocks)? })
            }
            None => None,
        };
        Ok(Queries {
            rows: self.numbers(&at.rows)?,
            positions: self.numbers(&at.positions)?,
            lengths: at.lengths,
            tables,
        })
    }
}

/// Where each sequence's queries and keys lie.
fn spans(queries: &[usize], (keys, prefixes): (&[usize], &[Option<usize>])) -> Vec<Span> {
    let starts = |lengths: &[usize]| -> Vec<u32> {
        let start = |at: &mut u32, length: &usize| {
            *at += *length as u32;
            Some(*at - *length as u32)
        };
        lengths.iter().scan(0, start).collect()
    };
    let (q_starts, k_starts) = (starts(queries), starts(keys));
    (0..keys.len())
        .map(|sequence| {
            let prefix = prefixes.get(sequence).copied().flatten();
            Span {
                q_start: q_starts[sequence],
                q_len: queries[sequence] as u32,
                k_start: k_starts[sequence],
                k_len: keys[sequence] as u32,
                p_start: prefix.map_or(0, |prefix| k_starts[prefix]),
                p_len: prefix.map_or(0, |prefix| keys[prefix] as u32),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_say_where_everything_lies() {
        // A prefix of three tokens without queries, two sequences that continue it, one alone.
        let prefixes = [None, Some(0), Some(0), None];
        let found = spans(&[0, 1, 1, 1], (&[3, 4, 2, 5], &prefixes));
        let numbers: Vec<[u32; 6]> = found.iter().map(Span::words).collect();
        assert_eq!(
            numbers,
            [[0, 0, 0, 3, 0, 0], [0, 1, 3, 4, 0, 3], [1, 1, 7, 2, 0, 3], [2, 1, 9, 5, 0, 0]]
        );
    }
}
