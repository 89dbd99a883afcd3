//! Attention by matrix products, for a GPU whose own kernel is not to be used or does not fit the model.
//!
//! Sequences of similar length are padded to one length and computed together. Everything is in candle's
//! terms, so that this file is tested on a CPU; what it builds in main memory for every layer makes it
//! slow beside the kernel.

use candle_core::{DType, Device, Result, Tensor};

use super::{Heads, Mask, Spans};

/// Lengths are rounded up to a multiple of it, and equal ones are computed together.
const STEP: usize = 64;

/// Numbers of one matrix of scores at most, of all its heads: 256 MiB in f32.
const SCORES: usize = 64 << 20;

/// See [`Kernels::attention`](super::Kernels::attention).
pub(super) fn attention(
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    spans: Spans<'_>,
    mask: Mask,
    scale: f32,
) -> Result<Tensor> {
    let (rows, width) = q.rows.dims2()?;
    let d = width / q.count;
    let sequences = sequences(spans);
    // Where each query row is found in what the groups give one after the other.
    let mut places = vec![0u32; rows];
    let (mut outputs, mut done) = (Vec::new(), 0);
    for group in groups(&sequences, q.count) {
        let shape = Shape::of(&group);
        let numbers = |ids: Vec<u32>| Tensor::new(ids, q.rows.device());
        let q_rows = numbers(padded(&group, shape.queries, |s| s.queries.clone()))?;
        let k_rows = numbers(padded(&group, shape.keys, |s| s.keys.clone()))?;
        let hidden = hidden(&group, &shape, mask, q.rows.device())?;
        outputs.push(one(q, k, v, (&q_rows, &k_rows), &hidden, &shape, (d, scale))?);
        for (index, sequence) in group.iter().enumerate() {
            for (i, row) in sequence.queries.iter().enumerate() {
                places[*row as usize] = (done + index * shape.queries + i) as u32;
            }
        }
        done += group.len() * shape.queries;
    }
    let places = Tensor::new(places, q.rows.device())?;
    Tensor::cat(&outputs, 0)?.index_select(&places, 0)
}

/// The rows of one sequence's queries and keys, its prefix's keys first.
struct Sequence {
    queries: Vec<u32>,
    keys: Vec<u32>,
    /// How many of the keys are the prefix's.
    prefix: usize,
}

fn sequences(spans: Spans<'_>) -> Vec<Sequence> {
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
            Sequence { queries, keys, prefix }
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
    fn of(group: &[&Sequence]) -> Self {
        let longest =
            |length: fn(&Sequence) -> usize| group.iter().map(|s| length(s)).max().unwrap_or(0);
        Self {
            count: group.len(),
            queries: longest(|s| s.queries.len()),
            keys: longest(|s| s.keys.len()),
        }
    }
}

/// Sequences whose lengths are about the same, as many as their scores leave room for.
fn groups(sequences: &[Sequence], heads: usize) -> Vec<Vec<&Sequence>> {
    let class = |s: &Sequence| (s.queries.len().div_ceil(STEP), s.keys.len().div_ceil(STEP));
    let mut sorted: Vec<&Sequence> = sequences.iter().collect();
    sorted.sort_by_key(|s| class(s));
    let mut groups = Vec::new();
    for same in sorted.chunk_by(|a, b| class(a) == class(b)) {
        let (queries, keys) = class(same[0]);
        let room = SCORES / (heads * queries * keys * STEP * STEP).max(1);
        groups.extend(same.chunks(room.max(1)).map(<[_]>::to_vec));
    }
    groups
}

/// Rows of each sequence, padded with row 0, which is then not looked at.
fn padded(group: &[&Sequence], length: usize, rows: impl Fn(&Sequence) -> Vec<u32>) -> Vec<u32> {
    let pad = |sequence: &&Sequence| {
        let mut rows = rows(sequence);
        rows.resize(length, 0);
        rows
    };
    group.iter().flat_map(pad).collect()
}

/// 0 for a key that a query sees, minus infinity for others: `[count, 1, queries, keys]`. A query that
/// is padding sees the first key, so that its sum is not 0.
fn hidden(group: &[&Sequence], shape: &Shape, mask: Mask, device: &Device) -> Result<Tensor> {
    let mut values = Vec::with_capacity(shape.count * shape.queries * shape.keys);
    for sequence in group {
        let (queries, own) = (sequence.queries.len(), sequence.keys.len() - sequence.prefix);
        for query in 0..shape.queries {
            values.extend((0..shape.keys).map(|key| {
                let seen = match key.checked_sub(sequence.prefix) {
                    _ if query >= queries => key == 0,
                    None => true,
                    Some(key) if key >= own => false,
                    Some(key) => match mask {
                        Mask::Full => true,
                        Mask::Causal => key <= own - queries + query,
                        Mask::Near(reach) => key.abs_diff(query) <= reach,
                    },
                };
                if seen { 0.0 } else { f32::NEG_INFINITY }
            }));
        }
    }
    Tensor::from_vec(values, (shape.count, 1, shape.queries, shape.keys), device)
}

/// Attention of one group: `[count * queries, heads * d]`, padding included.
fn one(
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    (q_rows, k_rows): (&Tensor, &Tensor),
    hidden: &Tensor,
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
    let shares = candle_nn::ops::softmax_last_dim(&scores.broadcast_add(hidden)?)?;
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
            let got = attention(of(&q, heads), of(&k, kv_heads), of(&v, kv_heads), spans, mask, scale);
            assert_close(&got.unwrap(), &expected, 1e-5);
        }
    }
}
