//! ModernBERT: embedder and cross-encoder, with a window smaller than most inputs.

use livedex_model::ModelSpec;

use crate::common::*;

fn spec() -> ModelSpec {
    ModelSpec {
        query_prompt: Some("query: ".into()),
        document_prompt: Some("passage: ".into()),
        ..ModelSpec::dir(fixture("modernbert-embed"))
    }
}

#[test]
fn first_token_embeddings_equal_the_reference() {
    let worst = check_embeddings("modernbert-embed", spec(), 96, |c| &c.cls);
    println!("modernbert embedder, cls: 1 - cosine at most {worst:.1e}");
}

#[test]
fn mean_pooled_embeddings_equal_the_reference() {
    let dir = copy("modernbert-embed");
    let pooling = r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;
    std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
    let spec = ModelSpec { source: ModelSpec::dir(dir.path()).source, ..spec() };
    let worst = check_embeddings("modernbert-embed", spec, 96, |c| &c.mean);
    println!("modernbert embedder, mean: 1 - cosine at most {worst:.1e}");
}

#[test]
fn cross_encoders_equal_the_reference() {
    // One label, mean pooling, as transformers 4 spells it; two labels, first token, every bias,
    // as transformers 5 does.
    for name in ["modernbert-rerank", "modernbert-rerank-2"] {
        let cases = golden::<PairCase>(name).cases;
        let worst = check_pairs(ModelSpec::dir(fixture(name)), &cases);
        println!("{name}: |p - p_ref| at most {worst:.1e}");
    }
}

#[test]
fn the_window_shows_in_long_inputs_only() {
    let dir = copy("modernbert-embed");
    edit_config(dir.path(), |c| c["local_attention"] = 1000.into());
    let (mut narrow, mut wide) = (embedder(spec()), embedder(ModelSpec::dir(dir.path())));
    let mut both = |n: u32| {
        let ids = vec![(10..10 + n).collect::<Vec<u32>>()];
        let vector = |model: &mut livedex_model::LoadedEmbedder| model.forward(&ids).unwrap();
        cosine(&vector(&mut narrow)[0], &vector(&mut wide)[0])
    };
    // Four positions on either side hold all of five tokens.
    assert!(both(5) > 1.0 - 1e-6);
    assert!(both(40) < 0.99);
}

#[test]
fn what_is_not_implemented_is_refused() {
    let refused = |name: &str, key: &str| {
        let dir = copy(name);
        edit_config(dir.path(), |c| c[key] = "other".into());
        let error = livedex_model::load_reranker(&ModelSpec::dir(dir.path())).err().unwrap();
        let text = error.to_string();
        assert!(text.contains(key) && text.contains("\"other\" is not supported"), "{text}");
    };
    for key in ["hidden_activation", "classifier_pooling", "classifier_activation"] {
        refused("modernbert-rerank", key);
    }
}
