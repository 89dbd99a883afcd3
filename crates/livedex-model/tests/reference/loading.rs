//! What goes wrong at load, and that each message names the file and the way out.

use std::path::Path;

use livedex_model::{ModelSpec, load_embedder, load_reranker};

use crate::common::*;

/// The message of a failed load: one line, with all of `parts`.
#[track_caller]
fn assert_refused(result: Result<impl Sized, livedex_model::LoadError>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("it loaded");
    };
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn refused(spec: ModelSpec, parts: &[&str]) {
    assert_refused(load_embedder(&spec), parts);
}

fn edit(path: &Path, change: impl Fn(&mut serde_json::Value)) {
    let mut value = read(path);
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn missing_folders_and_files_are_named() {
    refused(ModelSpec::dir("/nowhere/model"), &["/nowhere/model does not exist", "hub id"]);
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = copy("bert-embed");
        std::fs::remove_file(dir.path().join(name)).unwrap();
        refused(ModelSpec::dir(dir.path()), &[name, "is missing", "hold"]);
    }
    let dir = copy("bert-embed");
    std::fs::remove_file(dir.path().join("1_Pooling/config.json")).unwrap();
    refused(ModelSpec::dir(dir.path()), &["1_Pooling/config.json is missing", "subfolders"]);
    let dir = copy("qwen3-rerank-untied");
    let shard = "model-00002-of-00002.safetensors";
    std::fs::remove_file(dir.path().join(shard)).unwrap();
    assert_refused(load_reranker(&ModelSpec::dir(dir.path())), &[shard, "is missing"]);
}

#[test]
fn an_unknown_architecture_is_refused_with_the_list_of_known_ones() {
    let dir = copy("bert-embed");
    edit(&dir.path().join("config.json"), |c| {
        c["model_type"] = "distilbert".into();
        c["architectures"] = serde_json::json!(["DistilBertModel"]);
    });
    refused(
        ModelSpec::dir(dir.path()),
        &["distilbert", "DistilBertModel", "supported: bert", "xlm-roberta", "modernbert", "qwen3"],
    );
    let dir = copy("qwen3-embed");
    edit(&dir.path().join("config.json"), |c| {
        c["rope_scaling"] = serde_json::json!({"rope_type": "yarn", "factor": 4.0});
    });
    refused(ModelSpec::dir(dir.path()), &["yarn", "not supported"]);
}

#[test]
fn broken_weights_are_found() {
    let dir = copy("bert-embed");
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    refused(ModelSpec::dir(dir.path()), &["its header says", "download"]);
    std::fs::write(&path, "<html>not found</html>").unwrap();
    refused(ModelSpec::dir(dir.path()), &["no safetensors file"]);
    let dir = copy("bert-embed");
    edit(&dir.path().join("config.json"), |c| {
        c["num_hidden_layers"] = 3.into();
    });
    refused(ModelSpec::dir(dir.path()), &["no tensor encoder.layer.2.attention.self.query.weight"]);
    let dir = copy("bert-embed");
    edit(&dir.path().join("config.json"), |c| {
        c["intermediate_size"] = 100.into();
    });
    refused(ModelSpec::dir(dir.path()), &["intermediate", "[96, 64]"]);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let spec = |sum: &str| ModelSpec {
        expected_sha256: Some(sum.into()),
        ..ModelSpec::dir(fixture("bert-embed"))
    };
    refused(spec("00ff"), &["model.safetensors has SHA-256", "expected 00ff"]);
    let error = load_embedder(&spec("00")).err().unwrap().to_string();
    let found = error.split_whitespace().find(|w| w.len() == 65).unwrap();
    embedder(spec(&found.trim_end_matches(',').to_uppercase()));
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let base = || ModelSpec::dir(fixture("bert-embed"));
    let max_tokens = Some(97);
    refused(ModelSpec { max_tokens, ..base() }, &["max_tokens = 97", "from 4 to 96"]);
    for dimension in [0, 65] {
        let dimension = Some(dimension);
        refused(ModelSpec { dimension, ..base() }, &["dimension", "1 to 64"]);
    }
}

#[test]
fn roles_are_checked() {
    assert_refused(
        load_reranker(&ModelSpec::dir(fixture("bert-embed"))),
        &["a reranker without classifier.weight", "adapter"],
    );
    // The adapter of a cross-encoder in an embedder: its classifier is used by nobody.
    refused(
        ModelSpec {
            adapter: Some(fixture("bert-embed-lora")),
            ..ModelSpec::dir(fixture("bert-embed"))
        },
        &["no use for", "classifier.weight", "this role"],
    );
}

#[test]
fn adapters_that_would_be_half_applied_are_refused() {
    let load = |change: &dyn Fn(&Path)| {
        let dir = copy("bert-embed-lora");
        change(dir.path());
        load_reranker(&ModelSpec {
            adapter: Some(dir.path().into()),
            ..ModelSpec::dir(fixture("bert-embed"))
        })
    };
    let set = |name: &'static str, value: serde_json::Value| {
        load(&move |dir| {
            edit(&dir.join("adapter_config.json"), |c| {
                c[name] = value.clone();
            });
        })
    };
    assert_refused(set("use_dora", true.into()), &["use_dora is not supported"]);
    assert_refused(set("bias", "all".into()), &["bias \"all\""]);
    assert_refused(set("peft_type", "IA3".into()), &["peft_type IA3"]);
    assert_refused(set("r", 8.into()), &["has rank", "lora_A"]);
    assert_refused(
        set("modules_to_save", serde_json::Value::Null),
        &["classifier", "modules_to_save"],
    );
    let pattern = serde_json::json!({"layer\\.[01]": 3});
    assert_refused(set("rank_pattern", pattern), &["the pattern"]);
    let gone = load(&|dir| std::fs::remove_file(dir.join("adapter_model.safetensors")).unwrap());
    assert_refused(gone, &["adapter_model.safetensors is missing"]);
    // Another base.
    let other = load_reranker(&ModelSpec {
        adapter: Some(fixture("bert-embed-lora")),
        ..ModelSpec::dir(fixture("bert-rerank"))
    });
    assert_refused(other, &["a classifier of shape [1, 64]"]);
}

#[test]
fn fingerprints_follow_the_numbers() {
    let print = |spec: ModelSpec| embedder(spec).info().fingerprint.clone();
    let base = || ModelSpec::dir(fixture("bert-embed"));
    let first = print(base());
    let moved = copy("bert-embed");
    assert_eq!(first, print(ModelSpec::dir(moved.path())), "wherever it is");
    let mut all = vec![
        first,
        print(ModelSpec { max_tokens: Some(32), ..base() }),
        print(ModelSpec { dimension: Some(32), ..base() }),
        print(ModelSpec { query_prompt: Some("q: ".into()), ..base() }),
        print(ModelSpec { document_prompt: Some(String::new()), ..base() }),
    ];
    std::fs::write(moved.path().join("1_Pooling/config.json"), r#"{"pooling_mode": "cls"}"#)
        .unwrap();
    all.push(print(ModelSpec::dir(moved.path())));
    edit(&moved.path().join("config_sentence_transformers.json"), |c| {
        c["prompts"]["query"] = "question: ".into();
    });
    all.push(print(ModelSpec::dir(moved.path())));
    let weights = moved.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    all.push(print(ModelSpec::dir(moved.path())));
    let plain = reranker(ModelSpec::dir(fixture("bert-rerank")));
    all.push(plain.info().fingerprint.clone());
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
}
