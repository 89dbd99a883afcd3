//! The metrics of the service, all in one place.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const REQUESTS: &str = "livedex_query_requests_total";
const SECONDS: &str = "livedex_query_seconds";
const IN_FLIGHT: &str = "livedex_query_in_flight";
const CACHE: &str = "livedex_query_cache_total";
const MEMBER: &str = "livedex_query_queue_group_member";
const SLOW_CONSUMER: &str = "livedex_query_slow_consumer_total";

/// Tells the recorder what the metrics mean. Call it once, after a recorder is installed.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests by endpoint and outcome: ok, degraded (stage 2 did not score all that it was asked \
         to), or the code of the error"
    );
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "Time of each step of a query (embed, search, rerank, neighbours), and from reading the request to \
         sending its reply (total)"
    );
    describe_gauge!(IN_FLIGHT, "Requests being answered");
    describe_counter!(
        CACHE,
        "Lookups by cache (rerank: scores of pairs, embedding: queries) and outcome (hit, miss)"
    );
    describe_gauge!(MEMBER, "1 while requests are taken from the queue group, 0 while too busy");
    describe_counter!(SLOW_CONSUMER, "Requests dropped by the client because too many waited");
}

/// Of what was looked up in a cache, how much was there.
pub(crate) fn cache(cache: &'static str, hits: usize, misses: usize) {
    counter!(CACHE, "cache" => cache, "outcome" => "hit").increment(hits as u64);
    counter!(CACHE, "cache" => cache, "outcome" => "miss").increment(misses as u64);
}

/// Whether the instance takes requests from the queue group.
pub(crate) fn member(is_member: bool) {
    gauge!(MEMBER).set(if is_member { 1.0 } else { 0.0 });
}

pub(crate) fn request(endpoint: &'static str, outcome: &'static str, total: Duration) {
    counter!(REQUESTS, "endpoint" => endpoint, "outcome" => outcome).increment(1);
    histogram!(SECONDS, "step" => "total", "endpoint" => endpoint).record(total);
}

pub(crate) fn step(step: &'static str, took: Duration) {
    histogram!(SECONDS, "step" => step, "endpoint" => "query").record(took);
}

pub(crate) fn in_flight(n: usize) {
    gauge!(IN_FLIGHT).set(n as f64);
}

pub(crate) fn slow_consumer() {
    counter!(SLOW_CONSUMER).increment(1);
}
