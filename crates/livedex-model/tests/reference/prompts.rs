//! Qwen3-Reranker's prompt: where it joins the document, and its two published forms.

use livedex_model::{ModelSpec, PromptForm, backend::PairTokens, load_embedder, load_reranker};
use serde::Deserialize;

use crate::common::*;

#[derive(Deserialize)]
struct Joint {
    form: PromptForm,
    query: String,
    document: String,
    /// Between prefix and suffix.
    body: Vec<u32>,
}

#[derive(Deserialize)]
struct Prompts {
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    joints: Vec<Joint>,
    two_newlines: Vec<PairCase>,
}

fn prompts() -> Prompts {
    read(&fixture("qwen3-prompts.json"))
}

fn spec(form: PromptForm) -> ModelSpec {
    ModelSpec { prompt_form: Some(form), ..ModelSpec::dir(fixture("qwen3-rerank")) }
}

#[test]
fn documents_are_joined_as_the_reference_joins_them() {
    let prompts = prompts();
    for form in [PromptForm::OneNewline, PromptForm::TwoNewlines] {
        let tokenizer = reranker(spec(form)).tokenizer();
        let cases: Vec<&Joint> = prompts.joints.iter().filter(|j| j.form == form).collect();
        assert!(cases.len() > 100);
        let pairs: Vec<PairTokens> =
            cases.iter().map(|c| one(&*tokenizer, &c.query, None, &c.document)).collect();
        for (pair, case) in pairs.iter().zip(&cases) {
            let ids = [&prompts.prefix[..], &case.body, &prompts.suffix].concat();
            assert_eq!(pair.ids, ids, "{:?} / {:?}", case.query, case.document);
        }
        for query in ["What is a vector", ""] {
            let of_query = pairs.iter().zip(&cases).filter(|(_, case)| case.query == query);
            let group: Vec<&PairTokens> = of_query.map(|(pair, _)| pair).collect();
            let shared = group.iter().map(|pair| pair.shared_prefix).min().unwrap();
            assert!(shared > prompts.prefix.len());
            assert!(group.iter().all(|pair| pair.ids[..shared] == group[0].ids[..shared]));
        }
    }
}

#[test]
fn the_form_with_two_newlines_equals_the_reference() {
    let cases = prompts().two_newlines;
    let worst = check_pairs(spec(PromptForm::TwoNewlines), &cases);
    println!("qwen3 reranker, two newlines: |p - p_ref| at most {worst:.1e}");
    let one_newline = reranker(spec(PromptForm::OneNewline));
    let ids = one(&*one_newline.tokenizer(), &cases[0].query, None, &cases[0].document).ids;
    assert_ne!(ids, cases[0].ids);
}

#[test]
fn the_form_is_part_of_the_model() {
    let print = |spec| reranker(spec).info().fingerprint.clone();
    let default = print(ModelSpec::dir(fixture("qwen3-rerank")));
    assert_eq!(print(spec(PromptForm::OneNewline)), default);
    assert_ne!(print(spec(PromptForm::TwoNewlines)), default);
}

#[test]
fn a_form_that_means_nothing_is_refused() {
    let of = |name| ModelSpec {
        prompt_form: Some(PromptForm::OneNewline),
        ..ModelSpec::dir(fixture(name))
    };
    let bert = load_reranker(&of("bert-rerank")).err().unwrap().to_string();
    let embedder = load_embedder(&of("qwen3-embed")).err().unwrap().to_string();
    for (error, model) in [(bert, "bert-rerank"), (embedder, "qwen3-embed")] {
        for part in ["prompt_form", model, "only Qwen3 rerankers", "remove it"] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}
