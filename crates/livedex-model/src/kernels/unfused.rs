//! Attention by matrix products, for a GPU whose own kernel is not to be used or does not fit the model.
//!
//! Sequences of similar length are padded to one length and computed together; one that is too long for that is cut
//! into pieces of its queries. Everything is in candle's terms, so that this file is tested on a CPU; what it
//! builds in main memory for every layer makes it slow beside the kernel.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use super::{Heads, Mask, Spans};

/// Lengths are rounded up to a multiple of it, and equal ones are computed together.
const STEP: usize = 64;

/// Numbers of one matrix of scores at most, of all its heads: 256 MiB in f32. candle's kernels, which count in
/// 32 bits, would go wrong from 2^31 on, where memory has not ended before.
pub(super) const SCORES: usize = 64 << 20;

/// See [`Kernels::attention`](super::Kernels::attention). `most`: scores at a time, of all heads, where one row
/// of queries has not more; [`SCORES`].
pub(super) fn attention(
    most: usize,
    (q, k, v): (Heads<'_>, Heads<'_>, Heads<'_>),
    spans: Spans<'_>,
    mask: Mask,
    scale: f32,
) -> Result<Tensor> {
    let (rows, width) = q.rows.dims2()?;
    let d = width / q.count;
    let most = most / q.count;
    let pieces =
        sequences(spans).into_iter().flat_map(|s| s.pieces(most, mask)).collect::<Vec<_>>();
    // Where each query row is found in what the groups give one after the other.
    let mut places = vec![0u32; rows];
    let (mut outputs, mut done) = (Vec::new(), 0);
    for group in groups(&pieces, most) {
        let shape = Shape::of(&group);
        let numbers = |ids: Vec<u32>| Tensor::new(ids, q.rows.device());
        let q_rows = numbers(padded(&group, shape.queries, |s| s.queries.clone()))?;
        let k_rows = numbers(padded(&group, shape.keys, |s| s.keys.clone()))?;
        let seen = seen(&group, &shape, mask, q.rows.device())?;
        outputs.push(one(q, k, v, (&q_rows, &k_rows), &seen, &shape, (d, scale))?);
        for (index, piece) in group.iter().enumerate() {
            for (i, row) in piece.queries.iter().enumerate() {
                places[*row as usize] = (done + index * shape.queries + i) as u32;
            }
        }
        done += group.len() * shape.queries;
    }
    let places = Tensor::new(places, q.rows.device())?;
    Tensor::cat(&outputs, 0)?.index_select(&places, 0)
}

/// Rows of one sequence: queries that follow each other, and all keys that one of them sees, its prefix's first.
struct Piece {
    queries: Vec<u32>,
    keys: Vec<u32>,
    /// How many of the keys are the prefix's.
    prefix: usize,
    /// How far the first query is behind the first key that is not the prefix's, where queries are a sequence's
    /// first ones.
    behind: usize,
}

impl Piece {
    /// Cut between queries, so that each has at most so many scores; of keys that none sees nothing is left.
    fn pieces(self, most: usize, mask: Mask) -> Vec<Self> {
        let all = self.queries.len();
        let at_once = match most / self.keys.len().max(1) {
            few @ ..STEP => few.max(1),
            many => many / STEP * STEP,
        };
        if all <= at_once {
            return vec![self];
        }
        let piece = |first: usize| {
            let end = (first + at_once).min(all);
            // No later query sees an earlier first or last key.
            let seen = self.seen(first, mask).start..self.seen(end - 1, mask).end;
            let (prefix, rest) = self.keys.split_at(self.prefix);
            let behind = first - seen.start;
            let keys = [prefix, &rest[seen]].concat();
            Self { queries: self.queries[first..end].to_vec(), keys, prefix: self.prefix, behind }
        };
        (0..all).step_by(at_once).map(piece).collect()
    }

    /// The own keys that a query sees. Causal: the last query sees the last key.
    fn seen(&self, query: usize, mask: Mask) -> Range<usize> {
        let (queries, own) = (self.queries.len(), self.keys.len() - self.prefix);
        match mask {
            Mask::Full => 0..own,
            Mask::Causal => 0..own - queries + query + 1,
            Mask::Near(reach) => {
                let at = self.behind + query;
                let end = at.saturating_add(reach).saturating_add(1);
                at.saturating_sub(reach).min(own)..end.min(own)
            }
        }
    }
}

/// Each sequence that has queries, whole.
fn sequences(spans: Spans<'_>) -> Vec<Piece> {
    let starts = |lengths: &[usize]| -> Vec<usize> {
        let start = |at: &mut usize, length: &usize| {
            *at += length;
            Some(*at - length)
        };
        lengths.iter().scan(0, start).collect()
    };
    let (q_starts, k_starts) = (starts(spans.queries), starts(spans.keys));
    let rows = |start: usize, count: usize| (start..start + count).map(|row| row as u32);
    (0..spans.keys.len())
        .filter(|sequence| spans.queries[*sequence] > 0)
        .map(|sequence| {
            let prefix = spans.prefix(sequence).map(|p| rows(k_starts[p], spans.keys[p]));
            let mut keys: Vec<u32> = prefix.into_iter().flatten().collect();
            let prefix = keys.len();
            keys.extend(rows(k_starts[sequence], spans.keys[sequence]));
            let queries = rows(q_starts[sequence], spans.queries[sequence]).collect();
            Piece { queries, keys, prefix, behind: 0 }
        })
        .collect()
}

/// The lengths that a group is padded to.
struct Shape {
    count: usize,
    queries: usize,
    keys: usize,
}

impl Shape {
    fn of(group: &[&Piece]) -> Self {
        let longest =
            |length: fn(&Piece) -> usize| group.iter().map(|s| length(s)).max().unwrap_or(0);
        Self {
            count: group.len(),
            queries: longest(|s| s.queries.len()),
            keys: longest(|s| s.keys.len()),
        }
    }
}

/// Pieces whose lengths are about the same, as many as have at most so many scores.
fn groups(pieces: &[Piece], most: usize) -> Vec<Vec<&Piece>> {
    let class = |s: &Piece| (s.queries.len().div_ceil(STEP), s.keys.len().div_ceil(STEP));
    let mut sorted: Vec<&Piece> = pieces.iter().collect();
    sorted.sort_by_key(|s| class(s));
    let mut groups = Vec::new();
    for same in sorted.chunk_by(|a, b| class(a) == class(b)) {
        let (queries, keys) = class(same[0]);
        let room = most / (queries * keys * STEP * STEP).max(1);
        groups.extend(same.chunks(room.max(1)).map(<[_]>::to_vec));
    }
    groups
}

/// Rows of each piece, padded with row 0, which is then not looked at.
fn padded(group: &[&Piece], length: usize, rows: impl Fn(&Piece) -> Vec<u32>) -> Vec<u32> {
    let pad = |piece: &&Piece| {
        let mut rows = rows(piece);
        rows.resize(length, 0);
        rows
    };
    group.iter().flat_map(pad).collect()
}

/// 1 for a key that a query sees, 0 for others: `[count, 1, queries, keys]`. A query that is padding sees the
/// first key, so that its sum is not 0.
fn seen(group: &[&Piece], shape: &Shape, mask: Mask, device: &Device) -> Result<Tensor> {
    let mut values = vec![0u8; shape.count * shape.queries * shape.keys];
    let rows = group.iter().flat_map(|piece| (0..shape.queries).map(move |query| (piece, query)));
    for ((piece, query), row) in rows.zip(values.chunks_mut(shape.keys.max(1))) {
        if query >= piece.queries.len() {
            row[0] = 1;
            continue;
        }
        let (prefix, own) = row.split_at_mut(piece.prefix);
        prefix.fill(1);
        own[piece.seen(query, mask)].fill(1);
    }
    Tensor::from_vec(values, (shape.count, 1, shape.queries, shape.keys), device)
}

/// Attention of one group: `[count * queries, heads * d]`, padding included.
fn one(
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    (q_rows, k_rows): (&Tensor, &Tensor),
    seen: &Tensor,
    shape: &Shape,
    (d, scale): (usize, f32),
) -> Result<Tensor> {
    let group = q.count / k.count;
    let split = |heads: Heads<'_>, rows: &Tensor, length: usize| {
        let rows = heads.rows.contiguous()?.index_select(rows, 0)?;
        rows.reshape((shape.count, length, heads.count, d))?.transpose(1, 2)?.contiguous()
    };
    let q = split(q, q_rows, shape.queries)?;
    // Every key and value head for each of the query heads that read it.
    let repeated = |heads| {
        let x = split(heads, k_rows, shape.keys)?.unsqueeze(2)?;
        let all = (shape.count, heads.count, group, shape.keys, d);
        x.broadcast_as(all)?.contiguous()?.reshape((
            shape.count,
            heads.count * group,
            shape.keys,
            d,
        ))
    };
    let (k, v) = (repeated(k)?, repeated(v)?);
    let scores = (q.matmul(&k.transpose(2, 3)?)?.to_dtype(DType::F32)? * f64::from(scale))?;
    let all = scores.shape().clone();
    let never = Tensor::new(f32::NEG_INFINITY, scores.device())?.broadcast_as(&all)?;
    let scores = seen.broadcast_as(&all)?.where_cond(&scores, &never)?;
    let shares = candle_nn::ops::softmax_last_dim(&scores)?;
    let out = shares.to_dtype(v.dtype())?.matmul(&v)?;
    let width = q.dim(1)? * d;
    out.transpose(1, 2)?.contiguous()?.reshape((shape.count * shape.queries, width))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::{
        super::tests::{assert_close, naive_attention, random},
        *,
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_equals_the_naive_one(
            // Prefixes, of which the last layer has no queries, and what continues them.
            prefixes in prop::collection::vec((1usize..70, any::<bool>()), 0..3),
            rests in prop::collection::vec((1usize..130, 0usize..30, any::<prop::sample::Index>()), 1..7),
            group in 1usize..4,
            kv_heads in 1usize..3,
            d in prop::sample::select(vec![4usize, 16, 64]),
            kind in 0usize..3,
            // From a row of queries at a time to everything at once.
            most in prop::sample::select(vec![1usize, 1 << 12, 1 << 15, SCORES]),
        ) {
            let mask = [Mask::Full, Mask::Causal, Mask::Near(20)][kind];
            let prefixes = if kind == 2 { Vec::new() } else { prefixes };
            let mut keys: Vec<usize> = prefixes.iter().map(|p| p.0).collect();
            let mut queries: Vec<usize> = prefixes.iter().map(|p| if p.1 { p.0 } else { 0 }).collect();
            let mut continued = vec![None; prefixes.len()];
            for (length, unasked, choice) in &rests {
                queries.push(*length);
                keys.push(length + unasked);
                let choice = choice.index(prefixes.len() + 1);
                continued.push((choice < prefixes.len()).then_some(choice));
            }
            let spans = Spans { queries: &queries, keys: &keys, prefixes: &continued, tables: None };
            let heads = group * kv_heads;
            let q = random((queries.iter().sum(), heads * d));
            let kv = random((keys.iter().sum(), 2 * kv_heads * d));
            let (k, v) = (kv.narrow(1, 0, kv_heads * d).unwrap(), kv.narrow(1, kv_heads * d, kv_heads * d).unwrap());
            let of = |rows, count| Heads { rows, count };
            let scale = 1.0 / (d as f32).sqrt();
            let expected = naive_attention((&q, &k, &v), (heads, kv_heads, d), spans, mask);
            let of = (of(&q, heads), of(&k, kv_heads), of(&v, kv_heads));
            let got = attention(most, of, spans, mask, scale);
            assert_close(&got.unwrap(), &expected, 1e-5);
        }
    }
}
