//! BERT: embedder and cross-encoder, against transformers and against candle-transformers.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert;
use livedex_model::ModelSpec;

use crate::common::*;

#[test]
fn mean_pooled_embeddings_equal_the_reference() {
    // The limit is sentence_bert_config's.
    let worst =
        check_embeddings("bert-embed", ModelSpec::dir(fixture("bert-embed")), 64, |c| &c.mean);
    println!("bert embedder, mean: 1 - cosine at most {worst:.1e}");
}

#[test]
fn first_token_embeddings_equal_the_reference() {
    let dir = copy("bert-embed");
    let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
    let worst = check_embeddings("bert-embed", ModelSpec::dir(dir.path()), 64, |c| &c.cls);
    println!("bert embedder, cls: 1 - cosine at most {worst:.1e}");
}

#[test]
fn cross_encoders_equal_the_reference() {
    for name in ["bert-rerank", "bert-rerank-2"] {
        let cases = golden::<PairCase>(name).cases;
        let worst = check_pairs(ModelSpec::dir(fixture(name)), &cases);
        println!("{name}: |p - p_ref| at most {worst:.1e}");
    }
}

#[test]
fn an_adapter_turns_the_embedder_into_a_cross_encoder() {
    // Rank-stabilised scaling, with rank_pattern and alpha_pattern.
    let spec = ModelSpec {
        adapter: Some(fixture("bert-embed-lora")),
        ..ModelSpec::dir(fixture("bert-embed"))
    };
    let cases = golden::<PairCase>("bert-embed-lora").cases;
    let worst = check_pairs(spec, &cases);
    println!("bert with adapter: |p - p_ref| at most {worst:.1e}");
}

#[test]
fn a_query_that_fills_the_window_is_refused() {
    let model = reranker(ModelSpec {
        max_tokens: Some(20),
        long_documents: livedex_model::LongDocuments::Truncate,
        ..ModelSpec::dir(fixture("bert-rerank"))
    });
    let tokenizer = model.tokenizer();
    let query = "the stream ".repeat(9);
    assert_input_error(tokenizer.encode(&query, None, "a"), "leaves none of 20");
    let pair = one(&*tokenizer, "the stream", None, &"of documents ".repeat(90));
    assert_eq!(pair.ids.len(), 20);
    assert_eq!(pair.shared_prefix, 0, "both directions see everything");
}

/// A second peer: candle-transformers' own BERT, one sequence at a time.
#[test]
fn hidden_states_equal_candle_transformers() {
    let folder = fixture("bert-embed");
    let config = bert::Config {
        vocab_size: 159,
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 96,
        max_position_embeddings: 96,
        ..bert::Config::default()
    };
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
    let peer = bert::BertModel::load(builder, &config).unwrap();
    let mut model = embedder(ModelSpec::dir(&folder));
    for case in golden::<EmbedCase>("bert-embed").cases {
        let ids = Tensor::new(case.ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let types = ids.zeros_like().unwrap();
        let hidden = peer.forward(&ids, &types, None).unwrap();
        let mean = hidden.mean(1).unwrap().squeeze(0).unwrap();
        let expected = mean.to_vec1::<f32>().unwrap();
        let got = &model.forward(&[case.ids]).unwrap()[0];
        assert_same_direction(got, &expected, &case.text);
    }
}
