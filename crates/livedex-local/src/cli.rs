//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use livedex_local::port::Service;
use livedex_local::stack::Options;

/// A local Kafka, NATS and Milvus for trying Livedex out.
#[derive(Debug, Parser)]
#[command(name = "livedex-local", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start Kafka, NATS and Milvus and keep them running until Ctrl-C.
    Up(UpArgs),
    /// Ingest a real book, ask it questions, change it, and leave everything running until Ctrl-C.
    Demo(DemoArgs),
    /// Start Kafka, NATS and Milvus, run `livedex eval` on a test set, and stop them again.
    Eval(EvalArgs),
    /// Only prepare the servers and the default model (done by `up` when needed).
    Install,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Folder for all data, logs, models and the livedex.toml.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder of markdown, text or HTML to publish [default: The Rust Programming Language, which
    /// comes with rustup, else this project's own documentation]
    #[arg(long, value_name = "PATH")]
    pub(crate) input: Option<PathBuf>,
    /// Question to ask instead of the prepared ones (may be repeated)
    #[arg(long, value_name = "TEXT")]
    pub(crate) ask: Vec<String>,
    /// Folder for all data, logs, models and the livedex.toml
    #[arg(long, value_name = "DIR", default_value = ".livedex")]
    pub(crate) data: PathBuf,
    /// End after the last step instead of waiting for Ctrl-C
    #[arg(long)]
    pub(crate) exit: bool,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Test set in BEIR layout: corpus.jsonl, queries.jsonl and qrels/test.tsv.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Folder for all data, logs, models and the livedex.toml.
    #[arg(long, value_name = "DIR", default_value = ".livedex/eval")]
    pub(crate) data: PathBuf,
    /// Further arguments of `livedex eval`, behind `--`.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) more: Vec<String>,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Port of the Kafka broker on 127.0.0.1; 0 takes a free one, as with the others.
    #[arg(long, value_name = "PORT", default_value_t = Service::Kafka.default_port())]
    pub(crate) kafka_port: u16,
    /// Port of nats-server on 127.0.0.1.
    #[arg(long, value_name = "PORT", default_value_t = Service::Nats.default_port())]
    pub(crate) nats_port: u16,
    /// Port of Milvus Lite on 127.0.0.1.
    #[arg(long, value_name = "PORT", default_value_t = Service::Milvus.default_port())]
    pub(crate) milvus_port: u16,
    /// Topic of documents; dead letters go to the same name with ".dlq".
    #[arg(long, value_name = "NAME", default_value = "livedex.documents")]
    pub(crate) topic: String,
    /// Partitions of the topic when it is created.
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) partitions: u16,
}

impl ServerArgs {
    /// The stack's options; `move_ports` is for a caller that can live with other ports.
    pub(crate) fn options(&self, move_ports: bool) -> Options {
        Options {
            kafka_port: self.kafka_port,
            nats_port: self.nats_port,
            milvus_port: self.milvus_port,
            move_ports,
            topic: self.topic.clone(),
            partitions: self.partitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
