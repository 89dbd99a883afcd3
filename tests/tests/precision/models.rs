//! Whole models in each precision.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use livedex_model::{
    LoadError, Matmul, ModelSpec, Precision, backend::PairTokens, load_embedder, load_reranker,
};
use safetensors::{Dtype, tensor::TensorView};

use crate::products::numbers;

const EMBEDDERS: [&str; 2] = ["qwen3-embed", "bert-embed"];
const RERANKERS: [&str; 3] = ["qwen3-rerank", "qwen3-rerank-untied", "bert-rerank"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/livedex-model/fixtures").join(name)
}

fn spec(name: &str, precision: Precision, matmul: Matmul) -> ModelSpec {
    ModelSpec { precision, matmul, ..ModelSpec::dir(fixture(name)) }
}

fn texts() -> Vec<String> {
    (1..40).map(|n| format!("sentence {n}: {}", "the stream of vectors ".repeat(n % 7))).collect()
}

fn vectors(spec: &ModelSpec) -> Result<Vec<Vec<f32>>> {
    let mut model = load_embedder(spec)?;
    let tokenizer = model.tokenizer();
    let ids =
        texts().iter().map(|t| tokenizer.encode_document(t)).collect::<Result<Vec<_>, _>>()?;
    Ok(model.forward(&ids)?)
}

fn scores(spec: &ModelSpec) -> Result<Vec<f32>> {
    let mut model = load_reranker(spec)?;
    let tokenizer = model.tokenizer();
    let pairs: Vec<PairTokens> = texts()
        .iter()
        .map(|t| tokenizer.encode("what streams", None, t))
        .collect::<Result<_, _>>()?;
    Ok(model.forward(&pairs)?)
}

/// Of vectors of length 1.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The least cosine and the largest difference of probabilities between two ways to compute.
fn compare(left: (Precision, Matmul), right: (Precision, Matmul)) -> Result<(f64, f32)> {
    let mut worst = 1.0f64;
    for name in EMBEDDERS {
        let (a, b) =
            (vectors(&spec(name, left.0, left.1))?, vectors(&spec(name, right.0, right.1))?);
        worst = a.iter().zip(&b).map(|(a, b)| dot(a, b)).fold(worst, f64::min);
    }
    let mut difference = 0.0f32;
    for name in RERANKERS {
        let (a, b) = (scores(&spec(name, left.0, left.1))?, scores(&spec(name, right.0, right.1))?);
        for (a, b) in a.iter().zip(&b) {
            difference = difference.max((a - b).abs());
        }
    }
    Ok((worst, difference))
}

pub(crate) fn f32_by_either() -> Result<()> {
    let (cosine, difference) =
        compare((Precision::F32, Matmul::OneDnn), (Precision::F32, Matmul::Candle))?;
    ensure!(cosine > 1.0 - 1e-5 && difference < 1e-5, "{cosine}, {difference}");
    Ok(())
}

pub(crate) fn bf16() -> Result<()> {
    let (cosine, difference) =
        compare((Precision::Bf16, Matmul::Auto), (Precision::F32, Matmul::Candle))?;
    ensure!(cosine >= 0.999, "cosine {cosine}");
    ensure!(cosine < 1.0 - 1e-7, "nothing was rounded");
    // These random models are far more sensitive than trained ones; the bound for those is in
    // the benchmarks' parity table.
    ensure!(difference <= 0.05, "probabilities differ by {difference}");
    Ok(())
}

pub(crate) fn q8_0() -> Result<()> {
    // Layers of fewer than 256 inputs, as in the fixtures, stay in f32: the same numbers.
    let (cosine, difference) =
        compare((Precision::Q8_0, Matmul::Auto), (Precision::F32, Matmul::Candle))?;
    ensure!(cosine >= 0.9999 && difference <= 1e-3, "{cosine}, {difference}");

    let folder = wide_bert()?;
    let with = |precision| {
        vectors(&ModelSpec { precision, matmul: Matmul::Candle, ..ModelSpec::dir(folder.path()) })
    };
    let (exact, quantised) = (with(Precision::F32)?, with(Precision::Q8_0)?);
    let cosine = exact.iter().zip(&quantised).map(|(a, b)| dot(a, b)).fold(1.0, f64::min);
    ensure!(cosine >= 0.995, "cosine {cosine}");
    ensure!(cosine < 1.0 - 1e-7, "nothing was quantised");
    Ok(())
}

/// A copy of the BERT fixture with other weights, wide enough to be quantised.
fn wide_bert() -> Result<tempfile::TempDir> {
    const HIDDEN: usize = 256;
    const UP: usize = 512;
    let folder = tempfile::tempdir()?;
    let source = fixture("bert-embed");
    std::fs::copy(source.join("tokenizer.json"), folder.path().join("tokenizer.json"))?;
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(source.join("config.json"))?)?;
    config["hidden_size"] = HIDDEN.into();
    config["intermediate_size"] = UP.into();
    config["num_hidden_layers"] = 2.into();
    std::fs::write(folder.path().join("config.json"), config.to_string())?;

    let rows = |key: &str| config[key].as_u64().unwrap_or(0) as usize;
    let mut shapes: Vec<(String, Vec<usize>)> = [
        ("word", "vocab_size"),
        ("position", "max_position_embeddings"),
        ("token_type", "type_vocab_size"),
    ]
    .map(|(n, key)| (format!("embeddings.{n}_embeddings.weight"), vec![rows(key), HIDDEN]))
    .to_vec();
    let mut layer = |name: String, inputs: usize, outputs: usize| {
        shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{name}.bias"), vec![outputs]));
    };
    for i in 0..2 {
        for name in ["self.query", "self.key", "self.value", "output.dense"] {
            layer(format!("encoder.layer.{i}.attention.{name}"), HIDDEN, HIDDEN);
        }
        layer(format!("encoder.layer.{i}.intermediate.dense"), HIDDEN, UP);
        layer(format!("encoder.layer.{i}.output.dense"), UP, HIDDEN);
    }
    let norms = ["encoder.layer.0.attention.output", "encoder.layer.0.output"];
    let norms = norms.iter().flat_map(|n| [n.to_string(), n.replace(".0.", ".1.")]);
    for name in norms.chain(["embeddings".to_owned()]) {
        shapes.push((format!("{name}.LayerNorm.weight"), vec![HIDDEN]));
        shapes.push((format!("{name}.LayerNorm.bias"), vec![HIDDEN]));
    }
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .enumerate()
        .map(|(seed, (name, shape))| {
            let scale = (12.0 / *shape.last().unwrap_or(&1) as f32).sqrt();
            let offset = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let numbers = numbers(shape.iter().product(), seed as u32);
            let bytes = numbers.iter().flat_map(|x| (x * scale + offset).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors"))?;
    Ok(folder)
}

pub(crate) fn refusals() -> Result<()> {
    for (precision, matmul, part) in [
        (Precision::Bf16, Matmul::Candle, "precision \"bf16\" is not possible here"),
        (Precision::Q8_0, Matmul::OneDnn, "only candle has it"),
    ] {
        match load_embedder(&spec("bert-embed", precision, matmul)).map(drop) {
            Err(error @ LoadError::Products { .. }) => {
                let text = error.to_string();
                ensure!(text.contains(part) && text.contains("libdnnl"), "{text}");
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    let known: Vec<_> = ["f32", "bf16", "q8_0"].map(str::parse::<Precision>).into_iter().collect();
    ensure!(known.iter().all(Result::is_ok), "{known:?}");
    let unknown = "fp16".parse::<Precision>().map_err(|e| e.to_string());
    ensure!(unknown == Err("\"fp16\" is none of f32, bf16, q8_0".into()), "{unknown:?}");
    Ok(())
}
