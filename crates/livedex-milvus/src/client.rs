//! One RPC: deadline, metrics, error class.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use milvus::v2::{ClientV2, error};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    classify::{self, Effect, Failure, Kind, classify},
    config::MilvusConfig,
    names,
};

/// How long a read waits before its one second attempt on a broken connection.
const RECONNECT: Duration = Duration::from_millis(50);

/// A connection to a Milvus server. Clones share it.
///
/// # Milvus Lite
/// Its engine takes one writer per collection, and a read that begins as a flush does can miss
/// the rows being flushed: it looks at the segments before they are there and at the memory table
/// after they are gone (`Collection.get` and `_trigger_flush` of milvus_lite 3.2.2). Reads through
/// one `Milvus` and its clones therefore share a lock that writes and flushes hold alone; on
/// Milvus there is no such lock. A process that writes and reads should use one `Milvus`.
#[derive(Clone)]
pub struct Milvus {
    inner: Arc<Inner>,
}

struct Inner {
    client: ClientV2,
    config: MilvusConfig,
    server_version: String,
    lite: bool,
    gate: RwLock<()>,
}

impl std::fmt::Debug for Milvus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Milvus")
            .field("config", &self.inner.config)
            .field("server_version", &self.inner.server_version)
            .finish_non_exhaustive()
    }
}

impl Milvus {
    pub(crate) fn new(client: ClientV2, config: MilvusConfig, server_version: String) -> Self {
        let lite = is_lite(&server_version);
        let inner = Inner { client, config, server_version, lite, gate: RwLock::new(()) };
        Self { inner: Arc::new(inner) }
    }

    /// What it was connected with.
    pub fn config(&self) -> &MilvusConfig {
        &self.inner.config
    }

    /// The server's own name for its version, such as `2.6.10` or `milvus_lite-3.2.2`.
    pub fn server_version(&self) -> &str {
        &self.inner.server_version
    }

    /// Whether the server is Milvus Lite.
    pub fn is_lite(&self) -> bool {
        self.inner.lite
    }

    pub(crate) fn client(&self) -> &ClientV2 {
        &self.inner.client
    }

    /// Held during a read; see [`Milvus`].
    pub(crate) async fn reading(&self) -> Option<RwLockReadGuard<'_, ()>> {
        if self.inner.lite { Some(self.inner.gate.read().await) } else { None }
    }

    /// Held during a write or a flush; see [`Milvus`].
    pub(crate) async fn writing(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        if self.inner.lite { Some(self.inner.gate.write().await) } else { None }
    }

    /// One RPC within the configured deadline.
    pub(crate) async fn call<T>(
        &self,
        rpc: &'static str,
        effect: Effect,
        future: impl Future<Output = error::Result<T>>,
    ) -> Result<T, Failure> {
        call(rpc, effect, self.inner.lite, self.inner.config.timeout, future).await
    }

    /// A read, with a second attempt if the connection was broken: it is the first RPC after a
    /// restart of the server that finds out.
    pub(crate) async fn read<T, F>(
        &self,
        rpc: &'static str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = error::Result<T>>,
    {
        match self.call(rpc, Effect::Read, request()).await {
            Err(failure) if matches!(failure.kind, Kind::Unavailable | Kind::Broken) => {
                tokio::time::sleep(RECONNECT).await;
                self.call(rpc, Effect::Read, request()).await
            }
            outcome => outcome,
        }
    }
}

/// Whether this is the version of a Milvus Lite.
pub(crate) fn is_lite(server_version: &str) -> bool {
    server_version.starts_with("milvus_lite")
}

/// One RPC within `deadline`, measured and its error understood.
pub(crate) async fn call<T>(
    rpc: &'static str,
    effect: Effect,
    lite: bool,
    deadline: Duration,
    future: impl Future<Output = error::Result<T>>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let outcome = match tokio::time::timeout(deadline, future).await {
        Ok(outcome) => outcome.map_err(|error| {
            // The server's words may quote a document or a query: debug only (INV-7).
            tracing::debug!(rpc, %error, "milvus answered with an error");
            classify(&error, effect, lite)
        }),
        Err(_) => Err(classify::deadline(effect)),
    };
    histogram!(names::RPC_SECONDS, "rpc" => rpc).record(started.elapsed().as_secs_f64());
    outcome.map_err(|mut failure| {
        counter!(names::ERRORS, "class" => failure.class.as_str()).increment(1);
        failure.what = format!("milvus {rpc} failed: {}", failure.what);
        failure
    })
}
