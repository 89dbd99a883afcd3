//! A device that hangs: the watchdog, and that nobody waits for ever.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use livedex_model::runtime::{Runtime, RuntimeConfig, StartError};

use crate::{
    fake::within,
    faults::dies,
    gpu::{Gpu, Stack, small, start},
    texts,
};

/// A watchdog that has enough soon, and leaves the process of the tests alone.
fn impatient() -> RuntimeConfig {
    RuntimeConfig {
        watchdog: Duration::from_millis(1000),
        abort_after: Duration::from_secs(3600),
        ..small()
    }
}

/// What the watchdog says of a query of nine tokens.
fn is_hanging(reason: &str) {
    assert!(reason.starts_with("a batch of 9 tokens of the query lane has been on"), "{reason}");
    assert!(reason.ends_with("watchdog_ms allows 1000: a kernel or the driver hangs"), "{reason}");
}

#[tokio::test]
async fn a_kernel_that_hangs_is_death() {
    let Stack { gpu, runtime, embedder, reranker } = start(Gpu::new(), impatient());
    gpu.fake.gate.close();
    let asking = embedder.clone();
    let query = tokio::spawn(async move { asking.embed_query("why", None, None).await.map(drop) });
    gpu.fake.entered(1).await;
    let scoring = reranker.clone();
    let rerank =
        tokio::spawn(async move { scoring.rerank("why", None, texts(9), None).await.map(drop) });
    let reason = within(runtime.dead()).await;
    is_hanging(&reason);
    dies(&runtime, [query, rerank], &embedder, &reranker, &reason).await;
    // It comes back: nobody cares, and no thread is left.
    gpu.fake.gate.open();
    drop((runtime, embedder, reranker));
    let ended = async {
        while std::sync::Arc::strong_count(&gpu) > 1 {
            tokio::task::yield_now().await;
        }
    };
    within(ended).await;
}

#[tokio::test]
async fn a_driver_that_hangs_in_a_submission_is_death() {
    let Stack { gpu, runtime, embedder, reranker } = start(Gpu::new(), impatient());
    gpu.driver.close();
    let asking = embedder.clone();
    let query = tokio::spawn(async move { asking.embed_query("why", None, None).await.map(drop) });
    gpu.driver.entered(1).await;
    // In the inbox of a thread that does not look into it any more.
    let ingesting = embedder.clone();
    let ingest = tokio::spawn(async move { ingesting.embed_documents(texts(9)).await.map(drop) });
    let reason = within(runtime.dead()).await;
    is_hanging(&reason);
    dies(&runtime, [query, ingest], &embedder, &reranker, &reason).await;
    gpu.driver.open();
}

#[test]
fn a_device_that_hangs_at_start_does_not_start() {
    let gpu = Gpu::new();
    gpu.fake.gate.close();
    let error = Runtime::start(impatient(), Some(gpu.embedder()), None).unwrap_err();
    assert!(matches!(&error, StartError::Hangs(reason) if reason.contains("5 tokens")), "{error}");
    gpu.fake.gate.open();
}

#[tokio::test]
async fn batches_that_end_in_time_keep_a_device_alive() {
    // Together they take longer than the watchdog allows for one.
    let Stack { gpu, runtime, embedder, .. } = start(Gpu::new(), impatient());
    let begun = std::time::Instant::now();
    while begun.elapsed() < 2 * impatient().watchdog {
        within(embedder.embed_documents(texts(50))).await.unwrap();
    }
    assert!(gpu.sizes().len() > 16);
    let dead = tokio::time::timeout(Duration::ZERO, runtime.dead()).await;
    assert!(dead.is_err(), "{dead:?}");
}

/// Set in the process that is to be aborted.
const VICTIM: &str = "LIVEDEX_TEST_HANGS";

#[test]
fn a_process_that_does_not_end_is_aborted() {
    if std::env::var_os(VICTIM).is_some() {
        let gpu = Gpu::new();
        gpu.fake.gate.close();
        let config = RuntimeConfig { abort_after: Duration::from_millis(20), ..impatient() };
        let error = Runtime::start(config, Some(gpu.embedder()), None).unwrap_err();
        assert!(matches!(error, StartError::Hangs(_)), "{error}");
        // As an exit handler of a driver that hangs.
        gpu.fake.gate.pass();
        unreachable!("it is aborted");
    }
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "hanging::a_process_that_does_not_end_is_aborted"]);
    let victim = victim.env(VICTIM, "1").stdout(Stdio::null()).stderr(Stdio::null());
    let status = victim.status().unwrap();
    assert!(!status.success());
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(6), "SIGABRT: {status}");
    }
}
