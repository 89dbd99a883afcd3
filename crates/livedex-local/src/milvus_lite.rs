//! Milvus Lite as a child process.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Child;
use crate::error::LocalError;
use crate::port::{self, Service};
use crate::ready;
use crate::stop::Stop;
use crate::venv::Venv;

const SERVER: &str = include_str!("milvus_lite_server.py");

/// An HTTP/2 client's preface and empty SETTINGS (RFC 9113, sections 3.4 and 6.5), with which every
/// gRPC connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The type byte of an HTTP/2 SETTINGS frame, with which every server answers.
const SETTINGS: u8 = 4;

/// A running Milvus Lite on 127.0.0.1. Dropping it ends it, after it has written its data out.
#[derive(Debug)]
pub struct MilvusLite {
    child: Child,
    port_file: PathBuf,
    port: u16,
}

impl MilvusLite {
    /// Starts it and waits until it answers. `dir` gets its data (`data/`) and its log
    /// `milvus-lite.log`; port 0 takes a free one.
    pub fn start(venv: &Venv, dir: &Path, port: u16) -> Result<Self, LocalError> {
        let mut server = Self::spawn(venv, &dir.join("data"), dir, port)?;
        server.wait_ready(&Stop::new())?;
        Ok(server)
    }

    /// As [`MilvusLite::start`], but it works on one request at a time. Its engine takes one writer
    /// per collection and can miss rows that are being flushed when they are read (milvus_lite
    /// 3.2.2), so several processes that write, or one that writes and another that reads, need
    /// this. One process needs it not: its `Milvus` sees to that.
    pub fn start_serial(venv: &Venv, dir: &Path, port: u16) -> Result<Self, LocalError> {
        let mut server = Self::spawn_with(venv, &dir.join("data"), dir, port, "serial")?;
        server.wait_ready(&Stop::new())?;
        Ok(server)
    }

    /// Starts it without waiting: its data in `data`, its log in `logs`.
    pub fn spawn(venv: &Venv, data: &Path, logs: &Path, port: u16) -> Result<Self, LocalError> {
        Self::spawn_with(venv, data, logs, port, "parallel")
    }

    fn spawn_with(
        venv: &Venv,
        data: &Path,
        logs: &Path,
        port: u16,
        mode: &str,
    ) -> Result<Self, LocalError> {
        port::require_free(Service::Milvus, port)?;
        for folder in [data, logs] {
            fs::create_dir_all(folder).map_err(LocalError::io("cannot create", folder))?;
        }
        let port_file = logs.join("milvus-lite.port");
        match fs::remove_file(&port_file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LocalError::io("cannot remove", port_file)(error));
            }
            _ => {}
        }
        let mut command = Command::new(venv.python());
        // -u: what it prints before it dies must reach the log. -I: the caller's Python variables and
        // working folder are no business of this environment.
        command.args(["-I", "-u", "-c", SERVER]).arg(data).arg(port.to_string()).arg(&port_file);
        command.arg(mode);
        let child = Child::spawn("milvus-lite", command, &logs.join("milvus-lite.log"))?;
        Ok(Self { child, port_file, port })
    }

    /// Waits until it answers a gRPC client.
    pub fn wait_ready(&mut self, stop: &Stop) -> Result<(), LocalError> {
        let port_file = &self.port_file;
        self.port = ready::until_child_answers(&mut self.child, stop, || {
            let port = fs::read_to_string(port_file).ok()?.parse().ok()?;
            answers(port).then_some(port)
        })?;
        Ok(())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URI for clients.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// True if what listens there answers an HTTP/2 client as a gRPC server does.
fn answers(port: u16) -> bool {
    let Some(mut stream) = ready::connect(port) else { return false };
    let mut frame = [0; 9];
    stream.write_all(PREFACE).is_ok()
        && stream.read_exact(&mut frame).is_ok()
        && frame[3] == SETTINGS
}
