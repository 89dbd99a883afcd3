//! Tokens per second of a model folder on this machine: `speed FOLDER [TOKENS] [ADAPTER]`.
//!
//! Embeds micro-batches of 4,096 tokens, sequences of TOKENS (default 200) each; with an adapter
//! the model is loaded as a cross-encoder.

#![allow(clippy::print_stdout, reason = "its only output")]

use std::time::Instant;

use livedex_model::{ModelSpec, backend::PairTokens, load_embedder, load_reranker};

const BUDGET: usize = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut spec = ModelSpec::dir(args.next().ok_or("name a model folder")?);
    let tokens: usize = args.next().as_deref().unwrap_or("200").parse()?;
    spec.adapter = args.next().map(Into::into);
    let ids: Vec<Vec<u32>> = (0..BUDGET.div_ceil(tokens))
        .map(|s| (0..tokens).map(|t| (1000 + 7 * s + 13 * t) as u32 % 20_000).collect())
        .collect();
    let started = Instant::now();
    let mut run: Box<dyn FnMut() -> Result<(), livedex_model::backend::ForwardError>> =
        if spec.adapter.is_some() {
            let mut model = load_reranker(&spec)?;
            let pairs: Vec<PairTokens> = ids
                .iter()
                .map(|ids| PairTokens {
                    type_ids: vec![0; ids.len()],
                    ids: ids.clone(),
                    shared_prefix: 0,
                })
                .collect();
            Box::new(move || model.forward(&pairs).map(drop))
        } else {
            let mut model = load_embedder(&spec)?;
            let ids = ids.clone();
            Box::new(move || model.forward(&ids).map(drop))
        };
    println!("loaded in {:.2} s", started.elapsed().as_secs_f64());
    run()?;
    let total = tokens * ids.len();
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let rate = |seconds: f64| total as f64 / seconds;
    println!(
        "{} sequences of {tokens} tokens: {:.0} tokens/s (median of 7; best {:.0})",
        ids.len(),
        rate(times[3]),
        rate(times[0])
    );
    Ok(())
}
