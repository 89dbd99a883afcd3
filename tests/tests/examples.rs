//! The programs in `examples/`, run against a service: what they print is what `livedex query` finds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use livedex_testkit::{Broker, Livedex, Need, Stack, Suite, clients, stack::runtime, wait::until};
use serde_json::{Value, json};

/// For one command, and a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// For a worker to load its models.
const START: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    Suite::new()
        .test("python", &[Need::LocalServers], || {
            let script = clients::example("python").join("ask.py");
            finds_what_livedex_finds(&clients::python()?, &script)
        })
        .test("typescript", &[Need::LocalServers, Need::Node], || {
            finds_what_livedex_finds(Path::new("node"), &clients::typescript()?)
        })
        .run()
}

fn finds_what_livedex_finds(interpreter: &Path, script: &PathBuf) -> Result<()> {
    let stack = Stack::start(Broker::start_embedded()?)?;
    let mut livedex = Livedex::new(&stack.config())?;
    livedex.env("NATS_URL", stack.nats_url());
    let script = script.to_string_lossy().into_owned();
    let example = |arguments: &[&str]| {
        livedex.run_program(interpreter, &[&[script.as_str()], arguments].concat(), SOON)
    };

    // Nobody is there yet; then a service that is full, and has room when it is asked again.
    let finished = example(&["herons"])?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("nobody listens on livedex.query"), "{}", finished.stderr);

    let busy = Busy::listen(stack.nats_url())?;
    let finished = example(&["herons"])?.success()?;
    ensure!(finished.stderr.contains("overloaded: busy; asking again in "), "{}", finished.stderr);
    ensure!(finished.stdout == "c\t0.500\td\n", "{}", finished.stdout);
    let deadlines = busy.end()?;
    ensure!(deadlines.len() == 2 && deadlines[0] == 5000 && deadlines[1] < 4950, "{deadlines:?}");

    // Asked right after writing, it finds what was written, in its language.
    let _worker = livedex.start(&["run"])?;
    let runtime = runtime()?;
    runtime.block_on(until("an answer", START, || async {
        let finished = livedex.run(&["query", "herons"], SOON)?;
        Ok(finished.success().map(drop).map_err(|error| error.to_string()))
    }))?;
    let mut written = String::new();
    for n in 0..12 {
        let (id, lang) = (format!("{n}.md"), if n % 2 == 0 { "en" } else { "de" });
        let text = format!("Heron {n} stands in the water and waits for {n} fish.");
        let document = json!({ "id": id, "text": text, "metadata": { "lang": lang } }).to_string();
        let at = runtime.block_on(stack.publish_raw(Some(id.as_bytes()), document.as_bytes()))?;
        let line = json!({
            "id": id, "topic": &*at.topic, "partition": at.partition, "offset": at.offset,
        });
        written += &format!("{line}\n");
    }
    std::fs::write(livedex.dir().join("written.jsonl"), written)?;
    let found = example(&["herons", "--after", "written.jsonl", "--lang", "en", "--top-k", "20"])?;
    let found = found.success()?.stdout;
    let filter = r#"{"eq": {"field": "metadata.lang", "value": "en"}}"#;
    let ask = ["query", "herons", "--after-file", "written.jsonl", "--filter", filter, "-k", "20"];
    let reply = livedex.run(&[&ask[..], &["--json"]].concat(), SOON)?.success()?.stdout;
    let expected = lines(&serde_json::from_str(&reply)?).context(reply)?;
    ensure!(expected.len() == 6 && found.lines().eq(&expected), "{found}\nnot\n{expected:?}");

    // A refusal has its code, and is not tried again; one that may pass needs time for it.
    let finished = example(&["herons", "--top-k", "1000"])?;
    ensure!(
        finished.status.code() == Some(1) && finished.stderr.contains("bad_request: "),
        "{}",
        finished.stderr
    );
    ensure!(!finished.stderr.contains("asking again"), "{}", finished.stderr);
    let never = json!({ "topic": "livedex.documents", "partition": 0, "offset": 1_000_000 });
    std::fs::write(livedex.dir().join("never.jsonl"), never.to_string())?;
    let finished = example(&["herons", "--after", "never.jsonl", "--timeout-ms", "300"])?;
    ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{}", finished.status);
    for words in ["not_yet: ", "not there yet: ", "1000000"] {
        ensure!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
    }
    Ok(())
}

/// A service that refuses its first request and answers its second, in NATS' own protocol.
struct Busy(JoinHandle<Result<Vec<u64>>>);

impl Busy {
    fn listen(url: &str) -> Result<Self> {
        let mut server = TcpStream::connect(url.trim_start_matches("nats://"))?;
        server.set_read_timeout(Some(SOON))?;
        let mut lines = BufReader::new(server.try_clone()?);
        let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";
        write!(server, "{connect}SUB livedex.query 1\r\nPING\r\n")?;
        let mut line = String::new();
        while line.trim_end() != "PONG" {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "the server went away");
        }
        Ok(Self(thread::spawn(move || {
            let refused = Self::answer(&mut server, &mut lines, BUSY_HEADERS, BUSY)?;
            let answered = Self::answer(&mut server, &mut lines, "NATS/1.0\r\n\r\n", ANSWER)?;
            Ok(vec![refused, answered])
        })))
    }

    /// Answers the next request, and says which deadline it had.
    fn answer(
        server: &mut TcpStream,
        lines: &mut BufReader<TcpStream>,
        headers: &str,
        body: &str,
    ) -> Result<u64> {
        let (mut reply_to, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "the server went away");
            // HMSG <subject> <subscription> <reply-to> <bytes of headers> <bytes>
            if let Some(message) = line.strip_prefix("HMSG ") {
                reply_to = message.split(' ').nth(2).context("no reply subject")?.to_owned();
            } else if let Some(ms) = line.strip_prefix("Livedex-Deadline-Ms:") {
                let ms = ms.trim().parse()?;
                let (n_headers, n_all) = (headers.len(), headers.len() + body.len());
                write!(server, "HPUB {reply_to} {n_headers} {n_all}\r\n{headers}{body}\r\n")?;
                return Ok(ms);
            }
        }
    }

    fn end(self) -> Result<Vec<u64>> {
        self.0.join().map_err(|_| anyhow!("the service that refuses has panicked"))?
    }
}

const BUSY_HEADERS: &str =
    "NATS/1.0\r\nNats-Service-Error-Code: 429\r\nNats-Service-Error: busy\r\n\r\n";

const BUSY: &str = r#"{"code": "overloaded", "message": "busy", "retry_after_ms": 60}"#;

const ANSWER: &str = r#"{"hits": [{"chunk_id": "c", "score": 0.5, "document_id": "d"}]}"#;

/// What the examples print of a reply.
fn lines(reply: &Value) -> Option<Vec<String>> {
    let line = |hit: &Value| {
        let (chunk, document) = (hit["chunk_id"].as_str()?, hit["document_id"].as_str()?);
        Some(format!("{chunk}\t{:.3}\t{document}", hit["score"].as_f64()?))
    };
    reply["hits"].as_array()?.iter().map(line).collect()
}
