//! `livedex-kafka` on Apache Kafka: what is read, committed, paused, moved and published. The
//! cases that need nothing special of the broker run on the embedded one too.

mod catching_up;
mod clients;
mod outage;
mod reading;
mod rebalancing;
mod standing_still;
mod support;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use livedex_testkit::{Broker, Kafka, Need, SharedBroker, Suite};
use rebalancing::Protocol;

fn block_on<T>(case: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(case)
}

#[allow(clippy::print_stderr, reason = "a member of its own process fails with a line")]
fn main() -> ExitCode {
    if let Some(member) = standing_still::member() {
        return match member {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nobody reads it any more: nothing to be done.
                let _ = writeln!(std::io::stderr(), "{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let apache = SharedBroker::new(Broker::start_apache);
    let embedded = SharedBroker::new(Broker::start_embedded);
    let mut suite = Suite::new();
    macro_rules! on_apache {
        ($($module:ident::$case:ident),* $(,)?) => {$({
            let broker = apache.clone();
            suite = suite.test(stringify!($case), &[Need::ApacheKafka], move || {
                let brokers = broker.brokers()?;
                block_on($module::$case(&brokers))
            });
        })*};
    }
    macro_rules! on_embedded {
        ($($module:ident::$case:ident),* $(,)?) => {$({
            let broker = embedded.clone();
            suite = suite.test(concat!("embedded_", stringify!($case)), &[], move || {
                let brokers = broker.brokers()?;
                block_on($module::$case(&brokers))
            });
        })*};
    }
    on_apache!(
        reading::records_come_once_in_order_and_are_committed,
        reading::commits_happen_while_it_runs_and_a_restart_resumes_there,
        reading::an_unfinished_record_holds_the_commit_back,
        reading::stop_hands_out_nothing_more_and_commits_what_is_finished,
        reading::back_pressure_pauses_stays_in_the_group_and_resumes,
        reading::caught_up_is_said_once_each_time,
        reading::a_record_larger_than_every_buffer_is_read,
        reading::a_missing_topic_and_a_dead_broker_are_typed_errors_in_time,
        reading::a_refused_login_is_a_typed_error_at_once,
        reading::a_second_member_with_the_same_instance_id_ends_the_first,
        catching_up::a_job_ends_once_the_broker_has_its_commits,
        catching_up::a_job_ends_on_a_topic_that_never_rests,
        rebalancing::a_member_paused_by_back_pressure_gets_partitions_paused,
        rebalancing::a_member_without_partitions_ends_in_catch_up_mode,
        standing_still::a_process_stopped_beyond_the_session_keeps_nothing,
        standing_still::a_process_stopped_within_the_session_reads_again,
        clients::dead_letters_are_kept_whole,
        clients::a_dead_letter_too_large_for_its_topic_is_kept_without_its_value,
        clients::a_message_too_large_names_value_and_limit,
        clients::publishing_many_at_once_is_not_refused_for_its_batches,
        clients::the_keys_alive_are_those_whose_last_record_has_a_value,
        clients::lag_counts_from_the_commit_or_the_start,
        clients::a_deleted_topic_is_gone_and_comes_back_empty,
        clients::a_deleted_group_has_committed_nothing,
    );
    for (name, protocol) in [
        ("a_second_member_takes_over_cooperatively", Protocol::Cooperative),
        ("a_second_member_takes_over_eagerly", Protocol::Eager),
        ("a_second_member_takes_over_by_the_new_protocol", Protocol::Consumer),
    ] {
        let broker = apache.clone();
        suite = suite.test(name, &[Need::ApacheKafka], move || {
            let brokers = broker.brokers()?;
            block_on(rebalancing::a_second_member_takes_over_and_nothing_is_lost(
                &brokers, protocol,
            ))
        });
    }
    for (name, protocol) in [
        ("a_partition_lost_while_paused_is_read_cooperatively", Protocol::Cooperative),
        ("a_partition_lost_while_paused_is_read_eagerly", Protocol::Eager),
    ] {
        let broker = apache.clone();
        suite = suite.test(name, &[Need::ApacheKafka], move || {
            let brokers = broker.brokers()?;
            block_on(rebalancing::a_partition_lost_while_paused_is_read_when_it_comes_back(
                &brokers, protocol,
            ))
        });
    }
    for (name, protocol) in [
        ("a_job_takes_over_what_another_leaves_behind", Protocol::Cooperative),
        ("a_job_takes_over_what_another_leaves_behind_eagerly", Protocol::Eager),
    ] {
        let broker = apache.clone();
        suite = suite.test(name, &[Need::ApacheKafka], move || {
            let brokers = broker.brokers()?;
            block_on(catching_up::a_job_takes_over_what_another_leaves_behind(&brokers, protocol))
        });
    }
    suite = suite
        .test("a_broker_that_is_killed_is_waited_out", &[Need::ApacheKafka], || {
            let mut kafka = Kafka::start()?;
            block_on(outage::a_broker_that_is_killed_is_waited_out(&mut kafka))
        })
        .test("a_broker_silent_beyond_the_session_ends_the_leases", &[Need::ApacheKafka], || {
            let mut kafka = Kafka::start()?;
            block_on(outage::a_broker_silent_beyond_the_session_ends_the_leases(&mut kafka))
        })
        .test("a_broker_that_hangs_does_not_hold_up_the_end", &[Need::ApacheKafka], || {
            let mut kafka = Kafka::start()?;
            block_on(outage::a_broker_that_hangs_does_not_hold_up_the_end(&mut kafka))
        });
    on_embedded!(
        reading::records_come_once_in_order_and_are_committed,
        reading::commits_happen_while_it_runs_and_a_restart_resumes_there,
        reading::an_unfinished_record_holds_the_commit_back,
        reading::caught_up_is_said_once_each_time,
        catching_up::a_job_ends_once_the_broker_has_its_commits,
        clients::dead_letters_are_kept_whole,
        clients::the_keys_alive_are_those_whose_last_record_has_a_value,
        clients::lag_counts_from_the_commit_or_the_start,
        clients::a_deleted_topic_is_gone_and_comes_back_empty,
        clients::a_deleted_group_has_committed_nothing,
    );
    suite.run()
}
