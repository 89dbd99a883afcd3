//! Records of other producers: what `livedex check --sample` says of them without a trace, and what
//! a worker makes of them.

use std::process::ExitCode;

use livedex_testkit::{Broker, Need, Suite};

mod events;
mod groups;
mod sample;
mod worker;

fn main() -> ExitCode {
    Suite::new()
        .test("a_sample_shows_what_records_become_and_leaves_no_trace", &[], || {
            let broker = Broker::start_preferring_apache()?;
            sample::a_sample_leaves_no_trace(&broker)?;
            sample::a_sample_is_spread_and_has_two_ends(&broker)?;
            sample::what_is_not_there_is_said(&broker)
        })
        // The embedded broker does not compact.
        .test("a_sample_looks_past_offsets_that_are_compacted_away", &[Need::ApacheKafka], || {
            sample::compacted_offsets_are_passed(&Broker::start_apache()?)
        })
        .test("a_worker_follows_a_table_through_debezium", &[Need::LocalServers], || {
            worker::a_table_is_followed(Broker::start_preferring_apache()?)
        })
        .run()
}
