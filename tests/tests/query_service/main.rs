//! The query service over a real nats-server, with ports that live in memory.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod answers;
mod connecting;
mod endpoints;
mod fakes;
mod far;
mod features;
mod fresh;
mod leaving;
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
        .test("retrieve_is_stage_1_alone", needs, || run(endpoints::retrieve))
        .test("rerank_scores_the_callers_texts", needs, || run(endpoints::rerank))
        .test("embed_embeds_queries_and_documents", needs, || run(endpoints::embed))
        .test("documents_are_read_in_pages", needs, || run(endpoints::documents))
        .test("chunks_are_grouped_by_document", needs, || run(features::grouping))
        .test("hits_bring_their_neighbours", needs, || run(features::neighbours))
        .test("hits_below_the_least_score_are_left_out", needs, || run(features::min_score))
        .test("several_texts_are_fused", needs, || run(features::several_texts))
        .test("stage_1_searches_by_words", needs, || run(features::by_words))
        .test("a_request_names_its_collection", needs, || run(features::collections))
        .test("a_tenant_can_be_made_mandatory", needs, || run(features::tenants))
        .test("the_consistency_asked_for_is_used", needs, || run(features::consistency))
        .test("what_was_computed_is_remembered", needs, || run(features::caches))
        .test("at_the_deadline_some_are_reranked", needs, || run(features::partly_reranked))
        .test("a_query_waits_for_its_records", needs, || run(fresh::waits))
        .test("those_who_wait_keep_nobody_out", needs, || run(fresh::waiters))
        .test("the_last_watermarks_are_remembered", needs, || run_with_jetstream(fresh::remembered))
        .test("an_ingester_finds_nats_later", needs, || block_on(fresh::later()))
        .test("a_full_instance_leaves_the_queue_group", needs, || run(leaving::full))
        .test("the_last_member_stays", needs, || run(leaving::last))
        .test("leaving_under_load_loses_no_request", needs, || run(leaving::under_load))
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

/// The same with JetStream.
fn run_with_jetstream<F: Future<Output = Result<()>>>(
    test: impl FnOnce(String) -> F,
) -> Result<()> {
    let nats = Nats::start_with_jetstream()?;
    block_on(test(nats.url()))
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(test)
}
