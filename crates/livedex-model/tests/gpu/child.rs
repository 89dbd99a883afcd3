//! What runs under the emulated driver. Not tests by themselves: `main.rs` starts them.

use std::{path::Path, time::Duration};

use livedex_model::{
    Attention, Device, DeviceChoice, ModelSpec, load_embedder,
    runtime::{Runtime, RuntimeConfig},
};
use metrics_exporter_prometheus::PrometheusBuilder;

fn gpu() -> Result<Device, String> {
    Device::open(DeviceChoice::Cuda(0), Attention::Fused).map_err(|error| error.to_string())
}

#[test]
#[ignore = "run by the other tests"]
fn open() {
    match gpu() {
        Ok(device) => println!("opened: {}", device.name()),
        Err(why) => println!("refused: {why}"),
    }
}

/// Embeds more than fits one batch, and compares with the CPU; or says why the device died.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests"]
async fn embed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/qwen3-embed");
    let spec = |device| ModelSpec { device, ..ModelSpec::dir(&folder) };
    let texts: Vec<String> = (0..48).map(|i| format!("text {i} ").repeat(1 + i * 7 % 40)).collect();
    let expected = {
        let mut model = load_embedder(&spec(Device::cpu())).unwrap();
        let tokenizer = model.tokenizer();
        let ids: Vec<_> =
            texts.iter().map(|text| tokenizer.encode_document(text).unwrap()).collect();
        model.forward(&ids).unwrap()
    };

    let config = RuntimeConfig {
        token_budget: Some(4096),
        ingest_token_budget: Some(4096),
        watchdog: Duration::from_secs(5),
        // A child that is stuck in the driver ends, too.
        abort_after: Duration::from_secs(5),
        ..RuntimeConfig::default()
    };
    let model = load_embedder(&spec(gpu().unwrap())).unwrap();
    let runtime = Runtime::start(config, Some(model), None).unwrap();
    let embedder = runtime.embedder().unwrap();
    let embedded = tokio::select! {
        embedded = embedder.embed_documents(texts) => embedded,
        reason = runtime.dead() => {
            println!("dead: {reason}");
            return;
        }
    };
    let vectors = match embedded {
        Ok(vectors) => vectors,
        Err(error) => {
            println!("{error}; dead: {}", runtime.dead().await);
            return;
        }
    };
    for (got, expected) in vectors.iter().zip(&expected) {
        let got = got.as_ref().unwrap();
        let cosine: f32 = got.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!(cosine >= 0.999, "{cosine}");
    }
    assert_eq!(vectors.len(), expected.len());
    println!("all as on the CPU");
    let rendered = handle.render();
    let budget = rendered.lines().find_map(|line| line.strip_prefix("livedex_model_token_budget "));
    println!("budget {}", budget.unwrap_or("unknown"));
}
