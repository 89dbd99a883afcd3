//! The command line of what asks a running service: `query`, `documents`, `rerank` and `embed`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{AfterArg, ConsistencyArg, GroupByArg, IncludeArg, KindArg, ModeArg, score};

/// What every request takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct CallArgs {
    /// Milliseconds to wait for the answer; the service is told, and ends its work by then
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    pub(crate) timeout_ms: u64,
    /// Print the reply as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is read, and how fresh it must be.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is read")]
pub(crate) struct ReadArgs {
    // Its name is also that of a flag that every command takes (milvus.collection); a service is
    // told only what the command line says.
    /// The collection [default: the service's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: Option<String>,
    /// Only documents of this tenant; "" is the default tenant
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// How fresh the data must be [default: bounded; strong with --after]
    #[arg(long, value_enum)]
    pub(crate) consistency: Option<ConsistencyArg>,
    /// See everything written before now (waits for Milvus' time tick): --consistency strong
    #[arg(long, conflicts_with = "consistency")]
    pub(crate) strong: bool,
    /// Wait until this record is in the collection; may be given several times
    #[arg(long, value_name = "TOPIC[PARTITION]@OFFSET")]
    pub(crate) after: Vec<AfterArg>,
    /// Wait for the records in this file ("-": standard input), as `livedex publish --json` prints
    /// them
    #[arg(long, value_name = "FILE")]
    pub(crate) after_file: Option<PathBuf>,
    /// What comes beside ids and scores, separated by commas; "none" for nothing
    /// [default: text,metadata]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) include: Option<Vec<IncludeArg>>,
}

/// Arguments of `query`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = QUERY_HELP)]
pub(crate) struct QueryArgs {
    /// The question
    #[arg(required_unless_present = "interactive", conflicts_with = "interactive")]
    pub(crate) text: Option<String>,
    /// Ask one question after the other, at a prompt or line by line from standard input
    #[arg(long, short)]
    pub(crate) interactive: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    // Last: its heading would be that of what follows.
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

const QUERY_HELP: &str = "\
Examples:
  livedex query \"How do I share data between threads?\" -k 5
  livedex query \"mutex\" --mode hybrid --also \"lock shared between threads\" --group-by document
  livedex publish docs/ --json | livedex query \"what is new?\" --after-file -
  livedex query -i

What each field means is in docs/querying.md.";

/// What is asked of the collection, beside the question.
#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// The same question in other words; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) also: Vec<String>,
    /// How stage 1 searches [default: the service's]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeArg>,
    /// How many hits [default: the service's]
    #[arg(long, short = 'k', value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// How many candidates stage 1 hands to stage 2 [default: the service's]
    #[arg(long, value_name = "N")]
    pub(crate) candidates: Option<usize>,
    /// A filter as JSON: '{"eq": {"field": "metadata.lang", "value": "en"}}'
    #[arg(long, value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// The task, for models that follow instructions
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruction: Option<String>,
    /// No reranking: the order and the scores are stage 1's
    #[arg(long)]
    pub(crate) no_rerank: bool,
    /// Stage 1 alone, asked on the subject `retrieve` (which may have other permissions)
    #[arg(long = "stage-1")]
    pub(crate) stage_1: bool,
    /// One hit for each document, with its other chunks that were found below it
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) group_by: Option<GroupByArg>,
    /// So many chunks on each side of a hit come with it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) neighbours: usize,
    /// Only hits whose final score is at least this, from 0 to 1
    #[arg(long, value_name = "X", value_parser = score)]
    pub(crate) min_score: Option<f32>,
    /// Show how the answer came about: routes, caches, fusion, watermarks
    #[arg(long)]
    pub(crate) explain: bool,
}

/// What to do with documents.
#[derive(Debug, Subcommand)]
pub(crate) enum DocumentsCommand {
    /// Print a document's chunks in their order, to its end
    Get(DocumentsGetArgs),
}

/// Arguments of `documents get`.
#[derive(Debug, Args)]
pub(crate) struct DocumentsGetArgs {
    /// The document's id
    pub(crate) id: String,
    /// The first chunk wanted, by its place in the document, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u32,
    /// So many chunks at most [default: all, page by page]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `rerank`.
#[derive(Debug, Args)]
pub(crate) struct RerankArgs {
    /// The question
    pub(crate) query: String,
    /// The texts to score
    #[arg(required_unless_present = "file")]
    pub(crate) texts: Vec<String>,
    /// Also the lines of this file ("-": standard input), each a text
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only so many of the best [default: all]
    #[arg(long, short = 'k', value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// The task, for models that follow instructions
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruction: Option<String>,
    #[command(flatten)]
    pub(crate) call: CallArgs,
}

/// Arguments of `embed`.
#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// The texts to embed
    #[arg(required = true)]
    pub(crate) texts: Vec<String>,
    /// What the texts are: models may put different prompts before them
    #[arg(long, value_enum, default_value = "query")]
    pub(crate) kind: KindArg,
    /// The task, for models that follow instructions
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruction: Option<String>,
    /// Milliseconds to wait for the answer
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    pub(crate) timeout_ms: u64,
}
