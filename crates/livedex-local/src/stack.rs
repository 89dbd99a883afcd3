//! All of the local stack together: Kafka, NATS and Milvus on one data folder.

use crate::broker::EmbeddedKafka;
use crate::config::{self, Addresses};
use crate::data::DataDir;
use crate::error::LocalError;
use crate::milvus_lite::MilvusLite;
use crate::models;
use crate::nats::NatsServer;
use crate::port::{self, Service};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::venv;

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kafka's port; 0 takes a free one, as with the others.
    pub kafka_port: u16,
    /// NATS' port.
    pub nats_port: u16,
    /// Milvus' port.
    pub milvus_port: u16,
    /// Take a free port instead of failing when one is in use.
    pub move_ports: bool,
    /// The topic of documents; that of dead letters is the same with `.dlq`.
    pub topic: String,
    /// Partitions of the topic if it is new, 1 or more.
    pub partitions: u16,
}

/// The running stack. Dropping it ends all of it; the data stays.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: clients' way in first, the lock on the data last.
    nats: NatsServer,
    milvus: MilvusLite,
    kafka: EmbeddedKafka,
    addresses: Addresses,
    partitions: u16,
    data: DataDir,
}

impl Stack {
    /// Starts everything and returns when all of it answers, the topics and models are there and the
    /// configuration is written. On an error nothing is left running.
    pub fn start(
        data: DataDir,
        options: &Options,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<Self, LocalError> {
        // What can be known at once comes before an installation that takes a minute.
        let kafka_port = settle(Service::Kafka, options.kafka_port, options, progress)?;
        let nats_port = settle(Service::Nats, options.nats_port, options, progress)?;
        let milvus_port = settle(Service::Milvus, options.milvus_port, options, progress)?;
        let venv = venv::ensure_until(progress, stop)?;

        let step = progress.begin("starting Kafka, NATS and Milvus", None);
        let mut milvus = MilvusLite::spawn(&venv, &data.milvus(), &data.logs(), milvus_port)?;
        let mut nats = NatsServer::spawn(&venv, &data.nats(), &data.logs(), nats_port)?;
        let kafka = EmbeddedKafka::start(&data.kafka(), kafka_port)?;
        let dead_letter_topic = format!("{}.dlq", options.topic);
        let partitions = kafka.ensure_topic(&options.topic, options.partitions)?;
        kafka.ensure_topic(&dead_letter_topic, 1)?;
        models::put(&venv, &data.models())?;
        nats.wait_ready(stop)?;
        milvus.wait_ready(stop)?;

        let addresses = Addresses {
            brokers: kafka.brokers(),
            topic: options.topic.clone(),
            dead_letter_topic,
            milvus: milvus.uri(),
            nats: nats.url(),
        };
        config::write(&data.config(), &addresses)?;
        step.done("Kafka, NATS and Milvus answer");
        Ok(Self { nats, milvus, kafka, addresses, partitions, data })
    }

    /// The error if one of the children has ended.
    pub fn failed(&mut self) -> Option<LocalError> {
        let children = [self.nats.child(), self.milvus.child()];
        children.into_iter().find_map(crate::child::Child::ended)
    }

    /// Where its servers are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// How many partitions the topic of documents has.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The data folder.
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// The broker.
    pub fn kafka(&self) -> &EmbeddedKafka {
        &self.kafka
    }
}

/// The port to ask for: the one that was wanted, or any free one if that may be.
fn settle(
    service: Service,
    port: u16,
    options: &Options,
    progress: &Progress,
) -> Result<u16, LocalError> {
    match port::require_free(service, port) {
        Err(LocalError::PortInUse { .. }) if options.move_ports => {
            progress.line(&format!("  port {port} is in use: {service} takes a free one"));
            Ok(0)
        }
        result => result.map(|()| port),
    }
}
