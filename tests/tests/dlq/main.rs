//! `livedex dlq` on real brokers: dead letters listed, shown and replayed by the binary.

mod listing;
mod marks;
mod outage;
mod replaying;
mod restored;
mod support;

use std::process::ExitCode;

use livedex_testkit::{Broker, Kafka, Need, SharedBroker, Suite, stack::runtime};

fn main() -> ExitCode {
    let apache = SharedBroker::new(Broker::start_apache);
    let embedded = SharedBroker::new(Broker::start_embedded);
    let mut suite = Suite::new();
    macro_rules! on_both {
        ($($module:ident::$case:ident),* $(,)?) => {$({
            let broker = apache.clone();
            suite = suite.test(stringify!($case), &[Need::ApacheKafka], move || {
                let brokers = broker.brokers()?;
                runtime()?.block_on($module::$case(&brokers))
            });
            let broker = embedded.clone();
            suite = suite.test(concat!("embedded_", stringify!($case)), &[], move || {
                let brokers = broker.brokers()?;
                runtime()?.block_on($module::$case(&brokers))
            });
        })*};
    }
    on_both!(
        listing::letters_are_listed_counted_and_filtered,
        listing::a_letter_is_shown_whole_and_its_value_to_the_byte,
        replaying::what_is_replayed_is_what_was_refused_to_the_byte,
        replaying::the_order_of_a_key_stays,
        replaying::what_cannot_be_replayed_is_counted_and_never_a_tombstone,
        replaying::a_record_that_is_refused_again_keeps_its_first_position,
        marks::a_replay_goes_on_where_the_last_one_ended,
        marks::a_narrowed_replay_leaves_the_mark_alone,
        marks::the_mark_stays_before_what_could_still_be_replayed,
        marks::a_replay_that_is_killed_leaves_nothing_out,
    );
    suite
        .test("a_broker_that_does_not_answer_is_given_up", &[], || {
            outage::a_broker_that_does_not_answer_is_given_up()
        })
        .test("the_first_group_of_a_cluster_is_waited_for", &[Need::ApacheKafka], || {
            let kafka = Kafka::start()?;
            let brokers = kafka.brokers();
            runtime()?.block_on(outage::the_first_group_of_a_cluster_is_waited_for(&brokers))
        })
        .test("a_broker_that_falls_silent_ends_the_reading", &[Need::ApacheKafka], || {
            let mut kafka = Kafka::start()?;
            runtime()?.block_on(outage::a_broker_that_falls_silent_ends_the_reading(&mut kafka))
        })
        .test(
            "what_was_too_large_is_searchable_once_the_limit_is_raised",
            &[Need::ApacheKafka, Need::LocalServers],
            || restored::what_was_too_large_is_searchable(Broker::start_apache()?),
        )
        .test(
            "embedded_what_was_too_large_is_searchable_once_the_limit_is_raised",
            &[Need::LocalServers],
            || restored::what_was_too_large_is_searchable(Broker::start_embedded()?),
        )
        .run()
}
