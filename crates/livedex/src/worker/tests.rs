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

#[tokio::test]
async fn a_device_that_dies_ends_the_process() {
    let info = ModelInfo {
        name: "mortal".into(),
        fingerprint: "mortal".into(),
        dimension: 1,
        max_tokens: 64,
    };
    let runtime =
        Runtime::start(RuntimeConfig::default(), Some(Box::new(Mortal(info))), None).unwrap();
    let embedder = runtime.embedder().unwrap();
    let started = Started { runtime, streams: Vec::new() };
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    readiness.set(true);
    // A role that ends when it is told to.
    let mut tasks = Tasks::new();
    let told = shutdown.clone();
    tasks.spawn(async move {
        told.cancelled().await;
        Ok(End::Stopped)
    });
    let asked = async {
        assert!(embedder.embed_query("well?", None, None).await.is_ok());
        assert!(readiness.get() && !shutdown.is_cancelled());
        embedder.embed_query("#", None, None).await
    };
    let deadline = Duration::from_secs(60);
    let (is_well, answer) =
        tokio::join!(supervise(&started, &mut tasks, &shutdown, &readiness, deadline), asked);
    assert_eq!(answer, Err(ModelError::Dead("it fell off the bus".into())));
    assert!(!readiness.get(), "nobody is sent here any more");
    assert!(shutdown.is_cancelled(), "the roles are told");
    assert!(!is_well);
}
