//! The fake device as one that computes on its own: a batch is done when the fake's gate lets it go,
//! and until then the next one lies behind it.

use std::sync::{Arc, Mutex};

use livedex_core::ports::{Embedder, ModelInfo, Reranker};
use livedex_model::{
    backend::{
        EmbedBackend, EmbedTokenizer, ForwardError, LoadedEmbedder, LoadedReranker, PairTokenizer,
        PairTokens, Pending, RerankBackend,
    },
    runtime::{Runtime, RuntimeConfig},
};

use crate::fake::{Fake, FakeTokenizer, Gate, embedded, faults, info, scored};

/// When a device without room says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    AtSubmit,
    AtWait,
}

/// What the backends share with the test.
pub(crate) struct Gpu {
    /// Its room is for all batches that are on the device together.
    pub(crate) fake: Arc<Fake>,
    /// Holds submissions, as a driver that blocks.
    pub(crate) driver: Gate,
    report: Report,
    load: Mutex<Load>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Load {
    tokens: usize,
    batches: usize,
    /// The most batches at once.
    pub(crate) most: usize,
    /// Batches for which there was no room.
    pub(crate) refused: usize,
}

impl Gpu {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_room(usize::MAX, Report::AtSubmit)
    }

    pub(crate) fn with_room(room: usize, report: Report) -> Arc<Self> {
        let (fake, driver) = (Fake::with_room(room), Gate::new());
        Arc::new(Self { fake, driver, report, load: Mutex::default() })
    }

    pub(crate) fn embedder(self: &Arc<Self>) -> LoadedEmbedder {
        Box::new(GpuEmbedder { gpu: self.clone(), info: info("gpu-embedder", 4) })
    }

    pub(crate) fn reranker(self: &Arc<Self>) -> LoadedReranker {
        Box::new(GpuReranker { gpu: self.clone(), info: info("gpu-reranker", 1) })
    }

    pub(crate) fn load(&self) -> Load {
        *self.load.lock().unwrap()
    }

    /// Tokens of the batches that were begun, in order.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let batches = self.fake.batches.lock().unwrap();
        batches.iter().map(|batch| batch.iter().map(Vec::len).sum()).collect()
    }

    fn submit<T: 'static>(
        self: &Arc<Self>,
        batch: Vec<Vec<u32>>,
        results: impl FnOnce() -> Vec<T> + Send + 'static,
    ) -> Result<Pending<Vec<T>>, ForwardError> {
        self.driver.pass();
        self.fake.batches.lock().unwrap().push(batch.clone());
        let (on_device, fits) = OnDevice::new(self, batch.iter().map(Vec::len).sum());
        let room = self.fake.room;
        let full = move || ForwardError::OutOfMemory(format!("room for {room} tokens"));
        if !fits && self.report == Report::AtSubmit {
            return Err(full());
        }
        let gpu = self.clone();
        Ok(Pending::running(move || {
            let _until_the_end = on_device;
            gpu.fake.gate.pass();
            if !fits {
                return Err(full());
            }
            faults(&batch)?;
            Ok(results())
        }))
    }
}

/// A batch's share of the memory.
struct OnDevice(Arc<Gpu>, usize);

impl OnDevice {
    fn new(gpu: &Arc<Gpu>, tokens: usize) -> (Self, bool) {
        let mut load = gpu.load.lock().unwrap();
        let fits = tokens <= gpu.fake.room.saturating_sub(load.tokens);
        load.tokens += tokens;
        load.batches += 1;
        load.most = load.most.max(load.batches);
        load.refused += usize::from(!fits);
        (Self(gpu.clone(), tokens), fits)
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        let mut load = self.0.load.lock().unwrap();
        load.tokens -= self.1;
        load.batches -= 1;
    }
}

struct GpuEmbedder {
    gpu: Arc<Gpu>,
    info: ModelInfo,
}

impl EmbedBackend for GpuEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer> {
        Arc::new(FakeTokenizer(self.gpu.fake.clone()))
    }

    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError> {
        self.submit(batch)?.wait()
    }

    fn submit(&mut self, batch: &[Vec<u32>]) -> Result<Pending<Vec<Vec<f32>>>, ForwardError> {
        let ids = batch.to_vec();
        self.gpu.submit(batch.to_vec(), move || ids.iter().map(|ids| embedded(ids)).collect())
    }

    fn is_asynchronous(&self) -> bool {
        true
    }
}

struct GpuReranker {
    gpu: Arc<Gpu>,
    info: ModelInfo,
}

impl RerankBackend for GpuReranker {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Arc<dyn PairTokenizer> {
        Arc::new(FakeTokenizer(self.gpu.fake.clone()))
    }

    fn forward(&mut self, batch: &[PairTokens]) -> Result<Vec<f32>, ForwardError> {
        self.submit(batch)?.wait()
    }

    fn submit(&mut self, batch: &[PairTokens]) -> Result<Pending<Vec<f32>>, ForwardError> {
        let pairs = batch.to_vec();
        let ids = batch.iter().map(|pair| pair.ids.clone()).collect();
        self.gpu.submit(ids, move || pairs.iter().map(scored).collect())
    }

    fn is_asynchronous(&self) -> bool {
        true
    }
}

/// A runtime on it.
pub(crate) struct Stack {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) runtime: Runtime,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) reranker: Arc<dyn Reranker>,
}

/// What the start did does not count.
pub(crate) fn start(gpu: Arc<Gpu>, config: RuntimeConfig) -> Stack {
    let runtime = Runtime::start(config, Some(gpu.embedder()), Some(gpu.reranker())).unwrap();
    let (embedder, reranker) = (runtime.embedder().unwrap(), runtime.reranker().unwrap());
    gpu.fake.batches.lock().unwrap().clear();
    gpu.fake.gate.entered.send_replace(0);
    gpu.fake.tokenized.send_replace(0);
    gpu.driver.entered.send_replace(0);
    *gpu.load.lock().unwrap() = Load::default();
    Stack { gpu, runtime, embedder, reranker }
}

/// Budgets that are not measured: three of the tests' texts in either lane.
pub(crate) fn small() -> RuntimeConfig {
    RuntimeConfig {
        token_budget: Some(64),
        ingest_token_budget: Some(64),
        ..RuntimeConfig::default()
    }
}
