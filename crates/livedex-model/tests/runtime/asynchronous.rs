//! The runtime on a device that computes on its own: what overlaps, what a query waits for, and
//! that nothing is lost whatever goes wrong with batches in flight.

use std::time::Duration;

use livedex_core::ports::ModelError;
use livedex_model::runtime::{Runtime, RuntimeConfig, StartError};

use crate::{
    expected,
    fake::{self, probability, query_vector, within},
    faults::dies,
    gpu::{Gpu, Report, Stack, small, start},
    texts,
};

#[tokio::test]
async fn answers_are_those_of_the_backend_in_their_order() {
    let stack = start(Gpu::new(), small());
    let documents = texts(300);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    assert_eq!(vectors, expected(&documents));
    let query = within(stack.embedder.embed_query("why", Some("how"), None)).await.unwrap();
    assert_eq!(query, query_vector("why", Some("how")));
    // A hundred pieces, of which two are on the device at once.
    let scores = within(stack.reranker.rerank("why", None, documents.clone(), None)).await.unwrap();
    let wanted: Vec<f32> = documents.iter().map(|text| probability("why", text)).collect();
    assert_eq!(scores, wanted);
    assert_eq!(stack.gpu.load().most, 2);
}

#[tokio::test]
async fn a_batch_is_submitted_while_another_one_runs() {
    let Stack { gpu, embedder, runtime: _runtime, .. } = start(Gpu::new(), small());
    gpu.fake.gate.close();
    let ingest = tokio::spawn(async move { embedder.embed_documents(texts(30)).await });
    for done in 0..8 {
        // One is waited for, and the next one has been submitted.
        gpu.driver.entered(done + 2).await;
        gpu.fake.entered(done + 1).await;
        assert_eq!(*gpu.driver.entered.borrow(), done + 2, "no more than two");
        assert!(!ingest.is_finished());
        gpu.fake.gate.step();
    }
    gpu.fake.gate.open();
    assert_eq!(within(ingest).await.unwrap().unwrap(), expected(&texts(30)));
    assert_eq!(gpu.load().most, 2);
}

#[test]
fn a_query_beside_ingest_finds_one_budget_in_front_of_it() {
    fake::in_order(a_query_beside_ingest());
}

async fn a_query_beside_ingest() {
    let Stack { gpu, embedder, runtime: _runtime, .. } = start(Gpu::new(), small());
    // From now on queries are active.
    within(embedder.embed_query("first", None, None)).await.unwrap();
    gpu.fake.gate.close();
    gpu.fake.batches.lock().unwrap().clear();
    let ingesting = embedder.clone();
    let ingest = tokio::spawn(async move { ingesting.embed_documents(texts(40)).await });
    gpu.driver.entered(1 + 2).await;
    let before: usize = gpu.sizes().iter().sum();
    assert!((1..=64).contains(&before), "{before} tokens are in front of the query");
    let query = tokio::spawn(async move { embedder.embed_query("why", None, None).await });
    gpu.fake.tokenized(1 + 40 + 1).await;
    fake::submitted().await;
    // It goes as soon as one of the two has ended.
    let mut steps = 0;
    while !query.is_finished() {
        gpu.fake.gate.step();
        steps += 1;
        gpu.fake.entered(1 + 1 + steps).await;
        tokio::task::yield_now().await;
    }
    assert!(steps <= 5, "{steps} batches went first");
    let sizes = gpu.sizes();
    assert!(sizes.windows(2).all(|two| two[0] + two[1] <= 64 || two.contains(&9)), "{sizes:?}");
    gpu.fake.gate.open();
    assert_eq!(within(query).await.unwrap().unwrap(), query_vector("why", None));
    assert_eq!(within(ingest).await.unwrap().unwrap(), expected(&texts(40)));
}

#[tokio::test]
async fn ingest_alone_uses_full_batches() {
    let stack = start(Gpu::new(), small());
    let vectors = within(stack.embedder.embed_documents(texts(30))).await.unwrap();
    assert_eq!(vectors, expected(&texts(30)));
    assert_eq!(stack.gpu.sizes(), [60; 10], "three texts of twenty tokens each");
}

async fn out_of_memory_loses_nothing(report: Report) {
    let config = RuntimeConfig {
        token_budget: Some(1024),
        ingest_token_budget: Some(1024),
        ..RuntimeConfig::default()
    };
    let stack = start(Gpu::with_room(300, report), config);
    let documents = texts(200);
    let reranked = stack.reranker.rerank("why", None, documents.clone(), None);
    let embedded = stack.embedder.embed_documents(documents.clone());
    let (scores, vectors) = within(async { tokio::join!(reranked, embedded) }).await;
    assert_eq!(vectors.unwrap(), expected(&documents));
    let wanted: Vec<f32> = documents.iter().map(|text| probability("why", text)).collect();
    assert_eq!(scores.unwrap(), wanted);
    let refused = stack.gpu.load().refused;
    assert!((1..=12).contains(&refused), "the budget is halved and stays so: {refused}");
    // Two batches of what is left of the budget fit together.
    within(stack.embedder.embed_documents(documents)).await.unwrap();
    assert_eq!(stack.gpu.load().refused, refused);
}

#[tokio::test]
async fn out_of_memory_at_the_submission_loses_nothing() {
    out_of_memory_loses_nothing(Report::AtSubmit).await;
}

#[tokio::test]
async fn out_of_memory_at_the_end_loses_nothing() {
    out_of_memory_loses_nothing(Report::AtWait).await;
}

#[tokio::test]
async fn a_long_text_that_fits_alone_is_not_lost_in_company() {
    for report in [Report::AtSubmit, Report::AtWait] {
        let stack = start(Gpu::with_room(130, report), small());
        // Each is a batch of its own, and no two fit.
        let documents: Vec<String> = (0..12).map(|n| format!("{n:0120}")).collect();
        stack.gpu.fake.gate.close();
        let (embedder, texts) = (stack.embedder.clone(), documents.clone());
        let ingest = tokio::spawn(async move { embedder.embed_documents(texts).await });
        // There is company.
        within(async {
            while stack.gpu.load().refused == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stack.gpu.fake.gate.open();
        assert_eq!(within(ingest).await.unwrap().unwrap(), expected(&documents));
    }
}

#[tokio::test]
async fn a_bad_text_fails_alone() {
    let stack = start(Gpu::new(), RuntimeConfig { token_budget: Some(1024), ..small() });
    let mut documents = texts(40);
    documents[7].push(fake::REFUSED);
    documents[20].push(fake::NAN);
    documents[21].push(fake::LONG);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    let mut wanted = expected(&documents);
    wanted[7] = Err(ModelError::Input("refused".into()));
    wanted[20] = Err(ModelError::Input("the vector is not finite".into()));
    wanted[21] = Err(ModelError::Input("the vector's norm is 2.0000, not 1".into()));
    assert_eq!(vectors, wanted);
    let bad = stack.reranker.rerank("a", None, vec!["x".into(), "bad~".into()], None);
    let good = stack.reranker.rerank("b", None, texts(100), None);
    let (bad, good) = within(async { tokio::join!(bad, good) }).await;
    assert_eq!(bad, Err(ModelError::Input("the score is NaN, not a probability".into())));
    let wanted: Vec<f32> = texts(100).iter().map(|text| probability("b", text)).collect();
    assert_eq!(good.unwrap(), wanted);
}

/// The first of two batches in flight kills the device.
async fn dies_with(fault: char, reason: &str) {
    let Stack { gpu, runtime, embedder, reranker } =
        start(Gpu::new(), RuntimeConfig { ingest_queue: 8, ..small() });
    gpu.fake.gate.close();
    let fatal = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed_query(&fault.to_string(), None, None).await }
    });
    gpu.driver.entered(1).await;
    let rerank = tokio::spawn({
        let reranker = reranker.clone();
        async move { reranker.rerank("why", None, texts(30), None).await.map(drop) }
    });
    gpu.driver.entered(2).await;
    // More than the lane holds: the device dies while this waits for room.
    let ingest = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed_documents(texts(50)).await.map(drop) }
    });
    gpu.fake.tokenized(1 + 30 + 8).await;
    gpu.fake.gate.step();
    let dead = ModelError::Dead(reason.to_owned());
    assert_eq!(within(fatal).await.unwrap(), Err(dead.clone()));
    dies(&runtime, [rerank, ingest], &embedder, &reranker, reason).await;
    assert_eq!(gpu.sizes().len(), 2, "nothing was submitted to a dead device");
    gpu.fake.gate.open();
}

#[tokio::test]
async fn a_device_that_fails_while_it_computes_answers_everything_with_dead() {
    dies_with(fake::FAILS, "the fake device fails").await;
}

#[tokio::test]
async fn a_panic_while_waiting_is_death() {
    dies_with(fake::PANICS, "the device thread panicked: the fake device panics").await;
}

#[tokio::test]
async fn dropping_the_runtime_ends_the_threads_after_the_batches_in_flight() {
    let Stack { gpu, runtime, embedder, reranker } = start(Gpu::new(), small());
    gpu.fake.gate.close();
    let dead = runtime.dead();
    let ask = |query: &'static str| {
        let embedder = embedder.clone();
        tokio::spawn(async move { embedder.embed_query(query, None, None).await })
    };
    let one = ask("one");
    gpu.driver.entered(1).await;
    let two = ask("two");
    gpu.driver.entered(2).await;
    let pending = embedder.embed_documents(texts(1));
    let end = async {
        drop(runtime);
        gpu.fake.gate.open();
    };
    let (pending, ()) = within(async { tokio::join!(pending, end) }).await;
    let stopped = ModelError::Dead("the runtime was stopped".into());
    assert_eq!(pending, Err(stopped.clone()));
    assert_eq!(within(one).await.unwrap().unwrap(), query_vector("one", None));
    assert_eq!(within(two).await.unwrap().unwrap(), query_vector("two", None));
    assert_eq!(within(embedder.embed_query("later", None, None)).await, Err(stopped));
    assert!(tokio::time::timeout(Duration::from_millis(1), dead).await.is_err());
    // All threads have let go of the models: what is left is ours and the handles' tokenizers'.
    drop((embedder, reranker));
    let ended = async {
        while std::sync::Arc::strong_count(&gpu) > 1 {
            tokio::task::yield_now().await;
        }
    };
    within(ended).await;
}

#[tokio::test]
async fn budgets_that_nobody_chose_are_found_at_start() {
    // Two batches of 1,024 tokens fit, two of 2,048 do not.
    let stack = start(Gpu::with_room(3000, Report::AtSubmit), RuntimeConfig::default());
    let documents = texts(1000);
    let vectors = within(stack.embedder.embed_documents(documents.clone())).await.unwrap();
    assert_eq!(vectors, expected(&documents));
    let sizes = stack.gpu.sizes();
    assert!(sizes.iter().all(|&tokens| tokens <= 1024), "{sizes:?}");
    assert!(sizes.iter().any(|&tokens| tokens > 200), "{sizes:?}");
    within(stack.reranker.rerank("why", None, documents, None)).await.unwrap();
    assert_eq!(stack.gpu.load().refused, 0, "nothing runs out of memory later");
}

#[test]
fn a_device_without_room_for_any_budget_does_not_start() {
    let gpu = Gpu::with_room(300, Report::AtWait);
    let error = Runtime::start(RuntimeConfig::default(), Some(gpu.embedder()), None).unwrap_err();
    assert!(matches!(&error, StartError::LargestShape { token_budget: 256, .. }), "{error}");
    // A budget that was chosen is not measured, and not lowered.
    let chosen = RuntimeConfig { largest_shape: true, token_budget: Some(600), ..small() };
    let error = Runtime::start(chosen, Some(gpu.embedder()), None).unwrap_err();
    assert!(matches!(&error, StartError::LargestShape { token_budget: 600, .. }), "{error}");
}
