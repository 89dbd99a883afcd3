//! A service over the fakes, and questions to it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use livedex_query::{NatsConfig, QueryClient, QueryConfig, connect, serve};
use livedex_wire::status::StatusV1;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    fakes::World,
    raw::{Raw, Reply},
};

/// A service that runs.
pub(crate) struct Running {
    pub(crate) world: Arc<World>,
    pub(crate) nats: NatsConfig,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<()>>,
}

impl Running {
    pub(crate) async fn start(url: &str, config: QueryConfig) -> Result<Self> {
        let world = World::new();
        let nats = NatsConfig { url: url.to_owned(), ..NatsConfig::default() };
        let shutdown = CancellationToken::new();
        let connection = connect(&nats).await?;
        let serving = serve(connection, &nats, world.service(config), shutdown.clone()).await?;
        let task = tokio::spawn(async move { Ok(serving.await?) });
        Ok(Self { world, nats, shutdown, task })
    }

    /// What it says about itself, among others perhaps.
    pub(crate) async fn status(&self) -> Result<StatusV1> {
        let client = QueryClient::connect(&self.nats).await?;
        Ok(client.status(Duration::from_secs(5)).await?.remove(0))
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .context("the service did not stop")??
    }
}

/// Talks to the server on a thread that may block.
pub(crate) async fn raw<T: Send + 'static>(
    url: &str,
    talk: impl FnOnce(&mut Raw) -> Result<T> + Send + 'static,
) -> Result<T> {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || talk(&mut Raw::connect(&url)?)).await?
}

/// One query as JSON, with its reply as it comes.
pub(crate) async fn ask(url: &str, body: impl Into<Vec<u8>>) -> Result<Reply> {
    let body = body.into();
    raw(url, move |raw| raw.request("livedex.query", &[], &body)).await
}

/// One query that is answered.
pub(crate) async fn answer(url: &str, body: &str) -> Result<Value> {
    let reply = ask(url, body).await?;
    anyhow::ensure!(reply.header("Nats-Service-Error-Code").is_none(), "{reply:?}");
    reply.json()
}

/// The code of an error, after checking that headers and body agree.
pub(crate) fn error_code(reply: &Reply) -> Result<(u64, Value)> {
    let code = reply.header("Nats-Service-Error-Code").with_context(|| format!("{reply:?}"))?;
    let body = reply.json()?;
    let name = body["code"].as_str().context("no code")?;
    let expected = match code {
        "400" => "bad_request",
        "413" => "too_large",
        "429" => "overloaded",
        "500" => "internal",
        "404" => "not_found",
        "425" => "not_yet",
        "503" => "unavailable",
        "504" => "deadline_exceeded",
        other => anyhow::bail!("{other}"),
    };
    anyhow::ensure!(name == expected, "{code} and {name}");
    anyhow::ensure!(!reply.header("Nats-Service-Error").unwrap_or_default().is_empty());
    Ok((code.parse()?, body))
}
