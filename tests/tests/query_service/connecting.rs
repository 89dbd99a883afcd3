//! Connections that cannot be had.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use livedex_core::query::QueryRequest;
use livedex_query::{NatsConfig, NatsError, QueryClient, connect};
use tokio::net::TcpSocket;

fn config(url: &str) -> NatsConfig {
    NatsConfig { url: url.into(), connect_timeout: Duration::from_secs(2), ..NatsConfig::default() }
}

async fn error(config: &NatsConfig) -> Result<NatsError> {
    let start = Instant::now();
    let error = connect(config).await.err().context("connected")?;
    ensure!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    ensure!(!error.to_string().contains('\n'), "{error}");
    Ok(error)
}

pub(crate) async fn errors(url: String) -> Result<()> {
    // Bound and not listened on: it refuses, and nobody else can take it meanwhile.
    let refusing = TcpSocket::new_v4()?;
    refusing.bind("127.0.0.1:0".parse()?)?;
    let port = refusing.local_addr()?.port();
    let found = error(&config(&format!("nats://bob:secret@127.0.0.1:{port}"))).await?;
    ensure!(matches!(found, NatsError::Unreachable { .. }), "{found:?}");
    let text = found.to_string();
    ensure!(text.contains(&format!("nats://127.0.0.1:{port} (")), "{text}");
    ensure!(text.contains("refused") && !text.contains("secret"), "{text}");

    // Somebody listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let found = error(&config(&format!("nats://{}", silent.local_addr()?))).await?;
    ensure!(found.to_string().contains("no answer in 2000 ms"), "{found}");

    for url in ["http://127.0.0.1:1", "ws://127.0.0.1:1", "nats://", "nats://host:port"] {
        let found = error(&config(url)).await?;
        ensure!(matches!(found, NatsError::Url { .. }), "{url}: {found:?}");
    }
    let missing = Some("/nowhere/to/be/found".into());
    for (key, config) in [
        ("credentials_file", NatsConfig { credentials_file: missing.clone(), ..config(&url) }),
        ("tls.ca_file", NatsConfig { tls_ca_file: missing.clone(), ..config(&url) }),
    ] {
        let text = error(&config).await?.to_string();
        ensure!(text.contains(key) && text.contains("/nowhere/to/be/found"), "{text}");
    }
    // This server offers no TLS.
    let found = error(&NatsConfig { tls_required: true, ..config(&url) }).await?;
    ensure!(matches!(found, NatsError::Tls { .. }), "{found:?}");

    // The server is there, the service is not.
    let client = QueryClient::connect(&config(&url)).await?;
    let query = QueryRequest::new("why?");
    let found = client.query(&query, Duration::from_secs(5)).await.err().context("answered")?;
    ensure!(
        found.to_string() == "no livedex service listens on livedex.query; start `livedex serve`",
        "{found}"
    );
    ensure!(client.status(Duration::from_secs(5)).await.is_err());
    ensure!(client.ping(Duration::from_secs(5)).await.is_err());
    Ok(())
}
