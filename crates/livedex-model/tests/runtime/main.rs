//! The runtime from the outside, on a fake device: lanes, bounds, faults and ends.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod asynchronous;
mod fake;
mod faults;
mod gpu;
mod hanging;
mod random;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fake::{Fake, document_vector, probability, query_vector, within};
use livedex_core::ports::{Embedder, ModelError, Reranker};
use livedex_model::runtime::{Runtime, RuntimeConfig, StartError};

struct Stack {
    fake: Arc<Fake>,
    runtime: Runtime,
    embedder: Arc<dyn Embedder>,
    reranker: Arc<dyn Reranker>,
}

fn start(config: RuntimeConfig) -> Stack {
    start_on(Fake::new(), config)
}

fn start_on(fake: Arc<Fake>, config: RuntimeConfig) -> Stack {
    let runtime = Runtime::start(config, Some(fake.embedder()), Some(fake.reranker())).unwrap();
    let (embedder, reranker) = (runtime.embedder().unwrap(), runtime.reranker().unwrap());
    // What the self-test did does not count.
    fake.batches.lock().unwrap().clear();
    fake.gate.entered.send_replace(0);
    fake.tokenized.send_replace(0);
    Stack { fake, runtime, embedder, reranker }
}

fn small() -> RuntimeConfig {
    RuntimeConfig { token_budget: Some(64), ..RuntimeConfig::default() }
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("the text number {n:04}")).collect()
}

fn expected(texts: &[String]) -> Vec<Result<Vec<f32>, ModelError>> {
    texts.iter().map(|text| Ok(document_vector(text))).collect()
}

#[tokio::test]
async fn answers_are_those_of_the_backend() {
    let stack = start(RuntimeConfig::default());
    let documents = texts(300);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    assert_eq!(vectors, expected(&documents));
    let query = within(stack.embedder.embed_query("why", Some("how"), None)).await.unwrap();
    assert_eq!(query, query_vector("why", Some("how")));
    let scores = within(stack.reranker.rerank("why", None, documents.clone(), None)).await.unwrap();
    let wanted: Vec<f32> = documents.iter().map(|text| probability("why", text)).collect();
    assert_eq!(scores, wanted);
    assert!(stack.reranker.rerank("why", None, vec![], None).await.unwrap().is_empty());
    assert!(stack.embedder.embed_documents(vec![]).await.unwrap().is_empty());
    assert_eq!(stack.embedder.tokens().count("four"), 4);
}

#[tokio::test]
async fn a_documents_score_is_its_best_parts() {
    // Two or three pairs a batch: the parts of a document are in several of them.
    let stack = start(small());
    let documents: Vec<String> =
        ["one", "one|two|three|four|five|six|seven", "", "|", "eight|nine"].map(Into::into).into();
    let wanted: Vec<f32> = documents.iter().map(|text| probability("why", text)).collect();
    let scores = within(stack.reranker.rerank("why", None, documents.clone(), None)).await;
    assert_eq!(scores.unwrap(), wanted);
    assert_eq!(
        wanted[1],
        "one|two|three|four|five|six|seven"
            .split('|')
            .map(|part| probability("why", part))
            .fold(0.0, f32::max)
    );
    let bad = vec!["fine".to_owned(), "fine|bad~|fine".to_owned()];
    let bad = within(stack.reranker.rerank("why", None, bad, None)).await;
    assert_eq!(bad, Err(ModelError::Input("the score is NaN, not a probability".into())));
}

#[tokio::test]
async fn candidates_of_a_query_fill_a_batch_by_what_they_do_not_share() {
    let stack = start(small());
    let query = "q".repeat(40);
    // 41 shared tokens and 4 own ones each: five fit 64 tokens, one by one it would be one.
    let documents: Vec<String> = (0..10).map(|n| format!("n{n:03}")).collect();
    let scores = within(stack.reranker.rerank(&query, None, documents.clone(), None)).await;
    let wanted: Vec<f32> = documents.iter().map(|text| probability(&query, text)).collect();
    assert_eq!(scores.unwrap(), wanted);
    let batches: Vec<usize> = stack.fake.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(batches, [5, 5]);
}

#[tokio::test]
async fn threads_of_its_own_give_the_same_answers() {
    let stack = start(RuntimeConfig { threads: 2, ..RuntimeConfig::default() });
    let vectors = within(stack.embedder.embed_documents(texts(3))).await.unwrap();
    assert_eq!(vectors, expected(&texts(3)));
}

#[test]
fn a_query_overtakes_a_full_ingest_lane() {
    fake::in_order(a_query_behind_documents());
}

async fn a_query_behind_documents() {
    // Three texts a batch, 32 in the lane, 300 in all: a hundred batches.
    let stack = start(RuntimeConfig { ingest_queue: 32, ..small() });
    let fake = &stack.fake;
    fake.gate.close();
    let embedder = stack.embedder.clone();
    let ingest = tokio::spawn(async move { embedder.embed_documents(texts(300)).await });
    fake.entered(1).await;
    fake.tokenized(32).await;

    let embedder = stack.embedder.clone();
    let query = tokio::spawn(async move { embedder.embed_query("why", None, None).await });
    fake.tokenized(33).await;
    assert_eq!(*fake.tokenized.borrow(), 33, "a full lane takes no more texts");
    fake::submitted().await;
    let mut batches = 1;
    while !query.is_finished() {
        fake.gate.step();
        batches += 1;
        fake.entered(batches).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(query.await.unwrap().unwrap(), query_vector("why", None));
    assert!(batches <= 5, "the query waited for {batches} batches");
    assert!(!ingest.is_finished());
    fake.gate.open();
    assert_eq!(within(ingest).await.unwrap().unwrap(), expected(&texts(300)));
}

#[test]
fn a_query_overtakes_a_long_reranking() {
    fake::in_order(a_query_behind_a_reranking());
}

async fn a_query_behind_a_reranking() {
    let stack = start(small());
    let fake = &stack.fake;
    fake.gate.close();
    let reranker = stack.reranker.clone();
    let long = tokio::spawn(async move { reranker.rerank("why", None, texts(200), None).await });
    fake.entered(1).await;
    let embedder = stack.embedder.clone();
    let query = tokio::spawn(async move { embedder.embed_query("how", None, None).await });
    fake::submitted().await;
    let mut batches = 1;
    while !query.is_finished() {
        fake.gate.step();
        batches += 1;
        fake.entered(batches).await;
        tokio::task::yield_now().await;
    }
    // Of a hundred pieces, two pairs each.
    assert!(batches <= 5, "the query waited for {batches} pieces");
    assert!(!long.is_finished());
    fake.gate.open();
    let wanted: Vec<f32> = texts(200).iter().map(|text| probability("why", text)).collect();
    assert_eq!(within(long).await.unwrap().unwrap(), wanted);
    assert_eq!(query.await.unwrap().unwrap(), query_vector("how", None));
}

#[tokio::test]
async fn at_its_deadline_a_reranking_answers_with_what_it_has() {
    let stack = start(small());
    let fake = &stack.fake;
    fake.gate.close();
    let reranker = stack.reranker.clone();
    let soon = Some(Instant::now() + Duration::from_secs(2));
    let late = tokio::spawn(async move { reranker.rerank("why", None, texts(200), soon).await });
    for batches in 1..=3 {
        fake.entered(batches).await;
        fake.gate.step();
    }
    fake.entered(4).await;
    let scores = within(late).await.unwrap().unwrap();
    let wanted: Vec<f32> = texts(200).iter().map(|text| probability("why", text)).collect();
    assert!((3..200).contains(&scores.len()), "{}", scores.len());
    assert_eq!(scores, wanted[..scores.len()]);
    fake.gate.open();
    within(stack.reranker.rerank("after", None, texts(1), None)).await.unwrap();
}

#[tokio::test]
async fn a_full_query_lane_refuses_at_once() {
    let stack = start(RuntimeConfig { query_queue: 2, ..small() });
    stack.fake.gate.close();
    let ask = |query| stack.embedder.embed_query(query, None, None);
    let refused = async {
        // Polled after the first two, which hold the slots; the device is held.
        assert_eq!(ask("three").await, Err(ModelError::Overloaded { limit: 2 }));
        let rerank = stack.reranker.rerank("four", None, texts(1), None).await;
        assert_eq!(rerank, Err(ModelError::Overloaded { limit: 2 }));
        stack.fake.gate.open();
    };
    let (one, two, ()) = within(async { tokio::join!(ask("one"), ask("two"), refused) }).await;
    assert_eq!(one.unwrap(), query_vector("one", None));
    assert_eq!(two.unwrap(), query_vector("two", None));
    // An answer frees its slot before the caller has it.
    for _ in 0..50 {
        let both = within(async { tokio::join!(ask("five"), ask("six")) }).await;
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    }
}

#[tokio::test]
async fn cancelled_work_never_reaches_the_device() {
    let stack = start(small());
    let fake = &stack.fake;
    fake.gate.close();
    let embedder = stack.embedder.clone();
    let busy = tokio::spawn(async move { embedder.embed_query("busy", None, None).await });
    fake.entered(1).await;

    let (embedder, reranker) = (stack.embedder.clone(), stack.reranker.clone());
    let gone = tokio::spawn(async move {
        tokio::join!(
            embedder.embed_documents(vec!["gone text".to_owned()]),
            embedder.embed_query("gone query", None, None),
            reranker.rerank("gone rerank", None, texts(3), None),
        )
    });
    fake.tokenized(1 + 5).await;
    // From the tokenizer's thread to the queue: room for it to happen, nothing depends on it.
    for _ in 0..20 {
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    fake.gate.open();
    within(busy).await.unwrap().unwrap();
    // Whatever was queued before these has been looked at when they are answered.
    within(stack.embedder.embed_documents(texts(1))).await.unwrap()[0].clone().unwrap();
    within(stack.embedder.embed_query("after", None, None)).await.unwrap();
    within(stack.reranker.rerank("after", None, texts(1), None)).await.unwrap();
    assert!(fake.saw("after"));
    assert!(!fake.saw("gone"));
}

#[tokio::test]
async fn a_deadline_is_kept_while_the_device_is_busy() {
    let stack = start(small());
    let fake = &stack.fake;
    let past = Some(Instant::now());
    let late = stack.embedder.embed_query("late", None, past).await;
    assert_eq!(late, Err(ModelError::DeadlineExceeded));

    fake.gate.close();
    let embedder = stack.embedder.clone();
    let busy = tokio::spawn(async move { embedder.embed_query("busy", None, None).await });
    fake.entered(1).await;
    let soon = Some(Instant::now() + Duration::from_millis(20));
    let late = within(stack.reranker.rerank("late", None, texts(2), soon)).await;
    assert_eq!(late, Err(ModelError::DeadlineExceeded));
    fake.gate.open();
    within(busy).await.unwrap().unwrap();
    within(stack.reranker.rerank("after", None, texts(1), None)).await.unwrap();
    assert!(!fake.saw("late"));
}

#[test]
fn a_start_that_cannot_work_says_so() {
    let config =
        RuntimeConfig { token_budget: Some(1), query_queue: 0, ..RuntimeConfig::default() };
    let error = Runtime::start(config, None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "token_budget is 1, not within 64 to 1048576; query_queue is 0, not within 1 to 65536"
    );
    // The self-test's text has five tokens.
    let fake = Fake::with_room(4);
    let error = Runtime::start(small(), Some(fake.embedder()), None).unwrap_err();
    let wanted = "the self-test of fake-embedder failed: out of memory: room for 4 tokens";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn the_largest_shape_is_run_at_start_where_asked_for() {
    let config = RuntimeConfig { largest_shape: true, token_budget: Some(600), ..small() };
    let fake = Fake::with_room(512);
    Runtime::start(config.clone(), Some(fake.embedder()), Some(fake.reranker())).unwrap();
    let shapes: Vec<usize> = fake.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(shapes, [1, 1, 4, 4], "four sequences of 128 tokens fit 600");
    let fake = Fake::with_room(511);
    let error = Runtime::start(config, Some(fake.embedder()), None).unwrap_err();
    assert!(matches!(&error, StartError::LargestShape { token_budget: 600, .. }), "{error}");
}
