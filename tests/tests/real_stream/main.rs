//! A real stream: five years of a documentation site (milvus-io/milvus-docs, `site/en`), 4,547
//! events, through the production pipeline on Apache Kafka and Milvus Lite. What the collection
//! holds in the end, what it cost, and that reading it all again costs nothing.
//!
//! The stream is two files: `events.jsonl.gz`, with lines of `seq` (from 0), `op` (insert, update
//! or delete), `path` and `blob`, and `blobs.jsonl.gz`, with lines of `blob` and `text`.

mod chunks;
mod events;
mod share;
mod way;

use std::process::ExitCode;

use livedex_testkit::{Need, Suite, data};

/// The set of data that the stream is in.
const STREAM: &str = "milvus_docs_stream";

fn main() -> ExitCode {
    Suite::new()
        .test("the_diff_saves_three_embeddings_of_four", NEEDS_OF_THE_DIFF, || {
            share::the_diff_saves_three_embeddings_of_four(&events()?)
        })
        .test("the_stream_ends_as_its_last_tree", NEEDS_OF_THE_WAY, || {
            way::the_stream_ends_as_its_last_tree(&events()?)
        })
        .run()
}

/// The tokenizer comes with the servers' environment.
const NEEDS_OF_THE_DIFF: &[Need] = &[Need::Data(STREAM), Need::LocalServers];

const NEEDS_OF_THE_WAY: &[Need] = &[Need::Data(STREAM), Need::LocalServers, Need::ApacheKafka];

/// Says what was measured, below the test's name.
#[allow(clippy::print_stdout, reason = "the numbers are what the suite is run for")]
fn measured(line: std::fmt::Arguments<'_>) {
    println!("    {line}");
}

fn events() -> anyhow::Result<Vec<events::Event>> {
    events::read(&data::folder(STREAM).map_err(anyhow::Error::msg)?)
}
