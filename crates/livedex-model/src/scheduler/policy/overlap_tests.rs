//! What a query finds in front of it on a device with a queue of its own.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use proptest::prelude::*;

use super::*;
use crate::scheduler::limits::BATCHES_IN_FLIGHT;

const BUDGET: usize = 100;
const INGEST_BUDGET: usize = 60;

fn policy() -> Policy {
    Policy::new(BUDGET, INGEST_BUDGET, Duration::ZERO, 1000).overlapping()
}

fn entry(ticket: Ticket, work: Work, tokens: usize, arrived: Instant) -> Entry {
    Entry { ticket, work, tokens: vec![tokens], shared: 0, arrived, deadline: None }
}

fn ran(step: Step) -> (Work, usize) {
    match step {
        Step::Run(batch) => (batch.work, batch.tokens),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ingest_alone_fills_both_places_with_full_batches() {
    let (mut policy, now) = (policy(), Instant::now());
    for ticket in 0..20 {
        policy.push(entry(ticket, Work::EmbedDocument, 15, now));
    }
    assert_eq!(ran(policy.next(now, 0)), (Work::EmbedDocument, 60));
    assert_eq!(ran(policy.next(now, 60)), (Work::EmbedDocument, 60));
}

#[test]
fn beside_queries_both_places_hold_one_budget_of_ingest() {
    let (mut policy, now) = (policy(), Instant::now());
    for ticket in 0..20 {
        policy.push(entry(ticket, Work::EmbedDocument, 15, now));
    }
    policy.push(entry(20, Work::EmbedQuery, 5, now));
    // Behind a full batch of before: the query, and no more ingest until that has ended.
    assert_eq!(ran(policy.next(now, 60)), (Work::EmbedQuery, 5));
    assert_eq!(policy.next(now, 60), Step::Idle);
    assert_eq!(ran(policy.next(now, 0)), (Work::EmbedDocument, 30));
    assert_eq!(ran(policy.next(now, 30)), (Work::EmbedDocument, 30));
    // A while later nobody asks any more.
    let later = now + QUERIES_ACTIVE;
    assert_eq!(ran(policy.next(later, 60)), (Work::EmbedDocument, 60));
}

#[test]
fn a_long_text_beside_queries_goes_alone_and_when_nothing_of_ingest_is_ahead() {
    let (mut policy, now) = (policy(), Instant::now());
    policy.push(entry(0, Work::EmbedQuery, 5, now));
    policy.push(entry(1, Work::EmbedDocument, 90, now));
    policy.push(entry(2, Work::EmbedDocument, 15, now));
    assert_eq!(ran(policy.next(now, 0)), (Work::EmbedQuery, 5));
    assert_eq!(policy.next(now, 15), Step::Idle);
    assert_eq!(ran(policy.next(now, 0)), (Work::EmbedDocument, 90));
    assert_eq!(policy.next(now, 90), Step::Idle);
}

/// Work, how long after the one before it it comes, in milliseconds, and its tokens.
type Arrival = (u64, Work, usize);

/// Runs all to the end on a device with two places that takes 20 µs a token.
fn simulate(arrivals: &[Arrival]) {
    let start = Instant::now();
    let (mut now, mut at) = (start, start);
    let mut coming: VecDeque<Entry> = (0..)
        .zip(arrivals)
        .map(|(ticket, &(gap, work, tokens))| {
            at += Duration::from_millis(gap);
            entry(ticket, work, tokens, at)
        })
        .collect();
    let mut policy = policy();
    let mut flight: VecDeque<(Batch, Instant)> = VecDeque::new();
    let (mut waiting, mut done) = (0, 0);
    // Query work that passed ingest while texts waited and a place was free for them.
    let mut passed = 0;
    loop {
        while coming.front().is_some_and(|entry| entry.arrived <= now) {
            let entry = coming.pop_front().unwrap();
            waiting += usize::from(entry.work.lane() == Lane::Query);
            policy.push(entry);
        }
        while flight.front().is_some_and(|(_, end)| *end <= now) {
            done += flight.pop_front().unwrap().0.parts.len();
        }
        let ingest = flight.iter().filter(|(batch, _)| batch.work == Work::EmbedDocument);
        let ahead: usize = ingest.map(|(batch, _)| batch.tokens).sum();
        let mut wake = None;
        if flight.len() < BATCHES_IN_FLIGHT {
            match policy.next(now, ahead) {
                Step::Run(batch) => {
                    let sequences: usize = batch.parts.iter().map(|(_, count)| count).sum();
                    if batch.work.lane() == Lane::Query {
                        waiting -= batch.parts.len();
                        if !policy.documents.is_empty() && ahead == 0 {
                            passed += batch.tokens;
                        }
                        assert!(batch.tokens <= BUDGET || sequences == 1);
                    } else {
                        // All this takes less than a pause of the queries.
                        let is_active = policy.last_query.is_some();
                        let together = batch.tokens + if is_active { ahead } else { 0 };
                        let goes_alone = sequences == 1 && (ahead == 0 || !is_active);
                        assert!(
                            together <= INGEST_BUDGET || goes_alone,
                            "{ahead} tokens and {batch:?}"
                        );
                        assert!(passed <= AGEING_BUDGETS * INGEST_BUDGET + 2 * BUDGET + 150);
                        passed = 0;
                    }
                    let begins = flight.back().map_or(now, |(_, end)| *end);
                    let end = begins + Duration::from_micros(20) * batch.tokens as u32;
                    flight.push_back((batch, end));
                    continue;
                }
                Step::WaitUntil(until) => wake = Some(until),
                Step::Idle => {}
            }
            assert_eq!(waiting, 0, "a query waits beside a free place");
        }
        let ends = flight.front().map(|(_, end)| *end);
        let arrives = coming.front().map(|entry| entry.arrived);
        match [ends, arrives, wake].into_iter().flatten().min() {
            Some(next) => now = next,
            None => break,
        }
    }
    assert_eq!(done, arrivals.len(), "every entry has one sequence and was run");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_ahead_of_a_query_is_bounded_and_nothing_is_lost(
        arrivals in prop::collection::vec(
            (
                0u64..4,
                prop::sample::select(vec![Work::EmbedQuery, Work::Rerank, Work::EmbedDocument]),
                prop_oneof![9 => 1usize..40, 1 => 40usize..150],
            ),
            0..120,
        ),
    ) {
        simulate(&arrivals);
    }
}
