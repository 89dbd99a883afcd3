//! Apache Kafka as a child process.
//!
//! One node in KRaft mode with both roles, on free ports of 127.0.0.1, its log in a temporary
//! folder. It starts in about 3 s and holds about 300 MB. Dropping it ends it, a panic included.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use livedex_local::child::Child;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use livedex_local::venv::cache_dir;

use crate::proxy::TcpProxy;

/// The version that `tests/kafka/pom.xml` and the Makefile name too.
pub const VERSION: &str = "4.3.1";

/// The oldest Java that runs it (its class files are Java 17's).
const JAVA: u32 = 17;

/// How long it may take to answer. 2 s is usual; a cold disk and a busy machine took 20.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// A small heap and the cheap collector and compiler: it lives for seconds.
const JVM_FLAGS: [&str; 6] = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    // Before `dir`: the process ends before its folder goes.
    child: Child,
    launch: Launch,
    port: u16,
    /// The port of the listener that is advertised as the proxy's, if there is one.
    proxied_port: Option<u16>,
    dir: TempDir,
}

/// What every start of this broker needs.
#[derive(Debug)]
struct Launch {
    java: PathBuf,
    class_path: String,
}

impl Kafka {
    /// Why it cannot be started on this machine, in one line; `None` if it can.
    pub fn missing() -> Option<String> {
        Launch::find().err().map(|error| format!("{error:#}"))
    }

    /// Starts a broker with an empty log and waits until it answers a metadata request.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// The same, with a second way in: clients that come through `proxy` are told its address as
    /// the broker's, so that they never leave it, and `proxy` leads here. [`Kafka::brokers`] is
    /// the direct way.
    pub fn start_behind(proxy: &TcpProxy) -> Result<Self> {
        let kafka = Self::start_with(Some(proxy.port()))?;
        if let Some(port) = kafka.proxied_port {
            proxy.forward_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        Ok(kafka)
    }

    fn start_with(proxy_port: Option<u16>) -> Result<Self> {
        let launch = Launch::find()?;
        // Ports are chosen before they are bound, so another process can be faster; then new ones.
        let mut attempt = 1;
        loop {
            let dir = tempfile::Builder::new().prefix("livedex-kafka-").tempdir()?;
            let [port, controller_port, second_port] = free_ports()?;
            let proxied = proxy_port.map(|advertised| (second_port, advertised));
            let data = dir.path().join("data");
            let properties = server_properties(port, controller_port, proxied, &data);
            fs::write(dir.path().join("server.properties"), properties)?;
            launch.format(&dir)?;
            let child = launch.spawn(&dir)?;
            let proxied_port = proxied.map(|(port, _)| port);
            let mut kafka = Self { child, launch: launch.clone(), port, proxied_port, dir };
            match kafka.wait_until_ready() {
                Ok(()) => return Ok(kafka),
                Err(error) if attempt < 3 && kafka.lost_its_port() => {
                    tracing::warn!("another process took the port: {error:#}");
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `host:port` for clients.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it (SIGKILL): what it had not written is lost, what it had acknowledged is not,
    /// since the page cache survives.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Starts it again on the same port with the same log, after [`Kafka::kill`].
    pub fn start_again(&mut self) -> Result<()> {
        self.child.stop();
        self.child = self.launch.spawn(&self.dir)?;
        self.wait_until_ready()
    }

    /// Stops all of its threads: connections stay open, nothing answers.
    pub fn pause(&mut self) {
        self.child.signal(Signal::SIGSTOP);
    }

    /// Ends a [`Kafka::pause`].
    pub fn resume(&mut self) {
        self.child.signal(Signal::SIGCONT);
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(error) = self.child.ended() {
                return Err(error.into());
            }
            // Refused and closed connections are what a starting broker gives.
            if metadata_names_a_broker(self.port).unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "Apache Kafka does not answer after {} s: {}",
                    START_DEADLINE.as_secs(),
                    fs::read_to_string(self.child.log()).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn lost_its_port(&self) -> bool {
        fs::read_to_string(self.child.log()).is_ok_and(|log| log.contains("already in use"))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its folder goes with it: an orderly shutdown would take a second for nothing.
        self.child.kill();
    }
}

impl Clone for Launch {
    fn clone(&self) -> Self {
        Self { java: self.java.clone(), class_path: self.class_path.clone() }
    }
}

impl Launch {
    /// Looks for Java and the jars.
    fn find() -> Result<Self> {
        let java = match std::env::var_os("JAVA_HOME") {
            Some(home) => PathBuf::from(home).join("bin/java"),
            None => PathBuf::from("java"),
        };
        let output = Command::new(&java)
            .arg("-version")
            .output()
            .with_context(|| format!("no Java {JAVA} ({})", java.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let version = java_major(&text);
        ensure!(
            version.is_some_and(|version| version >= JAVA),
            "{} is not Java {JAVA} or newer ({})",
            java.display(),
            text.lines().next().unwrap_or("no output")
        );
        let jars = cache_dir()?.join(format!("kafka-{VERSION}"));
        // The Makefile writes it last.
        ensure!(
            jars.join(".complete").exists(),
            "no jars of Apache Kafka in {} (make test-deps)",
            jars.display()
        );
        Ok(Self { java, class_path: format!("{}/*", jars.display()) })
    }

    fn command(&self, dir: &TempDir) -> Command {
        let mut command = Command::new(&self.java);
        command.args(JVM_FLAGS).args(["-cp", &self.class_path]).current_dir(dir.path());
        command
    }

    /// Writes an empty log folder. It has no use for the name of a cluster; any 16 bytes do.
    fn format(&self, dir: &TempDir) -> Result<()> {
        let output = self
            .command(dir)
            .args(["kafka.tools.StorageTool", "format", "--config", "server.properties"])
            .args(["--cluster-id", "bGl2ZWRleC10ZXN0a2l0MQ"])
            .output()?;
        ensure!(
            output.status.success(),
            "kafka.tools.StorageTool format: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn spawn(&self, dir: &TempDir) -> Result<Child> {
        let mut command = self.command(dir);
        command.args(["kafka.Kafka", "server.properties"]);
        Ok(Child::spawn("Apache Kafka", command, &dir.path().join("kafka.log"))?)
    }
}

/// The settings of a single node that starts fast: small internal topics, no wait for a second
/// member before the first rebalance, no topics by accident. `proxied`: the port of a second
/// listener, and the one that it is advertised with.
fn server_properties(
    port: u16,
    controller_port: u16,
    proxied: Option<(u16, u16)>,
    data: &std::path::Path,
) -> String {
    let (listener, advertised) = match proxied {
        Some((port, advertised)) => {
            (format!(",PROXIED://127.0.0.1:{port}"), format!(",PROXIED://127.0.0.1:{advertised}"))
        }
        None => Default::default(),
    };
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}\n\
         advertised.listeners=CLIENTS://127.0.0.1:{port}{advertised}\n\
         listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT\n\
         inter.broker.listener.name=CLIENTS\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         message.max.bytes=16777216\n\
         replica.fetch.max.bytes=16777216\n",
        data.display()
    )
}

/// Three ports that nothing listens on.
fn free_ports() -> Result<[u16; 3]> {
    // All are held until all are known, so that they differ.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let [first, second, third] = [bind()?, bind()?, bind()?];
    Ok([first.local_addr()?.port(), second.local_addr()?.port(), third.local_addr()?.port()])
}

/// The number in `openjdk version "17.0.15" 2025-04-15`.
fn java_major(text: &str) -> Option<u32> {
    text.split('"').nth(1)?.split('.').next()?.parse().ok()
}

/// Asks for metadata of no topic (Metadata request, version 1) and looks whether a broker is
/// named. Written by hand, so that a bug in our client cannot hide a bug in the server's start.
/// <https://kafka.apache.org/protocol#The_Messages_Metadata>
fn metadata_names_a_broker(port: u16) -> io::Result<bool> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut body = Vec::new();
    body.extend(3_i16.to_be_bytes()); // API key: Metadata
    body.extend(1_i16.to_be_bytes()); // its version
    body.extend(7_i32.to_be_bytes()); // correlation id
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend(0_i32.to_be_bytes()); // no topics
    let length = i32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
    let mut head = [0; 12]; // length, correlation id, number of brokers
    stream.read_exact(&mut head)?;
    Ok(head[4..8] == 7_i32.to_be_bytes() && head[8..12] > 0_i32.to_be_bytes()[..] && head[8] < 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_are_read() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(java_major("openjdk version \"24\" 2025-03-18"), Some(24));
        assert_eq!(java_major("java version \"1.8.0_202\""), Some(1));
        assert_eq!(java_major("no Java here"), None);
    }
}
