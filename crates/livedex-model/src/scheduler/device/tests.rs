//! The device's loop on the test's own thread, and the metrics it leaves.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use livedex_core::ports::{ModelInfo, TokenCounter};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::{
    backend::{EmbedBackend, EmbedTokenizer, ForwardError, Memory},
    scheduler::{activity::Activity, admission::Admission, policy::Lane},
};

/// Knows one vector.
struct North(ModelInfo);

impl EmbedBackend for North {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn tokenizer(&self) -> Arc<dyn EmbedTokenizer> {
        Arc::new(NoTokenizer)
    }

    fn forward(&mut self, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ForwardError> {
        Ok(vec![vec![1.0, 0.0]; batch.len()])
    }

    fn memory(&self) -> Option<Memory> {
        Some(Memory { used: 300, total: 1000 })
    }
}

struct NoTokenizer;

impl TokenCounter for NoTokenizer {
    fn count(&self, _: &str) -> usize {
        0
    }
}

impl EmbedTokenizer for NoTokenizer {
    fn encode_document(&self, _: &str) -> Result<Vec<u32>, ForwardError> {
        Err(ForwardError::Input("the tests bring ids".into()))
    }

    fn encode_query(&self, query: &str, _: Option<&str>) -> Result<Vec<u32>, ForwardError> {
        self.encode_document(query)
    }
}

#[tokio::test]
#[expect(clippy::async_yields_async, reason = "to have submitted and to have an answer differ")]
async fn what_was_done_and_dropped_is_counted() {
    let info = ModelInfo {
        name: "north".into(),
        fingerprint: "north".into(),
        dimension: 2,
        max_tokens: 128,
    };
    let models = Models { embedder: Some(Box::new(North(info))), reranker: None };
    let health = Arc::new(Health::new(3, 2));
    let (to_device, inbox) = mpsc::sync_channel(6);
    let admission = Admission::new(health.clone(), to_device);
    let submit = async |work: Work, tokens: usize, deadline: Option<Instant>| {
        let slot = match work.lane() {
            Lane::Query => admission.query_slot().await.unwrap(),
            Lane::Ingest => admission.ingest_slots(1).await.unwrap().pop().unwrap(),
        };
        admission.submit(work, Input::Sequence(vec![7; tokens]), slot, deadline).await.unwrap()
    };
    let query = submit(Work::EmbedQuery, 5, Some(Instant::now() + Duration::from_secs(60))).await;
    let late = submit(Work::EmbedQuery, 6, Some(Instant::now())).await;
    drop(submit(Work::EmbedQuery, 7, None).await);
    let first = submit(Work::EmbedDocument, 40, None).await;
    let second = submit(Work::EmbedDocument, 50, None).await;

    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        health.report_depth();
        let report = recorder.handle().render();
        assert!(report.contains("livedex_model_queue_depth{lane=\"query\"} 3"), "{report}");
        assert!(report.contains("livedex_model_queue_depth{lane=\"ingest\"} 2"), "{report}");
        // Nobody can send any more: it ends when it has done everything.
        drop(admission);
        let policy = Policy::new(64, 64, Duration::ZERO, 8);
        let activity = Open::new(Arc::new(Activity::default()));
        Device::new(inbox, policy, 64, health, models, activity).serve();
    });
    for answer in [query, first, second] {
        assert_eq!(answer.await.unwrap(), Ok(vec![1.0, 0.0]));
    }
    assert_eq!(late.await.unwrap(), Err(ModelError::DeadlineExceeded));
    let report = recorder.handle().render();
    for line in [
        "livedex_model_queue_depth{lane=\"query\"} 0",
        "livedex_model_queue_depth{lane=\"ingest\"} 0",
        "livedex_model_tokens_total{lane=\"query\"} 5",
        "livedex_model_tokens_total{lane=\"ingest\"} 90",
        "livedex_model_batch_tokens_count{lane=\"query\"} 1",
        "livedex_model_batch_tokens_count{lane=\"ingest\"} 2",
        "livedex_model_batch_seconds_count{lane=\"ingest\"} 2",
        "livedex_model_batch_fill_count{lane=\"ingest\"} 2",
        "livedex_model_batch_fill_sum{lane=\"query\"} 0.078125",
        "livedex_model_device_memory_bytes{kind=\"used\"} 300",
        "livedex_model_device_memory_bytes{kind=\"total\"} 1000",
        "livedex_model_dropped_total{reason=\"cancelled\"} 1",
        "livedex_model_dropped_total{reason=\"deadline\"} 1",
        "livedex_model_token_budget 64",
    ] {
        assert!(report.lines().any(|seen| seen == line), "no {line} in\n{report}");
    }
    let busy =
        |line: &str| line.strip_prefix("livedex_model_device_busy_seconds_total ")?.parse().ok();
    let busy: Option<f64> = report.lines().find_map(busy);
    assert!(busy.is_some_and(|busy| busy > 0.0), "{report}");
}
