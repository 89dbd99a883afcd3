//! `livedex models check`: a model by itself, before a collection depends on it.

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Context;
use livedex_model::{
    Description, Device, Model, ModelSpec, Precision, Role, inspect,
    speed::{self, Speed},
};
use serde_json::{Value, json};

use super::print;
use crate::{
    cli::{ModelArgs, ModelPrecision, ModelRole},
    config::Config,
};

/// Numbers of an embedding that people are shown.
const SHOWN: usize = 4;

/// Loads the model, tries it, measures it, and prints what it is.
pub(super) async fn check(config: &Config, args: &ModelArgs) -> anyhow::Result<ExitCode> {
    let mut spec =
        ModelSpec::new(config.hub.source(Path::new(""), &args.model, args.revision.as_deref()));
    spec.adapter.clone_from(&args.adapter);
    spec.query_prompt.clone_from(&args.query_prompt);
    spec.document_prompt.clone_from(&args.document_prompt);
    spec.precision = match args.precision {
        None => Precision::Auto,
        Some(ModelPrecision::F32) => Precision::F32,
        Some(ModelPrecision::Bf16) => Precision::Bf16,
        Some(ModelPrecision::Q8_0) => Precision::Q8_0,
    };
    let (choice, attention) = (config.device, config.attention);
    let role = args.role.map(|role| match role {
        ModelRole::Embedder => Role::Embedder,
        ModelRole::Reranker => Role::Reranker,
    });
    let (query, text) = (args.query.clone(), args.text.clone());
    let checked = tokio::task::spawn_blocking(move || {
        spec.device = Device::open(choice, attention).context("runtime.device")?;
        Checked::new(&spec, role, query, text)
    })
    .await
    .context("the check panicked")??;
    let answer = if args.json { format!("{:#}", checked.json()) } else { checked.table() };
    print(&answer);
    Ok(ExitCode::SUCCESS)
}

/// What was found out.
struct Checked {
    model: Description,
    device: String,
    load_seconds: f64,
    speed: Speed,
    query: String,
    text: String,
    outcome: Outcome,
}

/// What the model makes of the line.
enum Outcome {
    Embedding { vector: Vec<f32>, tokens: usize, cosine: f32 },
    Score { score: f32, tokens: usize },
}

impl Checked {
    /// Blocking.
    fn new(
        spec: &ModelSpec,
        role: Option<Role>,
        query: String,
        text: String,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let (description, mut model) = inspect(spec, role)?;
        let load_seconds = start.elapsed().as_secs_f64();
        let outcome = try_out(&mut model, &query, &text)
            .with_context(|| format!("{} loads but does not run", description.name))?;
        let speed = speed::measure(&mut model)?;
        let device = spec.device.name().to_owned();
        Ok(Self { model: description, device, load_seconds, speed, query, text, outcome })
    }

    fn json(&self) -> Value {
        let model = &self.model;
        let example = match &self.outcome {
            Outcome::Embedding { vector, tokens, cosine } => json!({
                "query": self.query, "text": self.text, "tokens": tokens,
                "embedding": vector, "cosine": cosine,
            }),
            Outcome::Score { score, tokens } => json!({
                "query": self.query, "text": self.text, "tokens": tokens, "score": score,
            }),
        };
        json!({
            "model": model.name,
            "family": model.family,
            "architecture": model.architecture,
            "role": role_name(model.role),
            "dimension": model.dimension,
            "pooling": model.pooling,
            "query_prompt": model.query_prompt,
            "document_prompt": model.document_prompt,
            "instruction": model.instruction,
            "max_tokens": model.max_tokens,
            "parameters": model.parameters,
            "memory_bytes": {
                "f32": model.memory.f32, "bf16": model.memory.bf16, "q8_0": model.memory.q8_0,
            },
            "fingerprint": model.fingerprint,
            "device": self.device,
            "load_seconds": self.load_seconds,
            "speed": {
                "tokens_per_second": self.speed.tokens_per_second,
                "sequences": self.speed.sequences,
                "tokens": self.speed.tokens,
            },
            "example": example,
        })
    }

    fn table(&self) -> String {
        let model = &self.model;
        let mut rows = vec![
            ("model", model.name.clone()),
            ("family", format!("{} ({})", model.family, or_none(&model.architecture))),
            ("role", role_name(model.role).to_owned()),
        ];
        if model.role == Role::Embedder {
            rows.push(("dimension", model.dimension.to_string()));
        }
        let pooling = model.pooling.map(str::to_owned);
        let prompt = |prompt: &Option<String>| {
            prompt.as_ref().map(|text| match text.is_empty() {
                true => "none".to_owned(),
                false => format!("{text:?}"),
            })
        };
        for (name, value) in [
            ("pooling", pooling),
            ("query prompt", prompt(&model.query_prompt)),
            ("document prompt", prompt(&model.document_prompt)),
            ("instruction", prompt(&model.instruction)),
        ] {
            rows.extend(value.map(|value| (name, value)));
        }
        let (memory, speed) = (&model.memory, &self.speed);
        rows.extend([
            ("maximum length", format!("{} tokens", model.max_tokens)),
            ("parameters", count(model.parameters)),
            (
                "memory",
                format!(
                    "{} as f32, {} as bf16, {} as q8_0",
                    megabytes(memory.f32),
                    megabytes(memory.bf16),
                    megabytes(memory.q8_0)
                ),
            ),
            ("fingerprint", model.fingerprint.clone()),
            ("device", self.device.clone()),
            ("loaded in", format!("{:.1} s", self.load_seconds)),
            (
                "speed",
                format!(
                    "{:.0} tokens/s (batches of {} sequences of {} tokens)",
                    speed.tokens_per_second, speed.sequences, speed.tokens
                ),
            ),
        ]);
        match &self.outcome {
            Outcome::Embedding { vector, tokens, cosine } => {
                let first = vector.iter().take(SHOWN).map(|x| format!("{x:.4}"));
                let first: Vec<String> = first.collect();
                rows.extend([
                    ("text", format!("{:?}, {tokens} tokens", self.text)),
                    ("embedding", format!("[{}, …]", first.join(", "))),
                    ("query", format!("{:?}", self.query)),
                    ("cosine", format!("{cosine:.4}")),
                ]);
            }
            Outcome::Score { score, tokens } => rows.extend([
                ("query", format!("{:?}", self.query)),
                ("text", format!("{:?}, {tokens} tokens with the query", self.text)),
                ("score", format!("{score:.4}")),
            ]),
        }
        rows.iter().map(|(name, value)| format!("{name:<17}{value}\n")).collect()
    }
}

fn try_out(model: &mut Model, query: &str, text: &str) -> anyhow::Result<Outcome> {
    Ok(match model {
        Model::Embedder(model) => {
            let tokenizer = model.tokenizer();
            let text = tokenizer.encode_document(text)?;
            let tokens = text.len();
            let mut vectors = model.forward(&[text, tokenizer.encode_query(query, None)?])?;
            let query = vectors.pop().unwrap_or_default();
            let vector = vectors.pop().unwrap_or_default();
            // Both have length 1.
            let cosine = vector.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
            anyhow::ensure!(cosine.is_finite(), "its embeddings are not finite numbers");
            Outcome::Embedding { vector, tokens, cosine }
        }
        Model::Reranker(model) => {
            // A long text in parts, of which the best one counts.
            let parts = model.tokenizer().encode(query, None, text)?;
            let tokens = parts.iter().map(|pair| pair.ids.len()).sum();
            let score = model.forward(&parts)?.into_iter().fold(f32::NAN, f32::max);
            anyhow::ensure!(score.is_finite(), "its score is no finite number");
            Outcome::Score { score, tokens }
        }
    })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Embedder => "embedder",
        Role::Reranker => "reranker",
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "no architecture named" } else { text }
}

/// In millions, from the first million on.
fn count(n: u64) -> String {
    if n < 1_000_000 { n.to_string() } else { format!("{:.1} million", n as f64 / 1e6) }
}

/// Millions of bytes.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
