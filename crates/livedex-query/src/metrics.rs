//! The metrics of the service, all in one place.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const REQUESTS: &str = "livedex_query_requests_total";
const SECONDS: &str = "livedex_query_seconds";
const IN_FLIGHT: &str = "livedex_query_in_flight";
const SLOW_CONSUMER: &str = "livedex_query_slow_consumer_total";

/// Tells the recorder what the metrics mean. Call it once, after a recorder is installed.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests by outcome: ok, degraded (answered without stage 2 though it was asked for), or \
         the code of the error"
    );
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "Time of each step of a query (embed, search, rerank), and from reading the request to \
         sending its reply (total)"
    );
    describe_gauge!(IN_FLIGHT, "Requests being answered");
    describe_counter!(SLOW_CONSUMER, "Requests dropped by the client because too many waited");
}

pub(crate) fn request(outcome: &'static str, total: Duration) {
    counter!(REQUESTS, "outcome" => outcome).increment(1);
    step("total", total);
}

pub(crate) fn step(step: &'static str, took: Duration) {
    histogram!(SECONDS, "step" => step).record(took);
}

pub(crate) fn in_flight(n: usize) {
    gauge!(IN_FLIGHT).set(n as f64);
}

pub(crate) fn slow_consumer() {
    counter!(SLOW_CONSUMER).increment(1);
}
