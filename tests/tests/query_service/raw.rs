//! A NATS client of a page: the suite sees on the wire what any other client sees.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A connection. Blocking: called between awaits of tests that run on several threads.
pub(crate) struct Raw {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    next_inbox: u64,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Raw {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let address = url.trim_start_matches("nats://");
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        let mut raw = Self { reader: BufReader::new(writer.try_clone()?), writer, next_inbox: 1 };
        let mut info = String::new();
        raw.reader.read_line(&mut info)?;
        ensure!(info.starts_with("INFO "), "{info}");
        let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
        write!(raw.writer, "CONNECT {options}\r\n")?;
        Ok(raw)
    }

    /// Sends a request; its replies come under the number returned.
    pub(crate) fn send(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<u64> {
        let sid = self.next_inbox;
        self.next_inbox += 1;
        let inbox = format!("_INBOX.raw.{}.{sid}", self.writer.local_addr()?.port());
        let mut message = format!("SUB {inbox} {sid}\r\n").into_bytes();
        let mut block = String::new();
        if !headers.is_empty() {
            block.push_str("NATS/1.0\r\n");
            for (name, value) in headers {
                block.push_str(&format!("{name}: {value}\r\n"));
            }
            block.push_str("\r\n");
        }
        let total = block.len() + body.len();
        if block.is_empty() {
            write!(message, "PUB {subject} {inbox} {total}\r\n")?;
        } else {
            write!(message, "HPUB {subject} {inbox} {} {total}\r\n", block.len())?;
        }
        message.extend_from_slice(block.as_bytes());
        message.extend_from_slice(body);
        message.extend_from_slice(b"\r\n");
        self.writer.write_all(&message)?;
        Ok(sid)
    }

    /// The next reply and the number of its request, or `None` if none comes in time.
    pub(crate) fn next(&mut self, timeout: Duration) -> Result<Option<(u64, Reply)>> {
        let deadline = Instant::now() + timeout;
        let mut line = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.reader.get_ref().set_read_timeout(Some(left))?;
            match self.reader.read_line(&mut line) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(_) => {}
                Err(error)
                    if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) =>
                {
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["PING"] => self.writer.write_all(b"PONG\r\n")?,
                ["-ERR", ..] => bail!("the server says {line}"),
                ["MSG", _, sid, .., total] => {
                    let (sid, total) = (sid.parse()?, total.parse()?);
                    return self.read(sid, 0, total).map(Some);
                }
                ["HMSG", _, sid, .., header, total] => {
                    let (sid, header, total) = (sid.parse()?, header.parse()?, total.parse()?);
                    return self.read(sid, header, total).map(Some);
                }
                _ => {}
            }
            line.clear();
        }
    }

    fn read(&mut self, sid: u64, header: usize, total: usize) -> Result<(u64, Reply)> {
        // The rest of a message that has begun comes at once.
        self.reader.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut bytes = vec![0; total + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(total);
        let body = bytes.split_off(header);
        let block = String::from_utf8(bytes)?;
        let mut lines = block.lines();
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("NATS/1.0 "))
            .map(|status| status.trim().to_owned());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Ok((sid, Reply { status, headers, body }))
    }

    /// One request, one reply.
    pub(crate) fn request(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        let wanted = self.send(subject, headers, body)?;
        loop {
            let next = self.next(Duration::from_secs(20))?;
            let (sid, reply) = next.with_context(|| format!("no reply from {subject}"))?;
            if sid == wanted {
                return Ok(reply);
            }
        }
    }

    /// One request, the replies of `n` instances; fails if there are fewer within 10 s.
    pub(crate) fn gather(&mut self, subject: &str, n: usize) -> Result<Vec<Value>> {
        let wanted = self.send(subject, &[], b"")?;
        let mut replies = Vec::new();
        while replies.len() < n {
            let next = self.next(Duration::from_secs(10))?;
            let (sid, reply) =
                next.with_context(|| format!("{subject}: {} of {n} replies", replies.len()))?;
            if sid == wanted {
                replies.push(reply.json()?);
            }
        }
        Ok(replies)
    }
}
