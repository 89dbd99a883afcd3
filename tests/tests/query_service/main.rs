//! The query service over a real nats-server, with ports that live in memory.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod answers;
mod connecting;
mod fakes;
mod far;
mod overload;
mod raw;
mod rig;
mod secured;
mod stopping;

use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{Nats, Need, Suite};

fn main() -> ExitCode {
    let needs = &[Need::LocalServers];
    Suite::new()
        .test("a_query_is_answered_with_both_ranks", needs, || run(answers::both_ranks))
        .test("what_a_request_asks_for_reaches_the_search", needs, || run(answers::request))
        .test("bad_requests_get_typed_errors", needs, || run(answers::bad_requests))
        .test("a_reranker_that_fails_degrades_the_answer", needs, || run(answers::degraded))
        .test("failures_of_the_collection_are_typed", needs, || run(answers::collection_errors))
        .test("a_panic_is_a_typed_error_and_the_service_goes_on", needs, || run(answers::panics))
        .test("a_reply_larger_than_max_payload_is_truncated", needs, || run(answers::large_reply))
        .test("discovery_shows_schemas_models_and_outcomes", needs, || run(answers::discovery))
        .test("overload_is_answered_at_once", needs, || run(overload::refused_at_once))
        .test("a_deadline_ends_a_request", needs, || run(overload::deadlines))
        .test("two_instances_share_the_queue_group", needs, || run(overload::two_instances))
        .test("a_shutdown_finishes_what_is_in_flight", needs, || run(stopping::finishes))
        .test("a_shutdown_under_load_loses_no_request", needs, || run(stopping::under_load))
        .test("a_shutdown_far_away_under_load_loses_no_request", needs, || {
            run(stopping::under_load_far_away)
        })
        .test("a_shutdown_that_takes_too_long_answers_errors", needs, || run(stopping::gives_up))
        .test("a_server_that_is_not_there_is_one_line_within_seconds", needs, || {
            run(connecting::errors)
        })
        .test("tokens_and_users", needs, || block_on(secured::tokens_and_users()))
        .test("tls_and_client_certificates", needs, || block_on(secured::tls()))
        .run()
}

/// Runs a test with a nats-server of its own.
fn run<F: Future<Output = Result<()>>>(test: impl FnOnce(String) -> F) -> Result<()> {
    let nats = Nats::start()?;
    block_on(test(nats.url()))
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(test)
}
