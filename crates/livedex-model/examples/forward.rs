//! Forward passes over stdin and stdout, for a driver that takes turns with other runtimes.
//!
//! One JSON request a line, one JSON answer a line; a request that fails is answered
//! `{"error": ...}`, and the next one is read. `benches/livedex.py` is the client.
//!
//! Seconds are measured here, around the forward passes alone, until the last result is on this side.
//! Inputs are token ids, in order in batches of at most `budget` tokens as the runtime makes them:
//! what the pairs of a batch share counts once. A GPU has the next batch while it computes one, as the
//! runtime feeds it.
//!
//! `LIVEDEX_BENCH_DEVICE` (`cuda`) says where it computes, by default on the CPU.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, Write},
    path::PathBuf,
    time::Instant,
};

use livedex_model::{
    Device, LoadedEmbedder, LoadedReranker, Matmul,
    backend::{ForwardError, PairTokens, Pending},
    load_embedder, load_reranker,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod spec;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// Batches that are begun and not waited for, at most.
const IN_FLIGHT: usize = 2;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Request {
    /// Where it computes, which precisions `load` takes there, and who multiplies in f32.
    Precisions,
    /// Loads a model under a name.
    Load(Load),
    /// Frees a model's memory.
    Unload { name: String },
    /// The ids of texts as the model's own tokenizer makes them.
    Tokenize { name: String, texts: Vec<String> },
    /// The ids of a query with each document.
    TokenizePairs { name: String, query: String, documents: Vec<String> },
    /// Embeds.
    Embed {
        name: String,
        ids: Vec<Vec<u32>>,
        #[serde(flatten)]
        run: Run,
    },
    /// Scores pairs.
    Score {
        name: String,
        pairs: Vec<Pair>,
        #[serde(flatten)]
        run: Run,
    },
}

#[derive(Deserialize)]
struct Load {
    name: String,
    role: Role,
    folder: PathBuf,
    precision: String,
    adapter: Option<PathBuf>,
    max_tokens: Option<usize>,
    dimension: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Embedder,
    Reranker,
}

/// How often, and what of it is answered.
#[derive(Deserialize)]
struct Run {
    /// Passes over the whole input; each has its time in the answer.
    times: usize,
    /// Tokens of one batch at most; a longer single input goes alone.
    budget: usize,
    /// Whether the answer holds the vectors or scores.
    results: bool,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    ids: Vec<u32>,
    types: Vec<u32>,
    shared_prefix: usize,
}

impl From<PairTokens> for Pair {
    fn from(pair: PairTokens) -> Self {
        Self { ids: pair.ids, types: pair.type_ids, shared_prefix: pair.shared_prefix }
    }
}

impl From<Pair> for PairTokens {
    fn from(pair: Pair) -> Self {
        Self { ids: pair.ids, type_ids: pair.types, shared_prefix: pair.shared_prefix }
    }
}

struct Models {
    device: Device,
    embedders: HashMap<String, LoadedEmbedder>,
    rerankers: HashMap<String, LoadedReranker>,
}

impl Models {
    fn answer(&mut self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Precisions => Ok(json!({
                "device": self.device.name(),
                "precisions": spec::precisions(&self.device),
                "matmul": multiplier(&self.device)?,
            })),
            Request::Load(load) => self.load(load),
            Request::Unload { name } => {
                self.embedders.remove(&name);
                self.rerankers.remove(&name);
                Ok(json!({}))
            }
            Request::Tokenize { name, texts } => {
                let tokenizer = find(&mut self.embedders, &name)?.tokenizer();
                let ids: Result<Vec<_>, _> =
                    texts.iter().map(|text| tokenizer.encode_document(text)).collect();
                Ok(json!({ "ids": ids? }))
            }
            Request::TokenizePairs { name, query, documents } => {
                let tokenizer = find(&mut self.rerankers, &name)?.tokenizer();
                // Long documents are truncated here: each is one part.
                let parts: Result<Vec<Vec<PairTokens>>, ForwardError> =
                    documents.iter().map(|text| tokenizer.encode(&query, None, text)).collect();
                let pairs: Vec<Pair> = parts?.into_iter().flatten().map(Pair::from).collect();
                Ok(json!({ "pairs": pairs }))
            }
            Request::Embed { name, ids, run } => {
                let model = find(&mut self.embedders, &name)?;
                timed(ids, |ids, _| ids.len(), &run, |batch| model.submit(batch))
            }
            Request::Score { name, pairs, run } => {
                let model = find(&mut self.rerankers, &name)?;
                let pairs = pairs.into_iter().map(PairTokens::from).collect();
                let cost = |pair: &PairTokens, first: bool| {
                    pair.ids.len().saturating_sub(if first { 0 } else { pair.shared_prefix })
                };
                timed(pairs, cost, &run, |batch| model.submit(batch))
            }
        }
    }

    fn load(&mut self, load: Load) -> Result<Value, Failure> {
        let mut spec = spec::model_spec(&load.folder, &load.precision, &self.device)?;
        spec.adapter = load.adapter;
        spec.max_tokens = load.max_tokens;
        spec.dimension = load.dimension;
        let started = Instant::now();
        let info = match load.role {
            Role::Embedder => {
                let model = load_embedder(&spec)?;
                let info = model.info().clone();
                self.embedders.insert(load.name, model);
                info
            }
            Role::Reranker => {
                let model = load_reranker(&spec)?;
                let info = model.info().clone();
                self.rerankers.insert(load.name, model);
                info
            }
        };
        Ok(json!({
            "seconds": started.elapsed().as_secs_f64(),
            "dimension": info.dimension,
            "max_tokens": info.max_tokens,
        }))
    }
}

/// The library that the linear layers are computed with.
fn multiplier(device: &Device) -> Result<String, Failure> {
    if device.is_asynchronous() {
        return Ok("cuBLAS".to_owned());
    }
    Ok(match (spec::matmul()?, livedex_onednn::library()) {
        (Matmul::Auto | Matmul::OneDnn, Ok(library)) if cfg!(target_arch = "x86_64") => {
            format!("oneDNN {}", library.version())
        }
        _ => "candle".to_owned(),
    })
}

fn find<'a, T>(models: &'a mut HashMap<String, T>, name: &str) -> Result<&'a mut T, Failure> {
    models.get_mut(name).ok_or_else(|| format!("no such model is loaded: {name}").into())
}

/// Runs every batch `run.times` times; answers the seconds of each time, all results included, and, if
/// asked for, the results of the last.
fn timed<I, O: Serialize + 'static>(
    inputs: Vec<I>,
    cost: impl Fn(&I, bool) -> usize,
    run: &Run,
    mut submit: impl FnMut(&[I]) -> Result<Pending<Vec<O>>, ForwardError>,
) -> Result<Value, Failure> {
    let batches = batches(inputs, cost, run.budget);
    let mut seconds = Vec::with_capacity(run.times);
    let mut results = Vec::new();
    for _ in 0..run.times {
        results.clear();
        let started = Instant::now();
        let mut begun = VecDeque::with_capacity(IN_FLIGHT);
        for batch in &batches {
            if begun.len() == IN_FLIGHT {
                land(&mut begun, &mut results)?;
            }
            begun.push_back(submit(batch)?);
        }
        while !begun.is_empty() {
            land(&mut begun, &mut results)?;
        }
        seconds.push(started.elapsed().as_secs_f64());
    }
    Ok(if run.results {
        json!({ "seconds": seconds, "results": results })
    } else {
        json!({ "seconds": seconds })
    })
}

/// Waits for the batch that was begun first.
fn land<O>(
    begun: &mut VecDeque<Pending<Vec<O>>>,
    results: &mut Vec<O>,
) -> Result<(), ForwardError> {
    if let Some(batch) = begun.pop_front() {
        results.extend(batch.wait()?);
    }
    Ok(())
}

/// In order, each of at most `budget` tokens or of one input. `cost` is the tokens of an input, as
/// the first of its batch or as a later one.
fn batches<I>(inputs: Vec<I>, cost: impl Fn(&I, bool) -> usize, budget: usize) -> Vec<Vec<I>> {
    let mut batches = Vec::new();
    let mut batch: Vec<I> = Vec::new();
    let mut total = 0;
    for input in inputs {
        if !batch.is_empty() && total + cost(&input, false) > budget {
            batches.push(std::mem::take(&mut batch));
            total = 0;
        }
        total += cost(&input, batch.is_empty());
        batch.push(input);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

fn main() -> Result<(), Failure> {
    let device = spec::device()?;
    let mut models = Models { device, embedders: HashMap::new(), rerankers: HashMap::new() };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Failure::from)
            .and_then(|request| models.answer(request))
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}
