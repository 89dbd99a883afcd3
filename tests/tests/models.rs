//! `livedex models check`: a model by itself, without any server.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use livedex_testkit::{Livedex, Suite, stack};
use serde_json::Value;

/// Loading and measuring take seconds on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    Suite::new()
        .test("a_folder_is_described_as_a_table", &[], || {
            let text = check("xlmr-embed", &["--query-prompt", "query: "])?;
            for line in [
                "family           XLM-RoBERTa (XLMRobertaModel)",
                "role             embedder",
                "dimension        32",
                "pooling          mean",
                "query prompt     \"query: \"",
                "document prompt  none",
                "maximum length   64 tokens",
                "memory           0.1 MB as f32, ",
            ] {
                ensure!(text.lines().any(|l| l.starts_with(line)), "no {line:?} in\n{text}");
            }
            for part in [" tokens/s (batches of ", "embedding        [", "cosine           "] {
                ensure!(text.contains(part), "no {part:?} in\n{text}");
            }
            Ok(())
        })
        .test("every_family_is_told_apart_and_runs", &[], || {
            for (name, family, role) in [
                ("bert-embed", "BERT", "embedder"),
                ("bert-rerank", "BERT", "reranker"),
                ("xlmr-rerank", "XLM-RoBERTa", "reranker"),
                ("modernbert-embed", "ModernBERT", "embedder"),
                ("modernbert-rerank", "ModernBERT", "reranker"),
                ("qwen3-embed", "Qwen3", "embedder"),
                ("qwen3-rerank", "Qwen3", "reranker"),
            ] {
                // Five tokens: so little fits one window of the smallest limit.
                let found = json(name, &["--query", "yes", "--text", "no"])?;
                ensure!(found["family"] == family && found["role"] == role, "{name}: {found:#}");
                ensure!(number(&found["parameters"])? > 1e4, "{found:#}");
                ensure!(number(&found["speed"]["tokens_per_second"])? > 0.0, "{found:#}");
                let memory = |name: &str| number(&found["memory_bytes"][name]);
                ensure!(memory("f32")? > memory("bf16")?, "{found:#}");
                // These are too narrow to be quantised.
                ensure!(memory("f32")? == memory("q8_0")?, "{found:#}");
                let example = &found["example"];
                if role == "embedder" {
                    let vector = example["embedding"].as_array().context("no embedding")?;
                    ensure!(vector.len() as f64 == number(&found["dimension"])?, "{found:#}");
                } else {
                    let score = number(&example["score"])?;
                    ensure!((0.0..=1.0).contains(&score), "{found:#}");
                }
            }
            Ok(())
        })
        .test("the_line_and_the_role_are_the_users", &[], || {
            // As the reference scores this pair.
            let golden = std::fs::read(stack::fixture("xlmr-rerank").join("golden.json"))?;
            let golden: Value = serde_json::from_slice(&golden)?;
            let case = &golden["cases"][0];
            let text = |key: &str| case[key].as_str().context("no text");
            let found =
                json("xlmr-rerank", &["--query", text("query")?, "--text", text("document")?])?;
            let difference = number(&found["example"]["score"])? - number(&case["score"])?;
            ensure!(difference.abs() < 1e-3, "{found:#}\n{case:#}");
            let found = json("qwen3-rerank", &["--role", "embedder"])?;
            ensure!(found["role"] == "embedder" && found["pooling"] == "lasttoken", "{found:#}");
            let adapter = stack::fixture("bert-embed-lora").display().to_string();
            let found = json("bert-embed", &["--adapter", &adapter])?;
            ensure!(found["role"] == "reranker", "{found:#}");
            Ok(())
        })
        .test("what_is_no_model_is_refused_in_one_line", &[], || {
            let refused = |model: &str, flags: &[&str], part: &str| -> Result<()> {
                let arguments = [&["models", "check", model], flags].concat();
                let finished = Livedex::new("")?.run(&arguments, SOON)?;
                ensure!(!finished.status.success(), "{}", finished.stdout);
                ensure!(finished.stdout.is_empty(), "{}", finished.stdout);
                let lines: Vec<_> = finished.stderr.lines().collect();
                ensure!(lines.len() == 1 && lines[0].starts_with("livedex: "), "{lines:?}");
                ensure!(lines[0].contains(part), "no {part:?} in {}", lines[0]);
                Ok(())
            };
            refused("./no-such-model", &[], "no-such-model does not exist")?;
            let folder = stack::fixture("bert-embed").display().to_string();
            refused(&folder, &["--role", "reranker"], "a reranker without classifier.weight")?;
            let other = tempfile::tempdir()?;
            for file in ["config.json", "tokenizer.json"] {
                std::fs::copy(stack::fixture("bert-embed").join(file), other.path().join(file))?;
            }
            let config = other.path().join("config.json");
            let text = std::fs::read_to_string(&config)?.replace("\"bert\"", "\"mamba\"");
            std::fs::write(&config, text)?;
            let families = "supported: bert, roberta, xlm-roberta and modernbert";
            refused(&other.path().display().to_string(), &[], families)
        })
        .run()
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}

/// What the command prints about a fixture.
fn check(name: &str, flags: &[&str]) -> Result<String> {
    let folder = stack::fixture(name).display().to_string();
    let arguments = [&["models", "check", &folder], flags].concat();
    Ok(Livedex::new("")?.run(&arguments, SOON)?.success()?.stdout)
}

fn json(name: &str, flags: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&check(name, &[&["--json"], flags].concat())?)?)
}
