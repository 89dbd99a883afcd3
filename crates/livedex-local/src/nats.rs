//! nats-server as a child process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Child;
use crate::error::LocalError;
use crate::port::{self, Service};
use crate::ready;
use crate::stop::Stop;
use crate::venv::Venv;

/// What a client says first; the server answers PONG once it accepts clients.
const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";

/// A running nats-server on 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    ports: PathBuf,
    port: u16,
}

impl NatsServer {
    /// Starts it and waits until it answers. `dir` is for its files and its log `nats-server.log`;
    /// port 0 takes a free one.
    pub fn start(venv: &Venv, dir: &Path, port: u16) -> Result<Self, LocalError> {
        let mut server = Self::spawn(venv, dir, dir, port)?;
        server.wait_ready(&Stop::new())?;
        Ok(server)
    }

    /// The same with JetStream, whose data is in `dir`.
    pub fn start_with_jetstream(venv: &Venv, dir: &Path, port: u16) -> Result<Self, LocalError> {
        let data = dir.join("jetstream");
        let mut server = Self::launch(venv, dir, dir, port, Some(&data))?;
        server.wait_ready(&Stop::new())?;
        Ok(server)
    }

    /// Starts it without waiting, with its log in a folder of its own.
    pub fn spawn(venv: &Venv, dir: &Path, logs: &Path, port: u16) -> Result<Self, LocalError> {
        Self::launch(venv, dir, logs, port, None)
    }

    fn launch(
        venv: &Venv,
        dir: &Path,
        logs: &Path,
        port: u16,
        jetstream: Option<&Path>,
    ) -> Result<Self, LocalError> {
        port::require_free(Service::Nats, port)?;
        for folder in [dir, logs] {
            fs::create_dir_all(folder).map_err(LocalError::io("cannot create", folder))?;
        }
        // nats-server resolves a relative path against its own idea of the working folder.
        let dir = dir.canonicalize().map_err(LocalError::io("cannot find", dir))?;
        let mut command = Command::new(venv.bin().join("nats-server"));
        // Port -1 is "any free one"; the server then writes what it got into a file.
        let asked = if port == 0 { "-1".to_owned() } else { port.to_string() };
        command.args(["--addr", "127.0.0.1", "--port", &asked, "--ports_file_dir"]).arg(&dir);
        if let Some(data) = jetstream {
            command.arg("--jetstream").arg("--store_dir").arg(data);
        }
        let child = Child::spawn("nats-server", command, &logs.join("nats-server.log"))?;
        let ports = dir.join(format!("nats-server_{}.ports", child.pid()));
        Ok(Self { child, ports, port })
    }

    /// Waits until it answers a client.
    pub fn wait_ready(&mut self, stop: &Stop) -> Result<(), LocalError> {
        let (ports, asked) = (&self.ports, self.port);
        self.port = ready::until_child_answers(&mut self.child, stop, || {
            let port = if asked == 0 { port_from_file(ports)? } else { asked };
            answers(port).then_some(port)
        })?;
        Ok(())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.child.stop();
        // It removes the file itself unless it was killed.
        let _ = fs::remove_file(&self.ports);
    }
}

/// The client port in the file that nats-server writes.
fn port_from_file(path: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// True if what listens there greets like a NATS server and answers a ping.
fn answers(port: u16) -> bool {
    let Some(mut stream) = ready::connect(port) else { return false };
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let mut sent = false;
    // The greeting is about 400 bytes; what sends much more is no NATS server.
    while seen.len() < 64 * 1024 {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => seen.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
        if !seen.starts_with(b"INFO ") {
            return false;
        }
        if !sent {
            if stream.write_all(HELLO).is_err() {
                return false;
            }
            sent = true;
        }
        if seen.windows(6).any(|window| window == b"PONG\r\n") {
            return true;
        }
    }
    false
}
