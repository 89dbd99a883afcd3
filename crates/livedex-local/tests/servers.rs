//! The servers of the local stack, for real: they answer, keep their data, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use livedex_local::{LocalError, MilvusLite, NatsServer, Progress, Venv, port, venv};

/// The environment, or None (said loudly) where it cannot be had. With LIVEDEX_REQUIRE_ALL=1 it must.
fn environment() -> Option<Venv> {
    match venv::ensure(&Progress::silent()) {
        Ok(venv) => Some(venv),
        Err(error) if std::env::var("LIVEDEX_REQUIRE_ALL").is_ok_and(|value| value == "1") => {
            panic!("LIVEDEX_REQUIRE_ALL=1: {error}")
        }
        Err(error) => {
            // Not by eprintln!, which the harness captures for a test that passes.
            let mut terminal = std::io::stderr();
            writeln!(terminal, "SKIPPED, no local servers: {error}").unwrap();
            None
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A NATS client of a few lines, as the protocol's documentation shows it.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().starts_with("INFO "));
        client.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
        assert_eq!(client.line(), "PONG");
        client
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

#[test]
fn nats_carries_a_message_and_is_gone_when_dropped() {
    let Some(venv) = environment() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = NatsServer::start(&venv, dir.path(), 0).unwrap();
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
    let mut reader = Client::connect(server.port());
    reader.say("SUB greetings 1\r\nPING\r\n");
    assert_eq!(reader.line(), "PONG");
    let mut writer = Client::connect(server.port());
    writer.say("PUB greetings 5\r\nhello\r\n");
    assert_eq!(reader.line(), "MSG greetings 1 5");
    assert_eq!(reader.line(), "hello");
    let port = server.port();
    drop(server);
    assert!(!port::in_use(port), "something still listens");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["nats-server.log"]);
}

/// Runs Python with Milvus' own client against a server; returns what it prints.
fn with_milvus_client(venv: &Venv, uri: &str, script: &str) -> String {
    let prelude = "import sys\nfrom pymilvus import MilvusClient\nc = MilvusClient(sys.argv[1])\n";
    let output = Command::new(venv.python())
        .args(["-I", "-c", &format!("{prelude}{script}"), uri])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const INSERT: &str = "
if not c.has_collection('t'):
    c.create_collection('t', dimension=4, consistency_level='Strong')
n = int(c.query('t', '', output_fields=['count(*)'])[0]['count(*)'])
c.insert('t', [{'id': n + i, 'vector': [n + i, 1.0, 0.0, 0.0]} for i in range(10)])
";
const COUNT: &str = "print(c.query('t', '', output_fields=['count(*)'])[0]['count(*)'])";

#[test]
fn milvus_lite_keeps_its_rows_over_a_stop_and_over_a_kill() {
    let Some(venv) = environment() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = MilvusLite::start(&venv, dir.path(), 0).unwrap();
    with_milvus_client(&venv, &server.uri(), INSERT);
    let port = server.port();
    drop(server);
    assert!(!port::in_use(port), "something still listens");

    let mut server = MilvusLite::start(&venv, dir.path(), 0).unwrap();
    with_milvus_client(&venv, &server.uri(), INSERT);
    server.child().kill();

    let server = MilvusLite::start(&venv, dir.path(), 0).unwrap();
    assert_eq!(with_milvus_client(&venv, &server.uri(), COUNT), "20");
}

#[test]
fn two_at_once_get_ports_and_data_of_their_own() {
    let Some(venv) = environment() else { return };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = dirs.each_ref().map(|d| NatsServer::start(&venv, d.path(), 0).unwrap());
    assert_ne!(one.port(), two.port());
}

#[test]
fn a_port_in_use_is_refused_before_anything_starts() {
    let Some(venv) = environment() else { return };
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let refused = [
        NatsServer::start(&venv, dir.path(), port).unwrap_err(),
        MilvusLite::start(&venv, dir.path(), port).unwrap_err(),
        livedex_local::EmbeddedKafka::start(dir.path(), port).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, LocalError::PortInUse { .. }), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_second_milvus_on_the_same_data_says_so_in_one_line() {
    let Some(venv) = environment() else { return };
    let dir = tempfile::tempdir().unwrap();
    let _first = MilvusLite::start(&venv, dir.path(), 0).unwrap();
    let logs = dir.path().join("second");
    let mut second = MilvusLite::spawn(&venv, &dir.path().join("data"), &logs, 0).unwrap();
    let error = second.wait_ready(&livedex_local::Stop::new()).unwrap_err().to_string();
    assert!(error.starts_with("milvus-lite ended") && error.contains("lock"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

/// Process ids whose command line mentions `text` (Linux).
fn processes(text: &Path) -> Vec<String> {
    let text = text.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if name.parse::<u32>().is_ok() && String::from_utf8_lossy(&line).contains(text) {
            found.push(name);
        }
    }
    found
}

/// `livedex-local up` on free ports, until it has printed its last line.
fn up(data: &Path) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_livedex-local"))
        .args(["up", "--kafka-port", "0", "--nats-port", "0", "--milvus-port", "0", "--data"])
        .arg(data)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("livedex run --config") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "up ended early");
    }
    (child, output)
}

#[test]
#[cfg(target_os = "linux")]
fn up_ends_everything_on_sigterm_and_leaves_nothing_after_sigkill() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    if environment().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("stack");
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT] {
        let (mut child, _output) = up(&data);
        let text = fs::read_to_string(data.join("livedex.toml")).unwrap();
        assert!(text.contains("nats://127.0.0.1:"), "{text}");
        assert!(data.join("models/all-MiniLM-L6-v2/model.safetensors").is_file());
        assert!(data.join("models/livedex-rerank-minilm/adapter_config.json").is_file());
        // Itself, nats-server and Milvus Lite.
        assert_eq!(processes(&data).len(), 3, "{signal}");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.success(), signal != Signal::SIGKILL, "{signal}: {status}");
        until("all children are gone", || processes(&data).is_empty());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn up_ends_with_the_reason_when_a_child_dies() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    if environment().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("stack");
    let (mut child, _output) = up(&data);
    let nats = processes(&data.join("nats"));
    assert_eq!(nats.len(), 1);
    kill(Pid::from_raw(nats[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    until("all children are gone", || processes(&data).is_empty());
}
