//! Ingestion proved by killing it: real workers on Apache Kafka and Milvus Lite are killed, stopped
//! and cut off from their servers, and then every row, every vector, every dead letter and every
//! committed offset is compared with what was produced.
//!
//! A short set runs in CI. The rest takes minutes and runs with `LIVEDEX_CRASH=all`
//! (`make test-crash`); docs/guarantees.md names every fault and its test.

mod broker;
mod kill;
mod load;
mod milvus_answers;
mod milvus_away;
mod network;
mod poison;
mod soak;
mod storm;
mod support;
mod zombie;

use std::process::ExitCode;
use std::time::Duration;

use livedex_testkit::{Need, Suite, crash::Point};
use support::Servers;

const SHORT: &[Need] = &[Need::ApacheKafka, Need::LocalServers];
const LONG: &[Need] = &[Need::Time, Need::ApacheKafka, Need::LocalServers];

fn main() -> ExitCode {
    let servers = Servers::default();
    let mut suite = Suite::new();
    macro_rules! case {
        ($needs:expr, $name:literal, |$servers:ident| $body:expr) => {{
            let $servers = servers.clone();
            suite = suite.test($name, $needs, move || $body);
        }};
    }
    case!(SHORT, "kill_seeds", |servers| kill::seeds(&servers));
    case!(SHORT, "poison_first_middle_and_last", |servers| poison::everywhere(&servers));
    case!(SHORT, "poison_and_ten_thousand_chunks", |servers| poison::a_large_document(&servers));
    case!(SHORT, "poison_while_dead_letters_fail", |servers| poison::letters_fail(&servers));
    case!(LONG, "poison_without_a_dead_letter_topic", |servers| poison::no_topic(&servers));
    case!(SHORT, "zombie_before_upsert", |servers| {
        zombie::stopped_at(&servers, Point::BeforeUpsert)
    });
    case!(LONG, "zombie_after_embed", |servers| zombie::stopped_at(&servers, Point::AfterEmbed));
    case!(LONG, "zombie_before_delete", |servers| {
        zombie::stopped_at(&servers, Point::AfterUpsertBeforeDelete)
    });
    case!(LONG, "zombie_before_ack", |servers| {
        zombie::stopped_at(&servers, Point::AfterWriteBeforeAck)
    });
    case!(LONG, "zombie_at_random_times", |servers| zombie::stopped_anywhere(&servers));
    case!(SHORT, "storm_short", |servers| {
        storm::storm(&servers, "cooperative-sticky", Duration::from_secs(12))
    });
    case!(LONG, "storm_cooperative", |servers| {
        storm::storm(&servers, "cooperative-sticky", Duration::from_secs(40))
    });
    case!(LONG, "storm_eager", |servers| storm::storm(&servers, "range", Duration::from_secs(40)));
    case!(LONG, "broker_restarted", |servers| broker::restarted(&servers));
    case!(LONG, "broker_down_for_30_s", |servers| broker::down(&servers));
    case!(LONG, "broker_silent_for_30_s", |servers| broker::silent(&servers));
    case!(LONG, "milvus_away", |servers| milvus_away::killed(&servers));
    case!(SHORT, "milvus_rate_limit_and_quota", |servers| {
        milvus_answers::rate_limit_and_quota(&servers)
    });
    case!(SHORT, "milvus_rejects_one_document", |servers| milvus_answers::one_document(&servers));
    case!(SHORT, "milvus_applies_and_fails", |servers| {
        milvus_answers::applies_and_fails(&servers, false)
    });
    case!(LONG, "milvus_applies_and_fails_and_workers_die", |servers| {
        milvus_answers::applies_and_fails(&servers, true)
    });
    case!(LONG, "network_latency", |servers| network::latency(&servers));
    case!(LONG, "network_black_hole_kafka", |servers| network::silent_for_one(&servers, false));
    case!(LONG, "network_black_hole_both", |servers| network::silent_for_one(&servers, true));
    case!(LONG, "network_black_hole_milvus", |servers| network::silent_milvus(&servers));
    case!(LONG, "network_resets", |servers| network::resets(&servers));
    case!(LONG, "soak", |servers| soak::soak(&servers));
    let code = suite.run();
    servers.stop();
    code
}
