//! The Milvus crate against a real Milvus Lite: collections, rows, filters, search.

mod collections;
mod deletions;
mod filters;
mod fixtures;
mod rows;
mod search;

use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{MilvusLite, Need, Suite};

fn main() -> ExitCode {
    let needs = &[Need::LocalServers];
    // One server for a group of tests; each test uses a collection of its own.
    Suite::new()
        .test("collections", needs, || run(collections::all))
        .test("rows", needs, || run(rows::all))
        .test("deletions", needs, || run(deletions::all))
        .test("filters", needs, || run(filters::all))
        .test("search", needs, || run(search::all))
        .run()
}

fn run<F: Future<Output = Result<()>>>(tests: impl FnOnce(String) -> F) -> Result<()> {
    let server = MilvusLite::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(tests(server.uri()))
}
