//! Documents that do not fit a pair: never cut by surprise, and counted where they are.

use livedex_model::{
    LongDocuments, ModelSpec,
    backend::PairTokens,
    runtime::{Runtime, RuntimeConfig},
    scheduler::limits::MAX_PARTS,
};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::common::*;

const MAX_TOKENS: usize = 200;

fn spec(name: &str, long_documents: LongDocuments) -> ModelSpec {
    // The cross-encoder has fewer positions, and needs no prompt.
    let max_tokens = Some(if name == "bert-rerank" { 40 } else { MAX_TOKENS });
    ModelSpec { max_tokens, long_documents, ..ModelSpec::dir(fixture(name)) }
}

fn long() -> String {
    (0..60).map(|n| format!("Vector {n} of the stream. ")).collect()
}

/// The document's tokens: what lies between the ends that all pairs of its query have.
fn document<'a>(pair: &'a PairTokens, empty: &PairTokens) -> &'a [u32] {
    let start = pair.ids.iter().zip(&empty.ids).take_while(|(a, b)| a == b).count();
    let backwards = pair.ids.iter().rev().zip(empty.ids.iter().rev());
    let after = backwards.take_while(|(a, b)| a == b).count();
    &pair.ids[start..pair.ids.len() - after]
}

#[test]
fn the_parts_of_a_document_hold_all_of_it() {
    for name in ["qwen3-rerank", "bert-rerank"] {
        let model = reranker(spec(name, LongDocuments::BestPart));
        let (tokenizer, limit) = (model.tokenizer(), model.info().max_tokens);
        let whole = reranker(ModelSpec::dir(fixture(name))).tokenizer();
        // What a model that reads more takes in one piece.
        let text = &long()[..if name == "bert-rerank" { 200 } else { 500 }];
        let (all, empty) = (one(&*whole, "what", None, text), one(&*whole, "what", None, ""));
        let parts = tokenizer.encode("what", None, text).unwrap();
        assert!(parts.len() > 1, "{name}: {} tokens", all.ids.len());
        let all = document(&all, &empty);
        let mut at = 0;
        for part in &parts {
            assert!(part.ids.len() <= limit && part.ids.len() == part.type_ids.len());
            assert_eq!(part.shared_prefix, parts[0].shared_prefix);
            let part = document(part, &empty);
            let start = (0..=at).rev().find(|start| all[*start..].starts_with(part));
            let start = start.unwrap_or_else(|| panic!("{name}: a gap before {at}"));
            at = start + part.len();
        }
        assert_eq!(at, all.len(), "{name}");
    }
}

#[tokio::test]
async fn a_document_is_as_good_as_its_best_part() {
    let mut model = reranker(spec("qwen3-rerank", LongDocuments::BestPart));
    let tokenizer = model.tokenizer();
    let documents = ["short".to_owned(), long(), String::new(), long().to_uppercase()];
    let mut expected = Vec::new();
    for document in &documents {
        let parts = tokenizer.encode("what", None, document).unwrap();
        let scores = model.forward(&parts).unwrap();
        expected.push(scores.iter().copied().fold(0.0, f32::max));
    }
    let runtime = Runtime::start(RuntimeConfig::default(), None, Some(model)).unwrap();
    let reranker = runtime.reranker().unwrap();
    let scores = reranker.rerank("what", None, documents.to_vec(), None).await.unwrap();
    assert_close(&scores, &expected, bounds().batch, "best parts");
}

#[test]
fn what_is_done_with_long_documents_is_part_of_the_model() {
    let print = |long| reranker(spec("qwen3-rerank", long)).info().fingerprint.clone();
    assert_ne!(print(LongDocuments::BestPart), print(LongDocuments::Truncate));
}

#[test]
fn a_text_that_loses_tokens_is_counted() {
    let count = |encode: &dyn Fn()| {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, encode);
        recorder.handle().render()
    };
    let pairs = |long, text: &str| {
        let tokenizer = reranker(spec("qwen3-rerank", long)).tokenizer();
        let text = text.to_owned();
        move || drop(tokenizer.encode("what", None, &text).unwrap())
    };
    let reranked = "livedex_model_truncated_total{role=\"reranker\"} 1";
    let truncated = count(&pairs(LongDocuments::Truncate, &long()));
    assert!(truncated.contains(reranked), "{truncated}");
    assert_eq!(count(&pairs(LongDocuments::BestPart, &long())), "", "it is all scored");
    let endless = count(&pairs(LongDocuments::BestPart, &long().repeat(10)));
    assert!(endless.contains(reranked), "{endless}");
    let tokenizer = reranker(spec("qwen3-rerank", LongDocuments::BestPart)).tokenizer();
    assert_eq!(tokenizer.encode("what", None, &long().repeat(10)).unwrap().len(), MAX_PARTS);

    let embed = |text: &str| {
        let spec = ModelSpec { max_tokens: Some(16), ..ModelSpec::dir(fixture("qwen3-embed")) };
        let tokenizer = embedder(spec).tokenizer();
        let text = text.to_owned();
        move || drop(tokenizer.encode_document(&text).unwrap())
    };
    assert_eq!(count(&embed("a stream")), "");
    let truncated = count(&embed(&long()));
    assert!(
        truncated.contains("livedex_model_truncated_total{role=\"embedder\"} 1"),
        "{truncated}"
    );
}
