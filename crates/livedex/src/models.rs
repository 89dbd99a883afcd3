//! The models of a worker, loaded off the async threads.

use anyhow::Context;
use livedex_model::{Device, ModelSpec, load_embedder, load_reranker, runtime::Runtime};
use tracing::info;

use crate::config::Config;

/// Loads the embedder, and the reranker where queries are served, and starts their runtime:
/// the self-test has passed when this returns.
pub(crate) async fn load(config: &Config, with_reranker: bool) -> anyhow::Result<Runtime> {
    let embedder = config.embedder()?.clone();
    let reranker = config.reranker.clone().filter(|_| with_reranker);
    let runtime = config.runtime.clone();
    let (choice, attention) = (config.device, config.attention);
    tokio::task::spawn_blocking(move || {
        let start = std::time::Instant::now();
        let device = Device::open(choice, attention).context("runtime.device")?;
        let there = |spec| ModelSpec { device: device.clone(), ..spec };
        let embedder = load_embedder(&there(embedder)).context("embedder")?;
        let reranker = reranker.map(|spec| load_reranker(&there(spec)));
        let reranker = reranker.transpose().context("reranker")?;
        let runtime = Runtime::start(runtime, Some(embedder), reranker)?;
        info!(seconds = start.elapsed().as_secs_f32(), "models loaded");
        Ok(runtime)
    })
    .await
    .context("loading the models panicked")?
}
