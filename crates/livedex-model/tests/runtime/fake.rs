//! A backend whose results are a function of the token ids, whose faults are in the text, and
//! whose device can be held busy.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use livedex_core::ports::{ModelInfo, TokenCounter};
use livedex_model::backend::{
    EmbedBackend, EmbedTokenizer, ForwardError, LoadedEmbedder, LoadedReranker, PairTokenizer,
    PairTokens, RerankBackend,
};
use tokio::sync::watch;

/// In a text: the backend refuses it.
pub(crate) const REFUSED: char = '!';
/// In a text: its result is NaN.
pub(crate) const NAN: char = '~';
/// In a text: its vector is not of length 1.
pub(crate) const LONG: char = '^';
/// In a text: the device fails.
pub(crate) const FAILS: char = '#';
/// In a text: the backend panics.
pub(crate) const PANICS: char = '%';
/// In a text: the tokenizer panics.
pub(crate) const TOKENIZER_PANICS: char = '$';

/// In a document: the next part begins.
pub(crate) const PART: char = '|';

pub(crate) const MAX_TOKENS: usize = 128;

/// Holds the device in its forward pass.
pub(crate) struct Gate {
    /// How many passes may go; all if `None`.
    passes: Mutex<Option<usize>>,
    changed: Condvar,
    /// Forward passes begun.
    pub(crate) entered: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { passes: Mutex::new(None), changed: Condvar::new(), entered: watch::Sender::new(0) }
    }

    /// Waits until so many have come to it.
    pub(crate) async fn entered(&self, count: usize) {
        let mut entered = self.entered.subscribe();
        within(entered.wait_for(|entered| *entered >= count)).await.unwrap();
    }

    pub(crate) fn pass(&self) {
        self.entered.send_modify(|entered| *entered += 1);
        let passes = self.passes.lock().unwrap();
        let mut passes = self.changed.wait_while(passes, |p| *p == Some(0)).unwrap();
        if let Some(left) = passes.as_mut() {
            *left -= 1;
        }
    }

    pub(crate) fn close(&self) {
        *self.passes.lock().unwrap() = Some(0);
    }

    pub(crate) fn open(&self) {
        *self.passes.lock().unwrap() = None;
        self.changed.notify_all();
    }

    /// Lets one forward pass go.
    pub(crate) fn step(&self) {
        *self.passes.lock().unwrap().get_or_insert(0) += 1;
        self.changed.notify_all();
    }
}

/// What the fakes share with the test.
pub(crate) struct Fake {
    pub(crate) gate: Gate,
    /// Tokens that fit a forward pass.
    pub(crate) room: usize,
    /// Every batch that was begun, as token ids.
    pub(crate) batches: Mutex<Vec<Vec<Vec<u32>>>>,
    /// Texts tokenized.
    pub(crate) tokenized: watch::Sender<usize>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_room(usize::MAX)
    }

    pub(crate) fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(),
            room,
            batches: Mutex::default(),
            tokenized: watch::Sender::new(0),
        })
    }

    pub(crate) fn embedder(self: &Arc<Self>) -> LoadedEmbedder {
        Box::new(FakeEmbedder { fake: self.clone(), info: info("fake-embedder", 4) })
    }

    pub(crate) fn reranker(self: &Arc<Self>) -> LoadedReranker {
        Box::new(FakeReranker { fake: self.clone(), info: info("fake-reranker", 1) })
    }

    /// Was this text part of any batch?
    pub(crate) fn saw(&self, text: &str) -> bool {
        let wanted = ids(text);
        let batches = self.batches.lock().unwrap();
        batches.iter().flatten().any(|seen| seen.windows(wanted.len()).any(|part| part == wanted))
    }

    /// Waits until so many forward passes have begun.
    pub(crate) async fn entered(&self, count: usize) {
        self.gate.entered(count).await;
    }

    /// Waits until so many texts have been tokenized.
    pub(crate) async fn tokenized(&self, count: usize) {
        let mut tokenized = self.tokenized.subscribe();
        within(tokenized.wait_for(|tokenized| *tokenized >= count)).await.unwrap();
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        assert!(!text.contains(TOKENIZER_PANICS), "the fake tokenizer panics");
        let mut ids = ids(text);
        ids.truncate(MAX_TOKENS);
        self.tokenized.send_modify(|count| *count += 1);
        ids
    }

    fn begin(&self, batch: Vec<Vec<u32>>) -> Result<(), ForwardError> {
        let tokens: usize = batch.iter().map(Vec::len).sum();
        self.batches.lock().unwrap().push(batch.clone());
        self.gate.pass();
        if tokens > self.room {
            return Err(ForwardError::OutOfMemory(format!("room for {} tokens", self.room)));
        }
        faults(&batch)
    }
}

/// What is wrong with a batch.
pub(crate) fn faults(batch: &[Vec<u32>]) -> Result<(), ForwardError> {
    let contains = |fault| batch.iter().flatten().any(|&id| id == fault as u32);
    assert!(!contains(PANICS), "the fake device panics");
    if contains(FAILS) {
        return Err(ForwardError::Device("the fake device fails".into()));
    }
    if contains(REFUSED) { Err(ForwardError::Input("refused".into())) } else { Ok(()) }
}

/// Runs a test in which [`submitted`] means something: with one thread for what blocks, such as tokenizing.
pub(crate) fn in_order(test: impl Future<Output = ()>) {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Waits until the calls that were spawned have been tokenized and their ids submitted.
pub(crate) async fn submitted() {
    // First they begin; what blocks then comes behind them, and they go on before this does.
    tokio::task::yield_now().await;
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    tokio::task::yield_now().await;
}

/// A test ends, whatever happens.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("within a minute")
}

pub(crate) fn info(name: &str, dimension: usize) -> ModelInfo {
    let name = name.to_owned();
    ModelInfo { fingerprint: name.clone(), name, dimension, max_tokens: MAX_TOKENS }
}

fn ids(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}

/// Some number in 0..1 that depends on every id and its place.
fn digest(ids: &[u32], seed: u64) -> f32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for &id in ids {
        hash = (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01b3);
        hash ^= hash >> 29;
    }
    (hash >> 40) as f32 / (1u64 << 24) as f32
}

fn vector(ids: &[u32]) -> Vec<f32> {
    let raw: Vec<f32> = (0..4).map(|seed| digest(ids, seed) + 0.01).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

fn pair_ids(query: &str, document: &str) -> Vec<u32> {
    ids(&format!("{query}\n{document}"))
}

/// The vector of a document.
pub(crate) fn document_vector(text: &str) -> Vec<f32> {
    vector(&ids(text))
}

/// The vector of a query: not that of a document with the same text.
pub(crate) fn query_vector(query: &str, instruction: Option<&str>) -> Vec<f32> {
    vector(&ids(&format!("{}:{query}", instruction.unwrap_or("query"))))
}

/// The probability of a pair: its best part's.
pub(crate) fn probability(query: &str, document: &str) -> f32 {
    let score = |part| digest(&pair_ids(query, part), 9);
    document.split(PART).map(score).fold(0.0, f32::max)
}

/// What the device computes for a sequence.
pub(crate) fn embedded(ids: &[u32]) -> Vec<f32> {
    let with = |fault| ids.contains(&u32::from(fault));
    match vector(ids) {
        _ if with(NAN) => vec![f32::NAN; 4],
        vector if with(LONG) => vector.iter().map(|x| x * 2.0).collect(),
        vector => vector,
    }
}

/// What the device computes for a pair.
pub(crate) fn scored(pair: &PairTokens) -> f32 {
    if pair.ids.contains(&(NAN as u32)) { f32::NAN } else { digest(&pair.ids, 9) }
}

pub(crate) struct FakeTokenizer(pub(crate) Arc<Fake>);

impl TokenCounter for FakeTokenizer {
    fn count(&self, text: &str) -> usize {
        text.chars().count()
    }
}

impl EmbedTokenizer for FakeTokenizer {
    fn encode_document(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        Ok(self.0.encode(text))
    }

    fn encode_query(
        &self,
        query: &str,
        instruction: Option<&str>,
    ) -> Result<Vec<u32>, ForwardError> {
        Ok(self.0.encode(&format!("{}:{query}", instruction.unwrap_or("query"))))
    }
}

impl PairTokenizer for FakeTokenizer {
    fn encode(
        &self,
        query: &str,
        _instruction: Option<&str>,
        document: &str,
    ) -> Result<Vec<PairTokens>, ForwardError> {
        let shared = query.chars().count() + 1;
        let pair = |part: &str| {
            let ids = self.0.encode(&format!("{query}\n{part}"));
            let shared_prefix = shared.min(ids.len());
            PairTokens { type_ids: vec![0; ids.len()], ids, shared_prefix }
        };
        Ok(document.split(PART).map(pair).collect())
    }
}

struct FakeEmbedder {
    fake: Arc<Fake>,
    info: ModelInfo,
}

impl EmbedBackend for FakeEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer> {
        Arc::new(FakeTokenizer(self.fake.clone()))
    }

    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError> {
        self.fake.begin(batch.to_vec())?;
        Ok(batch.iter().map(|ids| embedded(ids)).collect())
    }
}

struct FakeReranker {
    fake: Arc<Fake>,
    info: ModelInfo,
}

impl RerankBackend for FakeReranker {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn PairTokenizer> {
        Arc::new(FakeTokenizer(self.fake.clone()))
    }

    fn forward(&mut self, batch: &[PairTokens]) -> Result<Vec<f32>, ForwardError> {
        self.fake.begin(batch.iter().map(|pair| pair.ids.clone()).collect())?;
        Ok(batch.iter().map(scored).collect())
    }
}
