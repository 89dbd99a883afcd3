//! XLM-RoBERTa: embedder and cross-encoder, and RoBERTa, which only has another name.

use livedex_model::ModelSpec;

use crate::common::*;

/// Prompts come from the operator, as for multilingual-e5, whose folder has none.
fn spec() -> ModelSpec {
    ModelSpec {
        query_prompt: Some("query: ".into()),
        document_prompt: Some("passage: ".into()),
        ..ModelSpec::dir(fixture("xlmr-embed"))
    }
}

#[test]
fn mean_pooled_embeddings_equal_the_reference() {
    let worst = check_embeddings("xlmr-embed", spec(), 64, |c| &c.mean);
    println!("xlm-roberta embedder, mean: 1 - cosine at most {worst:.1e}");
}

#[test]
fn first_token_embeddings_equal_the_reference() {
    let dir = copy("xlmr-embed");
    let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
    let spec = ModelSpec { source: ModelSpec::dir(dir.path()).source, ..spec() };
    let worst = check_embeddings("xlmr-embed", spec, 64, |c| &c.cls);
    println!("xlm-roberta embedder, cls: 1 - cosine at most {worst:.1e}");
}

#[test]
fn cross_encoders_equal_the_reference() {
    for name in ["xlmr-rerank", "xlmr-rerank-2"] {
        let cases = golden::<PairCase>(name).cases;
        let worst = check_pairs(ModelSpec::dir(fixture(name)), &cases);
        println!("{name}: |p - p_ref| at most {worst:.1e}");
    }
}

#[test]
fn roberta_is_the_same_under_another_name() {
    let dir = copy("xlmr-rerank");
    edit_config(dir.path(), |c| {
        c["model_type"] = "roberta".into();
        c["architectures"] = serde_json::json!(["RobertaForSequenceClassification"]);
    });
    // Published RoBERTa tokenizers put their special tokens by a processor of their own.
    let path = dir.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value = read(&path);
    tokenizer["post_processor"] = serde_json::json!({
        "type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2],
        "trim_offsets": true, "add_prefix_space": true,
    });
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    check_pairs(ModelSpec::dir(dir.path()), &golden::<PairCase>("xlmr-rerank").cases);
}

#[test]
fn positions_end_before_the_table_does() {
    let refused = |max_tokens| {
        livedex_model::load_embedder(&ModelSpec { max_tokens: Some(max_tokens), ..spec() })
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused(64), None);
    let error = refused(65).unwrap();
    assert!(error.contains("max_tokens = 65") && error.contains("from 4 to 64"), "{error}");
}
