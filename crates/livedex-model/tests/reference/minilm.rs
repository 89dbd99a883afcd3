//! The real all-MiniLM-L6-v2, and the reranker of `models/` on top of it.
//!
//! The folder is looked for in `LIVEDEX_MINILM`, then in `$LIVEDEX_CACHE/models/all-MiniLM-L6-v2`
//! (`~/.cache/livedex` by default). Without it the tests say so and pass, unless
//! `LIVEDEX_REQUIRE_ALL=1`.

use std::path::PathBuf;

use livedex_model::ModelSpec;
use serde::Deserialize;

use crate::common::*;

const SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

fn minilm() -> Option<PathBuf> {
    let folder = std::env::var_os("LIVEDEX_MINILM").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("LIVEDEX_CACHE").map(PathBuf::from);
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        cache.unwrap_or_else(|| home.join(".cache/livedex")).join("models/all-MiniLM-L6-v2")
    });
    if folder.join("model.safetensors").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var("LIVEDEX_REQUIRE_ALL").as_deref() != Ok("1"),
        "all-MiniLM-L6-v2 is not in {}",
        folder.display()
    );
    eprintln!("skipped: all-MiniLM-L6-v2 is not in {}; set LIVEDEX_MINILM", folder.display());
    None
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    embedding: Vec<f32>,
}

#[test]
fn sentences_equal_sentence_transformers() {
    let Some(folder) = minilm() else { return };
    let mut model =
        embedder(ModelSpec { expected_sha256: Some(SHA256.into()), ..ModelSpec::dir(folder) });
    assert_eq!((model.info().dimension, model.info().max_tokens), (384, 256));
    let cases: Golden<Sentence> = read(&fixture("minilm.json"));
    let tokenizer = model.tokenizer();
    let ids: Vec<Vec<u32>> =
        cases.cases.iter().map(|c| tokenizer.encode_document(&c.text).unwrap()).collect();
    assert_eq!(ids.iter().map(Vec::len).max(), Some(256), "one is truncated");
    let worst = embed_both_ways(&mut model, &ids)
        .iter()
        .zip(&cases.cases)
        .map(|(v, case)| assert_same_direction(v, &case.embedding, &case.text))
        .fold(0.0, f64::max);
    println!("all-MiniLM-L6-v2: 1 - cosine at most {worst:.1e}");
}

#[derive(Deserialize)]
struct Pair {
    query: String,
    document: String,
    score: f32,
    input_ids: Vec<u32>,
}

#[test]
fn the_default_reranker_gives_its_golden_scores() {
    let Some(folder) = minilm() else { return };
    let adapter = crate_folder().join("../../models/livedex-rerank-minilm");
    let pairs: Vec<Pair> = read(&adapter.join("golden.json"));
    let cases: Vec<PairCase> = pairs
        .into_iter()
        .map(|p| {
            let first = p.input_ids.iter().position(|id| *id == 102).unwrap() + 1;
            let types = (0..p.input_ids.len()).map(|i| u32::from(i >= first));
            PairCase {
                query: p.query,
                instruction: None,
                document: p.document,
                max_tokens: 256,
                type_ids: Some(types.collect()),
                ids: p.input_ids,
                score: p.score,
            }
        })
        .collect();
    assert_eq!(cases.len(), 15);
    let worst = check_pairs(ModelSpec { adapter: Some(adapter), ..ModelSpec::dir(folder) }, &cases);
    println!("livedex-rerank-minilm: |p - p_ref| at most {worst:.1e}");
}
