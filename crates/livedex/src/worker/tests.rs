//! How a worker ends.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::ports::{ModelError, ModelInfo, TokenCounter};
use livedex_model::{
    backend::{EmbedBackend, EmbedTokenizer, ForwardError},
    runtime::RuntimeConfig,
};

use super::*;

/// In a text: the device fails.
const FATAL: char = '#';

/// An embedder whose device fails when it is asked to.
struct Mortal(ModelInfo);

impl EmbedBackend for Mortal {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer> {
        Arc::new(Letters)
    }

    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError> {
        if batch.iter().flatten().any(|id| *id == u32::from(FATAL)) {
            return Err(ForwardError::Device("it fell off the bus".into()));
        }
        Ok(vec![vec![1.0]; batch.len()])
    }
}

/// A token a letter.
struct Letters;

impl TokenCounter for Letters {
    fn count(&self, text: &str) -> usize {
        text.chars().count()
    }
}

impl EmbedTokenizer for Letters {
    fn encode_document(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn encode_query(&self, query: &str, _: Option<&str>) -> Result<Vec<u32>, ForwardError> {
        self.encode_document(query)
    }
}

/// A runtime whose device lives until a text kills it.
fn runtime() -> Runtime {
    let info = ModelInfo {
        name: "mortal".into(),
        fingerprint: "mortal".into(),
        dimension: 1,
        max_tokens: 64,
    };
    Runtime::start(RuntimeConfig::default(), Some(Box::new(Mortal(info))), None).unwrap()
}

/// A role that ends when it is told to.
fn obedient(tasks: &mut Tasks, shutdown: &CancellationToken) {
    let told = shutdown.clone();
    tasks.spawn(async move {
        told.cancelled().await;
        Ok(End::Stopped)
    });
}

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_device_that_dies_ends_the_process() {
    let runtime = runtime();
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    readiness.set(true);
    let mut tasks = Tasks::new();
    obedient(&mut tasks, &shutdown);
    let embedder = runtime.embedder().unwrap();
    let asked = async {
        assert!(embedder.embed_query("well?", None, None).await.is_ok());
        assert!(readiness.get() && !shutdown.is_cancelled());
        embedder.embed_query("#", None, None).await
    };
    let (is_well, answer) =
        tokio::join!(supervise(&runtime, 1, &mut tasks, &shutdown, &readiness, DEADLINE), asked);
    assert_eq!(answer, Err(ModelError::Dead("it fell off the bus".into())));
    assert!(!readiness.get(), "nobody is sent here any more");
    assert!(shutdown.is_cancelled(), "the roles are told");
    assert!(!is_well);
}

#[tokio::test]
async fn the_last_stream_that_catches_up_ends_the_process() {
    let runtime = runtime();
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let mut tasks = Tasks::new();
    obedient(&mut tasks, &shutdown);
    tasks.spawn(async { Ok(End::CaughtUp) });
    let (sender, last) = tokio::sync::oneshot::channel();
    tasks.spawn(async {
        last.await?;
        Ok(End::CaughtUp)
    });
    let mut supervised =
        Box::pin(supervise(&runtime, 2, &mut tasks, &shutdown, &readiness, DEADLINE));
    // The first has ended long before.
    let early = tokio::time::timeout(Duration::from_millis(100), &mut supervised).await;
    assert!(early.is_err() && !shutdown.is_cancelled());
    sender.send(()).unwrap();
    assert!(supervised.await && shutdown.is_cancelled());
}

#[tokio::test]
async fn a_stream_that_fails_ends_the_others() {
    let runtime = runtime();
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let mut tasks = Tasks::new();
    obedient(&mut tasks, &shutdown);
    tasks.spawn(async { Err(anyhow::anyhow!("stream notes: ingestion ended")) });
    assert!(!supervise(&runtime, 2, &mut tasks, &shutdown, &readiness, DEADLINE).await);
    assert!(shutdown.is_cancelled() && tasks.is_empty());
}
