//! Random calls at once, some with deadlines, some whose caller leaves: every other caller gets its
//! own answer, whatever else is going on.

use std::time::{Duration, Instant};

use livedex_core::ports::ModelError;
use livedex_model::runtime::{Runtime, RuntimeConfig};
use proptest::prelude::*;

use crate::{
    fake::{Fake, MAX_TOKENS, NAN, REFUSED, document_vector, probability, query_vector, within},
    gpu::{Gpu, Report},
};

#[derive(Debug, Clone)]
enum Call {
    Documents(Vec<String>),
    Query(String, Patience),
    Rerank(String, Vec<String>, Patience),
    /// Its caller leaves after so many microseconds.
    Left(String, Vec<String>, u64),
}

/// Microseconds until the deadline, if there is one.
type Patience = Option<u64>;

fn deadline(patience: Patience) -> Option<Instant> {
    patience.map(|us| Instant::now() + Duration::from_micros(us))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![9 => "[a-z ]{1,40}", 3 => "[a-z]{1,20}(\\|[a-z]{0,20}){1,4}", 1 => "[a-z]{1,9}!", 1 => "[a-z]{1,9}~"]
}

fn patience() -> impl Strategy<Value = Patience> {
    prop::option::weighted(0.3, 0u64..3000)
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        prop::collection::vec(text(), 0..40).prop_map(Call::Documents),
        (text(), patience()).prop_map(|(q, p)| Call::Query(q, p)),
        ("[a-z]{1,20}", prop::collection::vec(text(), 0..30), patience())
            .prop_map(|(q, d, p)| Call::Rerank(q, d, p)),
        ("[a-z]{1,20}", prop::collection::vec(text(), 0..30), 0u64..3000)
            .prop_map(|(q, d, us)| Call::Left(q, d, us)),
    ]
}

/// Tokens of a batch, a query that neighbours share (up to its newline) once.
fn computed(batch: &[Vec<u32>]) -> usize {
    let mut before: &[u32] = &[];
    let mut tokens = 0;
    for ids in batch {
        let query = ids.iter().position(|&id| id == u32::from('\n')).map_or(0, |at| at + 1);
        let shared = query > 0 && before == &ids[..query];
        tokens += ids.len() - if shared { query } else { 0 };
        before = &ids[..query];
    }
    tokens
}

fn refused(text: &str) -> bool {
    text.contains([REFUSED, NAN])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_caller_gets_its_own_answer(
        calls in prop::collection::vec(call(), 1..30),
        token_budget in 64usize..300,
        ingest_queue in 1usize..40,
        // Whatever is not refused fits alone.
        room in MAX_TOKENS..400,
        linger_ms in 0u64..3,
        device in prop::sample::select(vec![None, Some(Report::AtSubmit), Some(Report::AtWait)]),
    ) {
        let config = RuntimeConfig {
            token_budget: Some(token_budget),
            ingest_token_budget: Some(token_budget),
            ingest_queue,
            linger: Duration::from_millis(linger_ms),
            ..RuntimeConfig::default()
        };
        let (fake, models) = match device {
            None => {
                let fake = Fake::with_room(room);
                (fake.clone(), (fake.embedder(), fake.reranker()))
            }
            Some(report) => {
                // Room for the longest sequence and as much again, which two batches may exceed.
                let gpu = Gpu::with_room(room.max(2 * MAX_TOKENS), report);
                (gpu.fake.clone(), (gpu.embedder(), gpu.reranker()))
            }
        };
        let runtime = Runtime::start(config, Some(models.0), Some(models.1)).unwrap();
        let (embedder, reranker) = (runtime.embedder().unwrap(), runtime.reranker().unwrap());
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        tokio.block_on(within(async {
            let mut running = Vec::new();
            for call in calls {
                let (embedder, reranker) = (embedder.clone(), reranker.clone());
                running.push(tokio::spawn(async move {
                    match call {
                        Call::Documents(texts) => {
                            let results = embedder.embed_documents(texts.clone()).await.unwrap();
                            assert_eq!(results.len(), texts.len());
                            for (text, result) in texts.iter().zip(results) {
                                match result {
                                    Ok(vector) => assert_eq!(vector, document_vector(text)),
                                    Err(ModelError::Input(_)) => assert!(refused(text)),
                                    Err(other) => panic!("{other}"),
                                }
                            }
                        }
                        Call::Query(query, patience) => {
                            match embedder.embed_query(&query, None, deadline(patience)).await {
                                Ok(vector) => assert_eq!(vector, query_vector(&query, None)),
                                Err(ModelError::Input(_)) => assert!(refused(&query)),
                                Err(ModelError::DeadlineExceeded) => assert!(patience.is_some()),
                                Err(other) => panic!("{other}"),
                            }
                        }
                        Call::Left(query, texts, us) => {
                            let both = async {
                                tokio::join!(
                                    reranker.rerank(&query, None, texts.clone(), None),
                                    embedder.embed_documents(texts.clone()),
                                )
                            };
                            let _ = tokio::time::timeout(Duration::from_micros(us), both).await;
                        }
                        Call::Rerank(query, texts, patience) => {
                            let deadline = deadline(patience);
                            match reranker.rerank(&query, None, texts.clone(), deadline).await {
                                Err(ModelError::DeadlineExceeded) => assert!(patience.is_some()),
                                Ok(scores) => {
                                    let wanted = texts.iter().map(|text| probability(&query, text));
                                    let wanted: Vec<f32> = wanted.collect();
                                    // At its deadline it takes what there is.
                                    assert!(patience.is_some() || scores.len() == wanted.len());
                                    assert_eq!(scores, wanted[..scores.len()]);
                                }
                                Err(ModelError::Input(_)) => {
                                    assert!(texts.iter().any(|text| refused(text)));
                                }
                                Err(other) => panic!("{other}"),
                            }
                        }
                    }
                }));
            }
            for task in running {
                task.await.unwrap();
            }
        }));
        let batches = fake.batches.lock().unwrap();
        prop_assert!(batches.iter().all(|b| b.len() == 1 || computed(b) <= token_budget));
    }
}
