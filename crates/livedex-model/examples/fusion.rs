//! Which final score is best for a pair of models: stage 1 alone, the reranker alone, or both.
//!
//! Reads folders in the BEIR layout (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`), finds
//! candidates by brute-force cosine similarity, reranks them, and prints nDCG@10 and P@1 of
//! four ways to order them:
//!
//! - stage 1: cosine similarity
//! - rerank: the reranker's probability
//! - mean: the mean of that probability and of the cosine clamped to 0..=1
//! - z-score: the sum of both after each was standardised over the query's candidates
//!
//! ```text
//! cargo run --release -p livedex-model --example fusion -- \
//!     --model models/all-MiniLM-L6-v2 --adapter models/livedex-rerank-minilm data/cranfield
//! ```
#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use livedex_core::{chunk::embed_text, limits::MAX_CANDIDATES};
use livedex_model::{
    ModelSpec, load_embedder, load_reranker,
    runtime::{Runtime, RuntimeConfig},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Deserialize;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    /// The embedder's folder.
    #[arg(long)]
    model: PathBuf,
    /// The reranker's folder; the embedder's if absent (with an adapter that makes it one).
    #[arg(long)]
    reranker: Option<PathBuf>,
    /// A LoRA adapter of the reranker.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Candidates per query.
    #[arg(long, default_value_t = 20)]
    candidates: usize,
    /// Queries of each set, chosen by a seeded shuffle; all if absent.
    #[arg(long)]
    queries: Option<usize>,
    /// The seed of that shuffle.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leaves titles out of what is embedded and reranked.
    #[arg(long)]
    without_titles: bool,
    /// Folders in the BEIR layout.
    #[arg(required = true)]
    sets: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// A query and how relevant documents (by index) are to it.
struct Query {
    text: String,
    relevant: HashMap<usize, f64>,
}

struct TestSet {
    documents: Vec<String>,
    /// Only those that have a relevant document, in order of id.
    queries: Vec<Query>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if !(1..=MAX_CANDIDATES).contains(&arguments.candidates) {
        return Err(format!("--candidates is not within 1 to {MAX_CANDIDATES}").into());
    }
    let embedder = load_embedder(&ModelSpec::dir(&arguments.model))?;
    let reranker = arguments.reranker.as_ref().unwrap_or(&arguments.model);
    let spec = ModelSpec { adapter: arguments.adapter.clone(), ..ModelSpec::dir(reranker) };
    let runtime =
        Runtime::start(RuntimeConfig::default(), Some(embedder), Some(load_reranker(&spec)?))?;
    println!(
        "{:16} {:>6} {:>7} {:>4}  {:13}  {:13}  {:13}  {:13}  times",
        "nDCG@10 (P@1)", "docs", "queries", "cand", "stage 1", "rerank", "mean", "z-score"
    );
    for folder in &arguments.sets {
        evaluate(folder, &arguments, &runtime).await?;
    }
    Ok(())
}

async fn evaluate(folder: &Path, arguments: &Arguments, runtime: &Runtime) -> Result<(), Failure> {
    let (embedder, reranker) =
        runtime.embedder().zip(runtime.reranker()).ok_or("the runtime has both models")?;
    let mut set = read(folder, !arguments.without_titles)?;
    set.queries.shuffle(&mut StdRng::seed_from_u64(arguments.seed));
    set.queries.truncate(arguments.queries.unwrap_or(usize::MAX));

    let begun = Instant::now();
    let vectors: Vec<Vec<f32>> = embedder
        .embed_documents(set.documents.clone())
        .await?
        .into_iter()
        .collect::<Result<_, _>>()?;
    let embedding = begun.elapsed();

    let mut totals = [Total::default(); 4];
    let mut reranking = Duration::ZERO;
    for query in &set.queries {
        let vector = embedder.embed_query(&query.text, None, None).await?;
        let mut found: Vec<(usize, f32)> =
            vectors.iter().map(|document| dot(&vector, document)).enumerate().collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(arguments.candidates);
        let (candidates, cosines): (Vec<usize>, Vec<f32>) = found.into_iter().unzip();
        let texts = candidates.iter().map(|&index| set.documents[index].clone()).collect();
        let begun = Instant::now();
        let probabilities = reranker.rerank(&query.text, None, texts, None).await?;
        reranking += begun.elapsed();

        let mean = |(p, c): (&f32, &f32)| (p + c.clamp(0.0, 1.0)) / 2.0;
        let means = probabilities.iter().zip(&cosines).map(mean).collect();
        let sum = |(a, b): (f32, f32)| a + b;
        let logits: Vec<f32> = probabilities.iter().map(|&p| logit(p)).collect();
        let z = standardised(&logits).zip(standardised(&cosines)).map(sum).collect();
        for (total, scores) in totals.iter_mut().zip([cosines.clone(), probabilities, means, z]) {
            total.add(&candidates, &scores, &query.relevant);
        }
    }
    let count = set.queries.len();
    let columns = totals.map(|total| total.column(count)).join("  ");
    println!(
        "{:16} {:>6} {:>7} {:>4}  {columns}  embed {:.1} s, rerank {:.0} ms/query",
        folder.file_name().unwrap_or(folder.as_os_str()).display(),
        set.documents.len(),
        count,
        arguments.candidates,
        embedding.as_secs_f64(),
        reranking.as_secs_f64() * 1000.0 / count.max(1) as f64
    );
    Ok(())
}

/// Sums over queries.
#[derive(Clone, Copy, Default)]
struct Total {
    ndcg: f64,
    first: f64,
}

impl Total {
    /// Equal scores keep the order of stage 1.
    fn add(&mut self, candidates: &[usize], scores: &[f32], relevant: &HashMap<usize, f64>) {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let gains = order.iter().map(|&at| relevant.get(&candidates[at]).copied().unwrap_or(0.0));
        let mut ideal: Vec<f64> = relevant.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        self.ndcg += dcg(gains) / dcg(ideal.into_iter());
        let hit = order.first().is_some_and(|&at| relevant.contains_key(&candidates[at]));
        self.first += f64::from(u8::from(hit));
    }

    fn column(self, queries: usize) -> String {
        let queries = queries.max(1) as f64;
        format!("{:.4} ({:.3})", self.ndcg / queries, self.first / queries)
    }
}

/// Discounted cumulative gain of the first ten, gains being the grades themselves.
fn dcg(gains: impl Iterator<Item = f64>) -> f64 {
    gains.take(10).enumerate().map(|(index, gain)| gain / (index as f64 + 2.0).log2()).sum()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The inverse of the sigmoid: a probability's distances are squeezed at both ends.
fn logit(probability: f32) -> f32 {
    let p = probability.clamp(1e-7, 1.0 - 1e-7);
    (p / (1.0 - p)).ln()
}

/// Mean 0 and standard deviation 1.
fn standardised(values: &[f32]) -> impl Iterator<Item = f32> {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
    values.iter().map(move |v| (v - mean) / (deviation + 1e-6))
}

fn read(folder: &Path, titles: bool) -> Result<TestSet, Failure> {
    let corpus = entries(&folder.join("corpus.jsonl"))?;
    let index: HashMap<&str, usize> =
        corpus.iter().enumerate().map(|(index, entry)| (entry.id.as_str(), index)).collect();
    let mut relevant: BTreeMap<String, HashMap<usize, f64>> = BTreeMap::new();
    let qrels = folder.join("qrels/test.tsv");
    let text =
        fs::read_to_string(&qrels).map_err(|error| format!("{}: {error}", qrels.display()))?;
    for line in text.lines().skip(1) {
        let [query, document, score] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("{}: {line:?} has not three columns", qrels.display()).into());
        };
        let score: f64 = score.trim().parse()?;
        if let Some(&document) = index.get(document).filter(|_| score > 0.0) {
            relevant.entry(query.to_owned()).or_default().insert(document, score);
        }
    }
    let queries: HashMap<String, String> = entries(&folder.join("queries.jsonl"))?
        .into_iter()
        .map(|entry| (entry.id, entry.text))
        .collect();
    let queries = relevant
        .into_iter()
        .filter_map(|(id, relevant)| Some(Query { text: queries.get(&id)?.clone(), relevant }))
        .collect();
    let text = |entry: &Entry| embed_text(if titles { &entry.title } else { "" }, "", &entry.text);
    Ok(TestSet { documents: corpus.iter().map(text).collect(), queries })
}

fn entries(path: &Path) -> Result<Vec<Entry>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}
