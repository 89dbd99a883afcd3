//! The command line: what can be typed, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use figment::value::Value;

use crate::config::FlagOverride;

mod ask;
mod dlq;
mod eval;
mod values;

pub(crate) use ask::{
    DocumentsCommand, DocumentsGetArgs, EmbedArgs, QueryArgs, ReadArgs, RerankArgs, SearchArgs,
};
pub(crate) use dlq::{DlqCommand, DlqFilterArgs, DlqListArgs, DlqReplayArgs, DlqShowArgs};
pub(crate) use eval::EvalArgs;
pub(crate) use values::{AfterArg, ConsistencyArg, IncludeArg, ModeArg, score};

/// Keeps a Milvus collection in step with Kafka topics and answers two-stage queries on it
/// over NATS.
#[derive(Debug, Parser)]
#[command(name = "livedex", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Configuration file [default: livedex.toml in this folder, if there]
    #[arg(long, short, global = true, env = "LIVEDEX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How log lines look
    #[arg(long, global = true, env = "LIVEDEX_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object a line.
    Json,
}

/// The common keys of the configuration as flags; a flag wins over the environment
/// (`LIVEDEX__KAFKA__BROKERS`), and that over the file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Configuration keys")]
pub(crate) struct Overrides {
    /// kafka.brokers
    #[arg(long, global = true, value_name = "HOST:PORT,...")]
    brokers: Option<String>,
    /// kafka.topic
    #[arg(long, global = true)]
    topic: Option<String>,
    /// kafka.group
    #[arg(long, global = true)]
    group: Option<String>,
    /// milvus.uri
    #[arg(long, global = true, value_name = "URI")]
    milvus_uri: Option<String>,
    /// milvus.collection
    #[arg(long, global = true)]
    collection: Option<String>,
    /// nats.url
    #[arg(long, global = true, value_name = "URL")]
    nats_url: Option<String>,
    /// embedder.model
    #[arg(long, global = true, value_name = "DIR|HUB_ID")]
    embedder: Option<String>,
    /// reranker.model
    #[arg(long, global = true, value_name = "DIR|HUB_ID")]
    reranker: Option<String>,
}

impl Overrides {
    /// The flags that were given, by key.
    pub(crate) fn given(&self) -> Vec<FlagOverride> {
        [
            ("kafka.brokers", &self.brokers),
            ("kafka.topic", &self.topic),
            ("kafka.group", &self.group),
            ("milvus.uri", &self.milvus_uri),
            ("milvus.collection", &self.collection),
            ("nats.url", &self.nats_url),
            ("embedder.model", &self.embedder),
            ("reranker.model", &self.reranker),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.as_deref().map(|value| (key, Value::from(value))))
        .collect()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ingest and serve in one process, sharing the models
    Run,
    /// Ingest only: Kafka to Milvus
    Ingest(IngestArgs),
    /// Serve only: answer queries over NATS
    Serve,
    /// Put files and folders of markdown, text or HTML onto the topic
    Publish(PublishArgs),
    /// Ask a question over NATS, or one after the other (-i)
    Query(QueryArgs),
    /// Read documents as they are in the collection
    #[command(subcommand)]
    Documents(DocumentsCommand),
    /// Score texts of your own with the service's reranker
    Rerank(RerankArgs),
    /// Embed texts with the service's embedder, as JSON
    Embed(EmbedArgs),
    /// Lag, watermarks, rows and models, and what running workers know of themselves
    Status(StatusArgs),
    /// List, show and replay dead letters: records that could not be processed
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Check the configuration and every connection, or what the topic's records become
    Check(CheckArgs),
    /// Measure on a test set how good the answers are, and how many candidates they need
    Eval(EvalArgs),
    /// Look at a model by itself
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Print the JSON Schemas of the messages
    Schema(SchemaArgs),
}

/// Arguments of `ingest`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IngestArgs {
    /// End once everything that is on the topic is in Milvus and committed (exit code 0), with
    /// progress meanwhile and a summary at the end. Stopped before that, the exit code is 143
    /// (SIGTERM) or 130 (Ctrl-C), and the next run goes on from there
    #[arg(long)]
    pub(crate) until_caught_up: bool,
    /// Print the summary as JSON
    #[arg(long, requires = "until_caught_up")]
    pub(crate) json: bool,
    /// Exit code 3 instead of 0 if a record became a dead letter
    #[arg(long, requires = "until_caught_up")]
    pub(crate) fail_on_dead_letters: bool,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Files and folders; a document's id is its path below the folder named here
    #[arg(value_name = "PATH", required_unless_present = "delete")]
    pub(crate) paths: Vec<PathBuf>,
    /// Also send tombstones for documents on the topic whose file is gone (on a topic with several
    /// tenants or sources give each its own --id-prefix)
    #[arg(long, requires = "paths")]
    pub(crate) sync: bool,
    /// Send a tombstone for this document id
    #[arg(long, value_name = "ID")]
    pub(crate) delete: Vec<String>,
    /// Put in front of every id; --sync then looks only at ids that start with it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) id_prefix: String,
    /// Leave out files whose path matches this pattern (as in .gitignore)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Give every document a URL: this, followed by its path
    #[arg(long, value_name = "URL")]
    pub(crate) url_base: Option<String>,
    /// The tenant that the documents belong to
    #[arg(long, default_value = "")]
    pub(crate) tenant: String,
    /// The stream whose topic it is [default: the only one, or kafka.topic where that is set]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Print where every record went, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Ask this worker's HTTP endpoint for queue depths, freshness and embeddings saved; may be
    /// given several times [default: http.listen, if a worker answers there]
    #[arg(long, value_name = "URL")]
    pub(crate) worker: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Print the effective configuration, secrets redacted, and check nothing else
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Read N of the topic's records, show what each becomes, and check nothing else; joins no
    /// group, commits nothing, writes nothing
    #[arg(long, value_name = "N", conflicts_with = "print_config",
        value_parser = clap::value_parser!(u32).range(1..=MAX_SAMPLE))]
    pub(crate) sample: Option<u32>,
    /// With --sample: the stream whose topic is read [default: the only one, or kafka.topic where
    /// that is set]
    #[arg(long, requires = "sample", value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// With --sample: the oldest records [default: the newest]
    #[arg(long, requires = "sample")]
    pub(crate) from_beginning: bool,
    /// With --sample: also the beginning of each document's text
    #[arg(long, requires = "sample")]
    pub(crate) show_text: bool,
    /// With --sample: print JSON lines
    #[arg(long, requires = "sample")]
    pub(crate) json: bool,
}

/// Records of one sample: more is no sample, and all are held at once.
const MAX_SAMPLE: i64 = 1000;

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Load a model, say what it is, try it on one line and measure its speed
    Check(ModelArgs),
}

/// Arguments of `models check`.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A folder in Hugging Face layout, or a hub id such as intfloat/multilingual-e5-small
    #[arg(value_name = "FOLDER|ID")]
    pub(crate) model: String,
    /// Of a hub id: a branch, tag or commit [default: main]
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// A PEFT LoRA adapter, merged at load
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,
    /// What to load it as [default: what its files make it]
    #[arg(long, value_enum)]
    pub(crate) role: Option<ModelRole>,
    /// What an embedder puts before a query [default: what its files say]
    #[arg(long, value_name = "TEXT")]
    pub(crate) query_prompt: Option<String>,
    /// What an embedder puts before a document [default: what its files say]
    #[arg(long, value_name = "TEXT")]
    pub(crate) document_prompt: Option<String>,
    /// The numbers its linear layers compute in [default: f32 on a CPU, bf16 on a GPU]
    #[arg(long, value_enum)]
    pub(crate) precision: Option<ModelPrecision>,
    /// The line to embed, or to score
    #[arg(long, default_value = "Threads share data safely through a mutex in an Arc.")]
    pub(crate) text: String,
    /// The question that the line is compared with
    #[arg(long, default_value = "How do I share data between threads?")]
    pub(crate) query: String,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a model is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelRole {
    /// Stage 1: a text to a vector.
    Embedder,
    /// Stage 2: a question and a text to a score.
    Reranker,
}

/// The numbers that a model's linear layers compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelPrecision {
    /// Equal to the reference within rounding.
    F32,
    /// Faster, with oneDNN and AVX512-BF16 or AMX.
    Bf16,
    /// A quarter of the memory.
    #[value(name = "q8_0")]
    Q8_0,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which one, such as `document.v1`; all of them if left out
    pub(crate) name: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
