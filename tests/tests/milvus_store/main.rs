//! The Milvus crate against a real Milvus Lite: collections, rows, filters, searches, passages.

mod collections;
mod deletions;
mod filters;
mod fixtures;
mod hybrid;
mod injections;
mod passages;
mod rows;
mod search;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{MilvusLite, Need, Suite};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let needs = &[Need::LocalServers];
    // One server for a group of tests; each test uses a collection of its own.
    Suite::new()
        .test("collections", needs, || run(collections::all))
        .test("rows", needs, || run(rows::all))
        .test("deletions", needs, || run(deletions::all))
        .test("filters", needs, || run(filters::all))
        .test("injections", needs, || run(injections::all))
        .test("search", needs, || run(search::all))
        .test("words", needs, || run(words::all))
        .test("words_after_a_crash", needs, words_after_a_crash)
        .test("hybrid", needs, || run(hybrid::all))
        .test("passages", needs, || run(passages::all))
        .run()
}

fn run<F: Future<Output = Result<()>>>(tests: impl FnOnce(String) -> F) -> Result<()> {
    let server = MilvusLite::start()?;
    runtime()?.block_on(tests(server.uri()))
}

fn words_after_a_crash() -> Result<()> {
    runtime()?.block_on(words::after_a_crash(MilvusLite::start()?))
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}
