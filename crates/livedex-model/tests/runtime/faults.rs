//! Faults, and ends: a batch that is too large, a text that is bad, a device that dies or is given up.

use std::{sync::Arc, time::Duration};

use livedex_core::ports::{Embedder, ModelError, Reranker};
use livedex_model::runtime::{Runtime, RuntimeConfig};

use crate::{
    Stack, expected,
    fake::{self, Fake, probability, query_vector, within},
    small, start, start_on, texts,
};

#[tokio::test]
async fn out_of_memory_makes_batches_smaller_and_loses_nothing() {
    let config = RuntimeConfig { token_budget: Some(1024), ..RuntimeConfig::default() };
    let stack = start_on(Fake::with_room(200), config);
    let documents = texts(200);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    assert_eq!(vectors, expected(&documents));
    let tokens = |batch: &Vec<Vec<u32>>| batch.iter().map(Vec::len).sum::<usize>();
    let batches: Vec<usize> = stack.fake.batches.lock().unwrap().iter().map(tokens).collect();
    let failed = batches.iter().filter(|&&tokens| tokens > 200).count();
    assert!((1..=3).contains(&failed), "1024, 512 and 256 tokens fail once each: {batches:?}");
    stack.fake.batches.lock().unwrap().clear();
    within(stack.embedder.embed_documents(documents)).await.unwrap();
    let batches = stack.fake.batches.lock().unwrap();
    assert!(batches.iter().all(|batch| tokens(batch) <= 128), "the budget stays halved");
}

#[tokio::test]
async fn a_bad_text_fails_alone() {
    let stack = start(RuntimeConfig::default());
    let mut documents = texts(40);
    documents[7].push(fake::REFUSED);
    documents[20].push(fake::NAN);
    documents[21].push(fake::LONG);
    documents[33].push(fake::TOKENIZER_PANICS);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    let mut wanted = expected(&documents);
    wanted[7] = Err(ModelError::Input("refused".into()));
    wanted[20] = Err(ModelError::Input("the vector is not finite".into()));
    wanted[21] = Err(ModelError::Input("the vector's norm is 2.0000, not 1".into()));
    wanted[33] = Err(ModelError::Input("the tokenizer panicked".into()));
    assert_eq!(vectors, wanted);

    let bad = stack.reranker.rerank("a", None, vec!["x".into(), "bad~".into()], None);
    let good = stack.reranker.rerank("b", None, texts(5), None);
    let (bad, good) = within(async { tokio::join!(bad, good) }).await;
    assert_eq!(bad, Err(ModelError::Input("the score is NaN, not a probability".into())));
    let wanted: Vec<f32> = texts(5).iter().map(|text| probability("b", text)).collect();
    assert_eq!(good.unwrap(), wanted);
}

/// Whoever waits, and whoever comes later, hears that the device is dead, and why.
pub(crate) async fn dies(
    runtime: &Runtime,
    waiting: [tokio::task::JoinHandle<Result<(), ModelError>>; 2],
    embedder: &Arc<dyn Embedder>,
    reranker: &Arc<dyn Reranker>,
    reason: &str,
) {
    let dead = ModelError::Dead(reason.to_owned());
    for waits in waiting {
        assert_eq!(within(waits).await.unwrap(), Err(dead.clone()));
    }
    assert_eq!(within(runtime.dead()).await, reason);
    let later = within(embedder.embed_query("later", None, None)).await;
    assert_eq!(later, Err(dead.clone()));
    assert_eq!(within(embedder.embed_documents(texts(1))).await, Err(dead.clone()));
    assert_eq!(within(reranker.rerank("later", None, texts(1), None)).await, Err(dead));
}

async fn dies_with(fault: char, reason: &str) {
    let stack = start(RuntimeConfig { ingest_queue: 8, ..small() });
    stack.fake.gate.close();
    let embedder = stack.embedder.clone();
    let poison = fault.to_string();
    let fatal = tokio::spawn(async move { embedder.embed_query(&poison, None, None).await });
    stack.fake.entered(1).await;
    // More than the lane holds: the device dies while this waits for room.
    let embedder = stack.embedder.clone();
    let ingest = tokio::spawn(async move { embedder.embed_documents(texts(50)).await.map(drop) });
    let reranker = stack.reranker.clone();
    let rerank =
        tokio::spawn(async move { reranker.rerank("why", None, texts(3), None).await.map(drop) });
    stack.fake.tokenized(1 + 8 + 3).await;
    stack.fake.gate.open();

    let dead = ModelError::Dead(reason.to_owned());
    assert_eq!(within(fatal).await.unwrap(), Err(dead));
    dies(&stack.runtime, [ingest, rerank], &stack.embedder, &stack.reranker, reason).await;
    assert_eq!(stack.fake.batches.lock().unwrap().len(), 1, "nothing ran on a dead device");
}

#[tokio::test]
async fn a_failed_device_answers_everything_with_dead() {
    dies_with(fake::FAILS, "the fake device fails").await;
}

#[tokio::test]
async fn a_panic_on_the_device_thread_is_death() {
    dies_with(fake::PANICS, "the device thread panicked: the fake device panics").await;
}

#[tokio::test]
async fn dropping_the_runtime_ends_the_thread_after_the_current_batch() {
    let Stack { fake, runtime, embedder, .. } = start(small());
    fake.gate.close();
    let dead = runtime.dead();
    let running = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed_query("running", None, None).await }
    });
    fake.entered(1).await;
    let pending = embedder.embed_documents(texts(1));
    let end = async {
        drop(runtime);
        fake.gate.open();
    };
    let (pending, ()) = within(async { tokio::join!(pending, end) }).await;
    let stopped = ModelError::Dead("the runtime was stopped".into());
    assert_eq!(pending, Err(stopped.clone()));
    assert_eq!(within(running).await.unwrap().unwrap(), query_vector("running", None));
    let later = within(embedder.embed_query("later", None, None)).await;
    assert_eq!(later, Err(stopped));
    let waited = tokio::time::timeout(Duration::from_millis(1), dead).await;
    assert!(waited.is_err(), "stopped is not dead");
    // The thread has let go of the models: what is left is ours and the handle's tokenizer's.
    within(async {
        while Arc::strong_count(&fake) > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
