//! Qwen3: embedder and reranker.

use livedex_model::{LongDocuments, ModelSpec, backend::PairTokens};
use serde::Deserialize;

use crate::common::*;

#[derive(Deserialize)]
struct EmbedCase {
    kind: String,
    instruction: Option<String>,
    text: String,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Embeddings {
    cases: Vec<EmbedCase>,
    truncated: Vec<Truncated>,
    matryoshka: Vec<Matryoshka>,
}

#[derive(Deserialize)]
struct Truncated {
    max_tokens: usize,
    text: String,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Matryoshka {
    dimension: usize,
    text: String,
    embedding: Vec<f32>,
}

fn expected() -> Embeddings {
    read(&fixture("qwen3-embed").join("golden.json"))
}

fn spec() -> ModelSpec {
    ModelSpec::dir(fixture("qwen3-embed"))
}

#[test]
fn embeddings_equal_the_reference() {
    let mut model = embedder(spec());
    let tokenizer = model.tokenizer();
    let cases = expected().cases;
    let ids: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| match case.kind.as_str() {
            "query" => tokenizer.encode_query(&case.text, case.instruction.as_deref()),
            _ => tokenizer.encode_document(&case.text),
        })
        .map(Result::unwrap)
        .collect();
    for (ids, case) in ids.iter().zip(&cases) {
        assert_eq!(ids, &case.ids, "{:?}", case.text);
    }
    let vectors = embed_both_ways(&mut model, &ids);
    let worst = vectors
        .iter()
        .zip(&cases)
        .map(|(v, case)| assert_same_direction(v, &case.embedding, &case.text))
        .fold(0.0, f64::max);
    println!("qwen3 embedder: 1 - cosine at most {worst:.1e}");
    assert_eq!(model.info().dimension, 64);
    assert_eq!(model.info().max_tokens, 512);
}

#[test]
fn the_operators_task_becomes_the_default() {
    let task = "Find the paragraph that names the city";
    let plain = embedder(spec()).tokenizer();
    let set = embedder(ModelSpec { instruction: Some(task.into()), ..spec() });
    let tokenizer = set.tokenizer();
    let asked = plain.encode_query("where", Some(task)).unwrap();
    assert_eq!(tokenizer.encode_query("where", None).unwrap(), asked);
    assert_ne!(plain.encode_query("where", None).unwrap(), asked);
    assert_ne!(
        set.info().fingerprint,
        embedder(spec()).info().fingerprint,
        "a prompt is part of the model"
    );
}

#[test]
fn truncation_keeps_the_end_token() {
    for case in expected().truncated {
        let mut model = embedder(ModelSpec {
            max_tokens: (case.max_tokens >= 4).then_some(case.max_tokens),
            ..spec()
        });
        if case.max_tokens < 4 {
            continue;
        }
        let ids = model.tokenizer().encode_document(&case.text).unwrap();
        assert_eq!(ids, case.ids);
        let vector = &model.forward(&[ids]).unwrap()[0];
        assert_same_direction(vector, &case.embedding, &case.text);
    }
}

#[test]
fn matryoshka_truncates_and_normalises_again() {
    for case in expected().matryoshka {
        let mut model = embedder(ModelSpec { dimension: Some(case.dimension), ..spec() });
        let ids = model.tokenizer().encode_document(&case.text).unwrap();
        let vector = &model.forward(&[ids]).unwrap()[0];
        assert_eq!(vector.len(), case.dimension);
        assert_eq!(model.info().dimension, case.dimension);
        assert_same_direction(vector, &case.embedding, &case.text);
    }
}

#[test]
fn counting_leaves_the_end_token_out() {
    let tokenizer = embedder(spec()).tokenizer();
    let ids = tokenizer.encode_document("The capital of China").unwrap();
    assert_eq!(tokenizer.count("The capital of China"), ids.len() - 1);
    assert_eq!(tokenizer.count(""), 0);
}

#[test]
fn impossible_input_is_refused_and_the_model_goes_on() {
    let mut model = embedder(spec());
    assert_input_error(model.forward(&[vec![1], vec![]]), "0 tokens");
    assert_input_error(model.forward(&[vec![1; 513]]), "513 tokens");
    assert_input_error(model.forward(&[vec![384]]), "384 is beyond");
    assert_eq!(model.forward(&[vec![1; 512]]).unwrap().len(), 1);
}

#[test]
fn reranker_with_tied_head_equals_the_reference() {
    let cases = golden::<PairCase>("qwen3-rerank").cases;
    let worst = check_pairs(ModelSpec::dir(fixture("qwen3-rerank")), &cases);
    println!("qwen3 reranker, tied: |p - p_ref| at most {worst:.1e}");
}

#[test]
fn reranker_with_untied_head_in_shards_equals_the_reference() {
    let cases = golden::<PairCase>("qwen3-rerank-untied").cases;
    let worst = check_pairs(ModelSpec::dir(fixture("qwen3-rerank-untied")), &cases);
    println!("qwen3 reranker, untied: |p - p_ref| at most {worst:.1e}");
}

#[test]
fn only_the_document_is_truncated() {
    let model = reranker(ModelSpec {
        max_tokens: Some(200),
        long_documents: LongDocuments::Truncate,
        ..ModelSpec::dir(fixture("qwen3-rerank"))
    });
    let tokenizer = model.tokenizer();
    let short = one(&*tokenizer, "yes", None, "no");
    let long = one(&*tokenizer, "yes", None, &"no ".repeat(900));
    assert_eq!(long.ids.len(), 200);
    // <|im_end|> to </think> and two newlines, in this small vocabulary.
    let suffix = 14;
    assert_eq!(
        long.ids[200 - suffix..],
        short.ids[short.ids.len() - suffix..],
        "the suffix survives"
    );
    let query = "why ".repeat(300);
    assert_input_error(tokenizer.encode(&query, None, "no"), "leaves none of 200");
}

#[test]
fn the_shared_prefix_does_not_depend_on_the_document() {
    let model = reranker(ModelSpec::dir(fixture("qwen3-rerank")));
    let tokenizer = model.tokenizer();
    let documents = ["one", "(two)", "", "  three", "\n\nfour", "é", "1", ":five", "🚀"];
    let pairs: Vec<PairTokens> =
        documents.iter().map(|d| one(&*tokenizer, "What is a vector", None, d)).collect();
    let shared = pairs.iter().map(|p| p.shared_prefix).min().unwrap();
    for pair in &pairs {
        assert_eq!(pair.ids[..shared], pairs[0].ids[..shared]);
    }
    // Nearly everything before the document is shared, whatever the document begins with.
    let longest = pairs.iter().map(|p| p.shared_prefix).max().unwrap();
    assert!(longest - shared <= 1, "{shared} to {longest}");
    let other = one(&*tokenizer, "Where is it", None, "one");
    assert_ne!(other.ids[..shared], pairs[0].ids[..shared]);
}
