//! Fixtures, tolerances and small helpers.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use livedex_model::{
    Attention, Device, DeviceChoice, LoadedEmbedder, LoadedReranker, LongDocuments, ModelSpec,
    backend::{ForwardError, PairTokenizer, PairTokens},
    load_embedder, load_reranker,
};
use serde::{Deserialize, de::DeserializeOwned};

/// What the reference wrote.
#[derive(Deserialize)]
pub(crate) struct Golden<T> {
    pub(crate) cases: Vec<T>,
}

/// A pair and its score.
#[derive(Deserialize)]
pub(crate) struct PairCase {
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) instruction: Option<String>,
    pub(crate) document: String,
    pub(crate) max_tokens: usize,
    pub(crate) ids: Vec<u32>,
    #[serde(default)]
    pub(crate) type_ids: Option<Vec<u32>>,
    pub(crate) score: f32,
}

/// A text and its vectors, by either pooling.
#[derive(Deserialize)]
pub(crate) struct EmbedCase {
    /// `query` or `document`, with the prompts of that; `bare`: without; `token`: one id as it is.
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) cls: Vec<f32>,
}

/// This crate's folder. Cargo says at run time where it is; so does whoever runs this program on another
/// machine than it was built on.
pub(crate) fn crate_folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    crate_folder().join("fixtures").join(name)
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

pub(crate) fn golden<T: DeserializeOwned>(name: &str) -> Golden<T> {
    read(&fixture(name).join("golden.json"))
}

/// The device under test: `LIVEDEX_TEST_DEVICE` (`cuda`), by default the CPU.
/// `LIVEDEX_TEST_ATTENTION=cublas`: without livedex' own attention kernel.
pub(crate) fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let choice = match std::env::var("LIVEDEX_TEST_DEVICE") {
            Ok(name) => name.parse().unwrap(),
            Err(_) => DeviceChoice::Cpu,
        };
        let attention = match std::env::var("LIVEDEX_TEST_ATTENTION").as_deref() {
            Ok("cublas") => Attention::Cublas,
            _ => Attention::Fused,
        };
        Device::open(choice, attention).unwrap_or_else(|error| panic!("{error}"))
    };
    DEVICE.get_or_init(open).clone()
}

/// How far results may be from the reference's, and from each other's.
pub(crate) struct Bounds {
    pub(crate) cosine: f64,
    pub(crate) score: f32,
    /// Of the same text in another batch.
    pub(crate) batch: f32,
}

/// In f32 rounding only, on a GPU that of bf16. These checkpoints are random and small: transformers' own
/// bf16 scores are off by up to 0.019 with them (qwen3-rerank, sdpa); `benches/gpu` holds real shapes
/// to 0.01.
pub(crate) fn bounds() -> Bounds {
    match device().is_asynchronous() {
        false => Bounds { cosine: 0.9999, score: 1e-3, batch: 1e-5 },
        // Two batches may be off in different directions.
        true => Bounds { cosine: 0.999, score: 3e-2, batch: 6e-2 },
    }
}

pub(crate) fn embedder(spec: ModelSpec) -> LoadedEmbedder {
    load_embedder(&ModelSpec { device: device(), ..spec }).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn reranker(spec: ModelSpec) -> LoadedReranker {
    load_reranker(&ModelSpec { device: device(), ..spec }).unwrap_or_else(|e| panic!("{e}"))
}

/// A copy of a fixture that a test may change.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    fn walk(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    walk(&fixture(name), dir.path());
    dir
}

/// Changes a copy's `config.json`.
pub(crate) fn edit_config(folder: &Path, change: impl Fn(&mut serde_json::Value)) {
    let path = folder.join("config.json");
    let mut value = read(&path);
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The bound on every vector, and unit length.
#[track_caller]
pub(crate) fn assert_same_direction(got: &[f32], expected: &[f32], what: &str) -> f64 {
    let cosine = cosine(got, expected);
    assert!(cosine >= bounds().cosine, "cosine {cosine} for {what}");
    let norm = got.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() < 1e-5, "norm {norm} for {what}");
    1.0 - cosine
}

#[track_caller]
pub(crate) fn assert_close(a: &[f32], b: &[f32], bound: f32, what: &str) -> f32 {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= bound, "{what}: {worst} > {bound}");
    worst
}

/// The ids of a document that is scored as one part.
#[track_caller]
pub(crate) fn one(
    tokenizer: &dyn PairTokenizer,
    query: &str,
    instruction: Option<&str>,
    document: &str,
) -> PairTokens {
    let mut parts = tokenizer.encode(query, instruction, document).unwrap();
    assert_eq!(parts.len(), 1, "{document:?}");
    parts.remove(0)
}

/// Checks a reranker's ids and scores against the reference, in one batch and one by one.
/// Gives the worst error.
pub(crate) fn check_pairs(mut spec: ModelSpec, cases: &[PairCase]) -> f32 {
    let mut limits: Vec<usize> = cases.iter().map(|c| c.max_tokens).collect();
    limits.sort_unstable();
    limits.dedup();
    let mut worst = 0.0f32;
    // As the reference does it.
    spec.long_documents = LongDocuments::Truncate;
    for limit in limits {
        spec.max_tokens = Some(limit);
        let mut model = reranker(spec.clone());
        let tokenizer = model.tokenizer();
        let here: Vec<&PairCase> = cases.iter().filter(|c| c.max_tokens == limit).collect();
        let pairs: Vec<PairTokens> = here
            .iter()
            .map(|c| one(&*tokenizer, &c.query, c.instruction.as_deref(), &c.document))
            .collect();
        for (pair, case) in pairs.iter().zip(&here) {
            assert_eq!(pair.ids, case.ids, "{:?} / {:?}", case.query, case.document);
            let zeros = vec![0; pair.ids.len()];
            assert_eq!(&pair.type_ids, case.type_ids.as_ref().unwrap_or(&zeros));
        }
        let scores = model.forward(&pairs).unwrap();
        let expected: Vec<f32> = here.iter().map(|c| c.score).collect();
        worst = worst.max(assert_close(&scores, &expected, bounds().score, "scores"));
        let single: Vec<f32> =
            pairs.iter().map(|p| model.forward(std::slice::from_ref(p)).unwrap()[0]).collect();
        assert_close(&scores, &single, bounds().batch, "batch against one by one");
        assert_eq!(model.forward(&[]).unwrap(), Vec::<f32>::new());
    }
    worst
}

/// Checks an embedder's ids, limit and vectors against what the reference wrote for `name`. Gives
/// the worst `1 - cosine`.
pub(crate) fn check_embeddings(
    name: &str,
    spec: ModelSpec,
    max_tokens: usize,
    expected: impl Fn(&EmbedCase) -> &[f32],
) -> f64 {
    let bare = ModelSpec {
        query_prompt: Some(String::new()),
        document_prompt: Some(String::new()),
        ..spec.clone()
    };
    let mut model = embedder(spec);
    let (tokenizer, bare) = (model.tokenizer(), embedder(bare).tokenizer());
    let cases = golden::<EmbedCase>(name).cases;
    let mut ids = Vec::new();
    for case in &cases {
        let got = match case.kind.as_str() {
            "query" => tokenizer.encode_query(&case.text, Some("ignored")),
            "document" => tokenizer.encode_document(&case.text),
            "bare" => bare.encode_document(&case.text),
            _ => Ok(case.ids.clone()),
        };
        ids.push(got.unwrap());
        assert_eq!(ids.last().unwrap(), &case.ids, "{:?}", case.text);
    }
    assert_eq!(model.info().max_tokens, max_tokens);
    embed_both_ways(&mut model, &ids)
        .iter()
        .zip(&cases)
        .map(|(v, case)| assert_same_direction(v, expected(case), &case.text))
        .fold(0.0, f64::max)
}

/// Embeds `ids` in one batch, after checking that one by one gives the same.
pub(crate) fn embed_both_ways(model: &mut LoadedEmbedder, ids: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let batch = model.forward(ids).unwrap();
    for (vector, ids) in batch.iter().zip(ids) {
        let single = &model.forward(std::slice::from_ref(ids)).unwrap()[0];
        assert_close(vector, single, bounds().batch, "batch against one by one");
    }
    assert_eq!(model.forward(&[]).unwrap(), Vec::<Vec<f32>>::new());
    batch
}

#[track_caller]
pub(crate) fn assert_input_error<T: std::fmt::Debug>(result: Result<T, ForwardError>, part: &str) {
    match result {
        Err(ForwardError::Input(text)) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    }
}
