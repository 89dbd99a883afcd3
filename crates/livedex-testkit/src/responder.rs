//! A service that answers as it is told, in NATS' own protocol: for what a real one does only when it is
//! full, or when a document is long.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

/// For a request to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub struct Scripted {
    /// `Nats-Service-Error-Code`, if it is an error.
    pub status: Option<u16>,
    /// The body.
    pub body: String,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its headers, as they came.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Asked {
    /// The milliseconds of the header `Livedex-Deadline-Ms`.
    pub fn deadline_ms(&self) -> Result<u64> {
        let value = self.headers.lines().find_map(|line| line.strip_prefix("Livedex-Deadline-Ms:"));
        Ok(value.context("a request without a deadline")?.trim().parse()?)
    }
}

/// Listens on a subject until all answers are given.
#[derive(Debug)]
pub struct Responder(JoinHandle<Result<Vec<Asked>>>);

impl Responder {
    /// Listens when this returns.
    pub fn listen(url: &str, subject: &str, answers: Vec<Scripted>) -> Result<Self> {
        let mut server = TcpStream::connect(url.trim_start_matches("nats://"))?;
        server.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(server.try_clone()?);
        let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}";
        write!(server, "{connect}\r\nSUB {subject} 1\r\nPING\r\n")?;
        while line(&mut lines)? != "PONG" {}
        Ok(Self(thread::spawn(move || {
            answers.iter().map(|answer| answer_next(&mut server, &mut lines, answer)).collect()
        })))
    }

    /// The requests that came, one for each answer. Waits for the last.
    pub fn end(self) -> Result<Vec<Asked>> {
        self.0.join().map_err(|_| anyhow!("the responder has panicked"))?
    }
}

fn answer_next(
    server: &mut TcpStream,
    lines: &mut BufReader<TcpStream>,
    answer: &Scripted,
) -> Result<Asked> {
    loop {
        // HMSG <subject> <subscription> <reply-to> <bytes of headers> <bytes>
        let line = line(lines)?;
        let words: Vec<&str> = line.split(' ').collect();
        if let ["HMSG", _, _, reply_to, n_headers, n_all] = words[..] {
            let mut message = vec![0; n_all.parse()?];
            lines.read_exact(&mut message)?;
            let body = message.split_off(n_headers.parse()?);
            let headers = match answer.status {
                Some(status) => format!("Nats-Service-Error-Code: {status}\r\n"),
                None => String::new(),
            };
            let headers = format!("NATS/1.0\r\n{headers}\r\n");
            let (n_headers, n_all) = (headers.len(), headers.len() + answer.body.len());
            let body_out = &answer.body;
            write!(server, "HPUB {reply_to} {n_headers} {n_all}\r\n{headers}{body_out}\r\n")?;
            return Ok(Asked {
                headers: String::from_utf8(message)?,
                body: String::from_utf8(body)?,
            });
        }
        if line == "PING" {
            write!(server, "PONG\r\n")?;
        }
    }
}

fn line(lines: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    ensure!(lines.read_line(&mut line)? > 0, "the server went away");
    Ok(line.trim_end().to_owned())
}
