//! A Kafka broker for a suite: Apache Kafka, or the embedded one.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use livedex_local::EmbeddedKafka;
use tempfile::TempDir;

use crate::kafka::Kafka;
use crate::suite::require_all;

/// A running broker with an empty log; dropping it ends it and removes its data.
#[derive(Debug)]
pub enum Broker {
    /// Apache Kafka, a child process.
    Apache(Kafka),
    /// The embedded broker, in this process.
    Embedded(Box<EmbeddedKafka>, TempDir),
}

impl Broker {
    /// Starts Apache Kafka.
    pub fn start_apache() -> Result<Self> {
        Kafka::start().map(Self::Apache)
    }

    /// Starts the embedded broker.
    pub fn start_embedded() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livedex-embedded-").tempdir()?;
        Ok(Self::Embedded(Box::new(EmbeddedKafka::start(dir.path(), 0)?), dir))
    }

    /// Starts Apache Kafka where it can be started, else the embedded broker, and says so in one
    /// line. With `LIVEDEX_REQUIRE_ALL=1` what is missing is an error.
    pub fn start_preferring_apache() -> Result<Self> {
        let Some(missing) = Kafka::missing() else { return Self::start_apache() };
        if require_all() {
            bail!("LIVEDEX_REQUIRE_ALL=1, but {missing}");
        }
        // Not by eprintln!: a test harness that captures output would hide it.
        writeln!(std::io::stderr(), "on the embedded Kafka broker: {missing}")?;
        Self::start_embedded()
    }

    /// `host:port` for clients.
    pub fn brokers(&self) -> String {
        match self {
            Self::Apache(kafka) => kafka.brokers(),
            Self::Embedded(broker, _) => broker.brokers(),
        }
    }
}

/// A broker that is started when it is first asked for and serves several tests: each has topics
/// and groups of its own.
#[derive(Debug, Clone)]
pub struct SharedBroker {
    start: fn() -> Result<Broker>,
    running: Arc<Mutex<Option<Broker>>>,
}

impl SharedBroker {
    /// To be started by `start`.
    pub fn new(start: fn() -> Result<Broker>) -> Self {
        Self { start, running: Arc::default() }
    }

    /// `host:port` for clients. Blocks while it starts.
    pub fn brokers(&self) -> Result<String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Some(broker) => Ok(broker.brokers()),
            None => Ok(running.insert((self.start)()?).brokers()),
        }
    }
}
