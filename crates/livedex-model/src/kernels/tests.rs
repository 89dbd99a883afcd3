//! The CPU's kernels against candle's own operations.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use candle_core::{DType, Device, Tensor};
use candle_nn::attention::cpu_flash::varlen::flash_attn_varlen_cpu;
use proptest::prelude::*;
use pulp::Arch;

use super::*;

pub(super) fn random(shape: (usize, usize)) -> Tensor {
    Tensor::randn(0.0f32, 1.0, shape, &Device::Cpu).unwrap()
}

#[track_caller]
pub(super) fn assert_close(a: &Tensor, b: &Tensor, bound: f32) {
    let worst = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    assert!(worst <= bound, "{worst} > {bound}");
}

fn candle_attention(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    (heads, kv_heads, d): (usize, usize, usize),
    spans: Spans<'_>,
    causal: bool,
) -> Tensor {
    let split =
        |t: &Tensor, n: usize| t.contiguous().unwrap().reshape((t.dims()[0], n, d)).unwrap();
    let lengths = |spans: &[usize]| {
        let spans: Vec<u32> = spans.iter().map(|n| *n as u32).collect();
        Tensor::new(spans, &Device::Cpu).unwrap()
    };
    let longest = |spans: &[usize]| spans.iter().copied().max().unwrap();
    flash_attn_varlen_cpu(
        &split(q, heads),
        &split(k, kv_heads),
        &split(v, kv_heads),
        None,
        &lengths(spans.queries),
        &lengths(spans.keys),
        longest(spans.queries),
        longest(spans.keys),
        1.0 / (d as f32).sqrt(),
        causal,
        None,
        None,
    )
    .unwrap()
    .reshape((q.dims()[0], heads * d))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attention_equals_candles(
        lengths in prop::collection::vec((1usize..70, 0usize..70), 1..5),
        groups in 1usize..4,
        kv_heads in 1usize..3,
        d in prop::sample::select(vec![1usize, 4, 16, 24, 32, 64, 128]),
        causal: bool,
    ) {
        let queries: Vec<usize> = lengths.iter().map(|l| l.0).collect();
        // Keys that no query stands for: a shared prefix, or positions that are not pooled.
        let keys: Vec<usize> = lengths.iter().map(|l| l.0 + l.1).collect();
        let heads = groups * kv_heads;
        let (rows, key_rows) = (queries.iter().sum(), keys.iter().sum());
        let spans = Spans { queries: &queries, keys: &keys, prefixes: &[], tables: None };
        let q = random((rows, heads * d));
        // Keys and values as columns of a wider matrix, as a fused projection gives them.
        let kv = random((key_rows, 2 * kv_heads * d + 3));
        let k = kv.narrow(1, 1, kv_heads * d).unwrap();
        let v = kv.narrow(1, 2 + kv_heads * d, kv_heads * d).unwrap();
        let heads_of = |rows, count| Heads { rows, count };
        let scale = 1.0 / (d as f32).sqrt();
        let mask = if causal { Mask::Causal } else { Mask::Full };
        let got = Cpu::new()
            .attention(heads_of(&q, heads), heads_of(&k, kv_heads), heads_of(&v, kv_heads), spans, mask, scale)
            .unwrap();
        let expected = candle_attention((&q, &k, &v), (heads, kv_heads, d), spans, causal);
        assert_close(&got, &expected, 1e-5);
    }
}

/// This processor, and one without vectors.
fn cpus() -> [Cpu; 2] {
    [Cpu::new(), Cpu { arch: Arch::Scalar }]
}

/// One query row and one key at a time, in f64, keys of two segments put together first.
pub(super) fn naive_attention(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    (heads, kv_heads, d): (usize, usize, usize),
    spans: Spans<'_>,
    mask: Mask,
) -> Tensor {
    let rows = |t: &Tensor| t.contiguous().unwrap().to_vec2::<f32>().unwrap();
    let (q, k, v) = (rows(q), rows(k), rows(v));
    let start = |lengths: &[usize], sequence: usize| lengths[..sequence].iter().sum::<usize>();
    let mut out = Vec::new();
    for sequence in 0..spans.keys.len() {
        let keys = |s: usize| start(spans.keys, s)..start(spans.keys, s) + spans.keys[s];
        let prefix: Vec<usize> = spans.prefix(sequence).map(keys).into_iter().flatten().collect();
        let first = start(spans.queries, sequence);
        let (queries, own) = (spans.queries[sequence], spans.keys[sequence]);
        for query in 0..queries {
            let seen = |key: &usize| match mask {
                Mask::Full => true,
                Mask::Causal => *key <= own - queries + query,
                Mask::Near(reach) => key.abs_diff(query) <= reach,
            };
            let own = keys(sequence).enumerate().filter(|(i, _)| seen(i)).map(|(_, key)| key);
            let keys: Vec<usize> = prefix.iter().copied().chain(own).collect();
            for head in 0..heads {
                let kv = head / (heads / kv_heads) * d;
                let q = &q[first + query][head * d..][..d];
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let scores: Vec<f64> = keys
                    .iter()
                    .map(|&key| (dot(q, &k[key][kv..][..d]) / (d as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                out.extend((0..d).map(|i| {
                    let of = |(key, s): (&usize, &f64)| f64::from(v[*key][kv + i]) * s / sum;
                    keys.iter().zip(&scores).map(of).sum::<f64>() as f32
                }));
            }
        }
    }
    Tensor::from_vec(out, (q.len(), heads * d), &Device::Cpu).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attention_over_two_segments_equals_the_naive_one(
        // Prefixes with and without queries of their own, and what continues them or stands alone.
        prefixes in prop::collection::vec((1usize..70, any::<bool>()), 0..4),
        rests in prop::collection::vec((1usize..60, 0usize..30, any::<prop::sample::Index>()), 1..8),
        groups in 1usize..4,
        kv_heads in 1usize..3,
        d in prop::sample::select(vec![4usize, 16, 24, 64]),
        causal: bool,
    ) {
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
        let heads = groups * kv_heads;
        let q = random((queries.iter().sum(), heads * d));
        let kv = random((keys.iter().sum(), 2 * kv_heads * d));
        let k = kv.narrow(1, 0, kv_heads * d).unwrap();
        let v = kv.narrow(1, kv_heads * d, kv_heads * d).unwrap();
        let of = |rows, count| Heads { rows, count };
        let mask = if causal { Mask::Causal } else { Mask::Full };
        let scale = 1.0 / (d as f32).sqrt();
        let expected = naive_attention((&q, &k, &v), (heads, kv_heads, d), spans, mask);
        for cpu in cpus() {
            let got = cpu
                .attention(of(&q, heads), of(&k, kv_heads), of(&v, kv_heads), spans, mask, scale)
                .unwrap();
            assert_close(&got, &expected, 1e-5);
        }
    }

    #[test]
    fn windowed_attention_equals_the_definition(
        // Query rows are the first ones of each sequence.
        lengths in prop::collection::vec((1usize..120, 0usize..90), 1..4),
        d in prop::sample::select(vec![1usize, 8, 16, 24, 64]),
        reach in prop::sample::select(vec![0usize, 1, 4, 16, 31, 64, 1000, usize::MAX]),
    ) {
        let queries: Vec<usize> = lengths.iter().map(|l| l.0).collect();
        let keys: Vec<usize> = lengths.iter().map(|l| l.0 + l.1).collect();
        let (rows, key_rows) = (queries.iter().sum(), keys.iter().sum());
        let (q, k, v) = (random((rows, d)), random((key_rows, d)), random((key_rows, d)));
        let scale = 1.0 / (d as f32).sqrt();
        let of = |rows| Heads { rows, count: 1 };
        let spans = Spans { queries: &queries, keys: &keys, prefixes: &[], tables: None };
        let mask = Mask::Near(reach);
        let expected = naive_attention((&q, &k, &v), (1, 1, d), spans, mask);
        for cpu in cpus() {
            let got = cpu.attention(of(&q), of(&k), of(&v), spans, mask, scale);
            assert_close(&got.unwrap(), &expected, 1e-5);
        }
    }
}

#[test]
fn a_prefix_is_a_whole_sequence_of_the_batch() {
    let x = random((6, 16));
    let of = Heads { rows: &x, count: 1 };
    let check = |prefixes: &[Option<usize>]| {
        let spans = Spans { queries: &[2, 2, 2], keys: &[2, 2, 2], prefixes, tables: None };
        Cpu::new().attention(of, of, of, spans, Mask::Causal, 1.0)
    };
    assert!(check(&[None, Some(0), Some(0)]).is_ok());
    assert!(check(&[None, Some(2), None]).is_ok(), "in any order");
    assert!(check(&[None, Some(3), None]).is_err(), "no such sequence");
    assert!(check(&[None, Some(0), Some(1)]).is_err(), "a prefix of a prefix");
    assert!(check(&[None, Some(0)]).is_err(), "one is missing");
}

#[test]
fn attention_refuses_what_does_not_fit() {
    let cpu = Cpu::new();
    let (q, k) = (random((4, 64)), random((5, 32)));
    let mask = Mask::Causal;
    let check = |q_heads, kv_heads, queries: &[usize], keys: &[usize]| {
        let (q, k) = (Heads { rows: &q, count: q_heads }, Heads { rows: &k, count: kv_heads });
        cpu.attention(q, k, k, Spans { queries, keys, prefixes: &[], tables: None }, mask, 1.0)
    };
    assert!(check(4, 2, &[1, 3], &[2, 3]).is_ok());
    assert!(check(4, 2, &[1, 3], &[3, 3]).is_err(), "too few rows");
    assert!(check(4, 2, &[3, 1], &[2, 3]).is_err(), "a query without key");
    assert!(check(4, 2, &[4], &[2, 3]).is_err());
    assert!(check(4, 4, &[1, 3], &[2, 3]).is_err(), "other head size");
}

#[test]
fn extreme_scores_stay_finite() {
    let q = (random((40, 32)) * 100.0).unwrap();
    let heads = |rows| Heads { rows, count: 1 };
    let spans = Spans { queries: &[40], keys: &[40], prefixes: &[], tables: None };
    let got =
        Cpu::new().attention(heads(&q), heads(&q), heads(&q), spans, Mask::Causal, 10.0).unwrap();
    // Each row finds itself, or one that is longer, so strongly that nothing else counts.
    let values = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(values.iter().all(|x| x.is_finite()));
}

#[test]
fn activations_equal_candles() {
    let (x, bias) = (random((300, 96)), random((1, 96)).squeeze(0).unwrap());
    let x = (x * 3.0).unwrap();
    let sum = x.broadcast_add(&bias).unwrap();
    for (activation, expected) in [
        (Activation::Identity, sum.clone()),
        (Activation::Gelu, sum.gelu_erf().unwrap()),
        (Activation::GeluTanh, sum.gelu().unwrap()),
        (Activation::Relu, sum.relu().unwrap()),
        (Activation::Tanh, sum.tanh().unwrap()),
    ] {
        let out = x.copy().unwrap();
        Cpu::new().bias_activation(&out, &bias, activation).unwrap();
        assert_close(&out, &expected, 3e-6);
    }
}

#[test]
fn layer_norm_equals_candles() {
    let (x, rest) = (random((300, 100)), random((300, 100)));
    let vector = || random((1, 100)).squeeze(0).unwrap();
    let (bias_values, weight, shift) = (vector(), vector(), vector());
    let zeros = shift.zeros_like().unwrap();
    for (norm_bias, bias) in [(true, true), (true, false), (false, true), (false, false)] {
        let shift = if norm_bias { &shift } else { &zeros };
        let norm =
            Norm { weight: weight.clone(), bias: norm_bias.then(|| shift.clone()), eps: 1e-5 };
        let bias = bias.then_some(&bias_values);
        let mut sum = (&x + &rest).unwrap();
        if let Some(bias) = bias {
            sum = sum.broadcast_add(bias).unwrap();
        }
        let expected = candle_nn::ops::layer_norm_slow(&sum, &weight, shift, 1e-5).unwrap();
        let out = x.copy().unwrap();
        Cpu::new().add_layer_norm(&out, bias, &rest, &norm).unwrap();
        assert_close(&out, &expected, 1e-5);
        let got = Cpu::new().layer_norm(&sum, &norm).unwrap();
        assert_close(&got, &expected, 1e-5);
    }
}

#[test]
fn rotation_equals_candles() {
    let (tokens, heads, d) = (9, 3, 32);
    let x = random((tokens, heads * d + 5));
    let x = x.narrow(1, 2, heads * d).unwrap();
    let norm = Norm { weight: random((1, d)).squeeze(0).unwrap(), bias: None, eps: 1e-6 };
    let angles = random((20, d / 2));
    let rope = Rope { cos: angles.cos().unwrap(), sin: angles.sin().unwrap() };
    let positions = [0, 1, 2, 3, 0, 1, 2, 19, 5];
    let rows = Tensor::new(&positions, &Device::Cpu).unwrap();
    let positions = Numbers::on_cpu(&positions).unwrap();
    let table = |t: &Tensor| t.index_select(&rows, 0).unwrap();
    let plain = x.contiguous().unwrap().reshape((tokens, heads, d)).unwrap();
    let normed = candle_nn::ops::rms_norm(&plain, &norm.weight, norm.eps).unwrap();
    for (norm, x_normed) in [(Some(&norm), normed), (None, plain)] {
        let heads_of = Heads { rows: &x, count: heads };
        let got = Cpu::new().norm_rope(heads_of, norm, &rope, &positions).unwrap();
        let by_head = x_normed.transpose(0, 1).unwrap().unsqueeze(0).unwrap();
        let expected = candle_nn::rotary_emb::rope_slow(
            &by_head.contiguous().unwrap(),
            &table(&rope.cos),
            &table(&rope.sin),
        )
        .unwrap();
        let expected = expected.squeeze(0).unwrap().transpose(0, 1).unwrap();
        assert_close(&got, &expected.reshape((tokens, heads * d)).unwrap(), 1e-5);
    }
    let beyond = Numbers::on_cpu(&[20; 9]).unwrap();
    assert!(
        Cpu::new()
            .norm_rope(Heads { rows: &x, count: heads }, Some(&norm), &rope, &beyond)
            .is_err(),
        "a position beyond the tables"
    );
}

#[test]
fn gated_unit_equals_candles() {
    let x = random((50, 2 * 70));
    let gate = x.narrow(1, 0, 70).unwrap();
    let up = x.narrow(1, 70, 70).unwrap();
    let expected = (gate.silu().unwrap() * &up).unwrap();
    let got = Cpu::new().silu_mul(&x).unwrap();
    assert_close(&got, &expected, 2e-6);
    assert_eq!(got.dtype(), DType::F32);
    let expected = (gate.gelu_erf().unwrap() * up).unwrap();
    assert_close(&Cpu::new().gelu_mul(&x).unwrap(), &expected, 3e-6);
}

/// Not a test: prints how this attention and candle's compare.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
#[allow(clippy::print_stdout, reason = "its only output")]
fn measure_attention() {
    let mut shapes = Vec::new();
    for (heads, kv_heads, d, causal) in [(12, 12, 32, false), (16, 8, 128, true)] {
        for n in [16, 64, 200, 512, 2048] {
            shapes.push((heads, kv_heads, d, causal, n));
        }
    }
    for (heads, kv_heads, d, causal, n) in shapes {
        let lengths = vec![n; (4096 / n).max(1)];
        let tokens = lengths.iter().sum();
        let spans = Spans { queries: &lengths, keys: &lengths, prefixes: &[], tables: None };
        let (q, k, v) = (
            random((tokens, heads * d)),
            random((tokens, kv_heads * d)),
            random((tokens, kv_heads * d)),
        );
        let time = |f: &dyn Fn()| {
            f();
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                let start = std::time::Instant::now();
                f();
                best = best.min(start.elapsed().as_secs_f64());
            }
            best * 1e9 / tokens as f64
        };
        let cpu = Cpu::new();
        let mask = if causal { Mask::Causal } else { Mask::Full };
        let of = |rows, count| Heads { rows, count };
        let ours = time(&|| {
            cpu.attention(of(&q, heads), of(&k, kv_heads), of(&v, kv_heads), spans, mask, 0.1)
                .unwrap();
        });
        let candles = time(&|| {
            candle_attention((&q, &k, &v), (heads, kv_heads, d), spans, causal);
        });
        println!(
            "{heads}/{kv_heads} heads of {d}, {n} tokens: ours {ours:.0} ns a token, candle's {candles:.0}"
        );
    }
}
