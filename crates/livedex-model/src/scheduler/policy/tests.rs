//! The guarantees of the policy's head, checked over random arrivals against bookkeeping of
//! their own.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BUDGET: usize = 100;
const LINGER: Duration = Duration::from_millis(5);
const INGEST_LIMIT: usize = 12;

#[derive(Debug, Clone)]
struct Arrival {
    at: Duration,
    work: Work,
    tokens: Vec<usize>,
    shared: usize,
    patience: Option<Duration>,
    gone_after: Option<Duration>,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    // Beyond the budget now and then: such a sequence must go alone.
    let tokens = || prop_oneof![9 => 1usize..60, 1 => 60usize..150];
    let work = prop_oneof![
        tokens().prop_map(|t| (Work::EmbedQuery, vec![t])),
        tokens().prop_map(|t| (Work::EmbedDocument, vec![t])),
        prop::collection::vec(tokens(), 1..20).prop_map(|t| (Work::Rerank, t)),
    ];
    let some_ms = |range| prop::option::weighted(0.15, range);
    // How much of the shortest sequence is shared: nothing, all but some, or all.
    let shared = prop::sample::select(vec![0.0, 0.3, 0.7, 1.0]);
    let arrival = (0u64..6, work, shared, some_ms(0u64..60), some_ms(0u64..60));
    prop::collection::vec(arrival, 0..80).prop_map(|arrivals| {
        let mut at = Duration::ZERO;
        let ms = Duration::from_millis;
        arrivals
            .into_iter()
            .map(|(gap, (work, tokens), part, patience, gone_after)| {
                at += ms(gap);
                let shortest = tokens.iter().copied().min().unwrap();
                let shared = match work {
                    Work::Rerank => (shortest as f64 * part) as usize,
                    _ => 0,
                };
                // Documents have no deadline.
                let patience = patience.filter(|_| work != Work::EmbedDocument).map(ms);
                Arrival { at, work, tokens, shared, patience, gone_after: gone_after.map(ms) }
            })
            .collect()
    })
}

/// What the test knows of a ticket that is still queued.
#[derive(Debug)]
struct Known {
    work: Work,
    arrived: Instant,
    deadline: Option<Instant>,
    gone: Option<Instant>,
    left: VecDeque<usize>,
    shared: usize,
    /// Tokens reranked when it came, and its own, shared ones once.
    came_at: u64,
    total: u64,
}

#[derive(Default)]
struct Book {
    queued: BTreeMap<Ticket, Known>,
    reranked: u64,
    /// Query work since the last ingest batch while texts waited.
    charge: usize,
    /// Query work while an ingest batch was ready.
    charge_while_ready: usize,
    /// The last query-lane batch and whether the other kind waited then.
    last_query: Option<(Work, bool)>,
}

impl Book {
    fn waiting(&self, work: Work) -> impl Iterator<Item = (&Ticket, &Known)> {
        self.queued.iter().filter(move |(_, known)| known.work == work)
    }

    fn query_waits(&self) -> bool {
        self.queued.values().any(|known| known.work.lane() == Lane::Query)
    }

    fn ingest_ready(&self, now: Instant) -> bool {
        let documents = || self.waiting(Work::EmbedDocument).map(|(_, known)| known);
        documents().flat_map(|known| &known.left).sum::<usize>() >= BUDGET
            || documents().count() >= INGEST_LIMIT
            || documents().any(|known| known.arrived + LINGER <= now)
    }

    fn sweep(&mut self, dropped: Vec<(Ticket, Dropped)>, now: Instant) {
        for (ticket, reason) in dropped {
            let known = self.queued.remove(&ticket).expect("dropped once, while queued");
            let late = known.deadline.is_some_and(|deadline| deadline <= now);
            match reason {
                Dropped::Deadline => assert!(late),
                Dropped::Cancelled => assert!(!late && known.gone.is_some_and(|at| at <= now)),
            }
        }
        if self.waiting(Work::EmbedDocument).next().is_none() {
            self.charge = 0;
            self.charge_while_ready = 0;
        }
        for known in self.queued.values() {
            assert!(known.deadline.is_none_or(|at| at > now), "expired work stayed");
            assert!(known.gone.is_none_or(|at| at > now), "cancelled work stayed");
        }
    }

    fn run(&mut self, batch: &Batch, now: Instant) {
        let lane = batch.work.lane();
        let ready = self.ingest_ready(now);
        if lane == Lane::Ingest {
            assert!(ready, "an ingest batch before its time");
            let owed = self.charge >= AGEING_BUDGETS * BUDGET;
            assert!(owed || !self.query_waits(), "ingest before a query without being owed");
            self.charge = 0;
            self.charge_while_ready = 0;
        } else {
            let owed = self.charge_while_ready >= AGEING_BUDGETS * BUDGET;
            assert!(!(ready && owed), "ingest starves");
            let charge = batch.tokens.max(BUDGET / AGEING_MIN_CHARGE);
            self.charge += charge;
            self.charge_while_ready = if ready { self.charge_while_ready + charge } else { 0 };
            let other = match batch.work {
                Work::EmbedQuery => Work::Rerank,
                _ => Work::EmbedQuery,
            };
            let other_waits = self.waiting(other).next().is_some();
            assert!(
                self.last_query != Some((batch.work, true)) || !other_waits,
                "{:?} twice while {other:?} waited",
                batch.work
            );
            self.last_query = Some((batch.work, other_waits));
        }
        self.hand_out(batch);
    }

    fn hand_out(&mut self, batch: &Batch) {
        let mut tokens = 0;
        let mut sequences = 0;
        for &(ticket, count) in &batch.parts {
            assert!(count > 0);
            if batch.work == Work::Rerank {
                self.check_passed(ticket);
            } else {
                let first = self.waiting(batch.work).next().map(|(&ticket, _)| ticket);
                assert_eq!(first, Some(ticket), "not in order of arrival");
            }
            let known = self.queued.get_mut(&ticket).expect("handed out while queued");
            assert_eq!(known.work, batch.work, "one kind of work");
            tokens += known.left.drain(..count).sum::<usize>() - known.shared * (count - 1);
            sequences += count;
            if known.left.is_empty() {
                self.queued.remove(&ticket);
            }
        }
        assert_eq!(tokens, batch.tokens);
        assert!(sequences > 0, "an empty batch");
        assert!(tokens <= BUDGET || sequences == 1, "{tokens} tokens in {sequences} sequences");
        if batch.work == Work::Rerank {
            self.reranked += tokens as u64;
        }
    }

    /// Nobody is passed by a reranking that came after as many tokens as it has were reranked.
    fn check_passed(&self, ticket: Ticket) {
        let came_at = self.queued[&ticket].came_at;
        for (&other, known) in self.waiting(Work::Rerank) {
            assert!(
                other >= ticket || came_at < known.came_at + known.total,
                "reranking {other} was passed by {ticket}"
            );
        }
    }
}

/// Runs all arrivals to the end on a device that takes 20 µs a token; every assertion of
/// [`Book`] holds at each step.
fn simulate(arrivals: &[Arrival]) -> Vec<Batch> {
    let start = Instant::now();
    let mut now = start;
    let mut policy = Policy::new(BUDGET, BUDGET, LINGER, INGEST_LIMIT);
    let mut book = Book::default();
    let mut coming = arrivals.iter().enumerate().peekable();
    let mut batches = Vec::new();
    loop {
        while let Some((index, arrival)) = coming.next_if(|(_, a)| start + a.at <= now) {
            let (ticket, arrived) = (index as Ticket, start + arrival.at);
            let deadline = arrival.patience.map(|patience| arrived + patience);
            let Arrival { work, tokens, shared, .. } = arrival.clone();
            let known = Known {
                work,
                arrived,
                deadline,
                gone: arrival.gone_after.map(|after| arrived + after),
                left: tokens.iter().copied().collect(),
                came_at: book.reranked,
                shared,
                total: (tokens.iter().sum::<usize>() - shared * (tokens.len() - 1)) as u64,
            };
            book.queued.insert(ticket, known);
            policy.push(Entry { ticket, work, tokens, shared, arrived, deadline });
        }
        let gone = |ticket| book.queued[&ticket].gone.is_some_and(|at| at <= now);
        let dropped = policy.sweep(now, gone);
        book.sweep(dropped, now);
        let next_arrival = coming.peek().map(|(_, arrival)| start + arrival.at);
        match policy.next(now, 0) {
            Step::Run(batch) => {
                book.run(&batch, now);
                now += Duration::from_micros(20) * batch.tokens as u32;
                batches.push(batch);
            }
            Step::WaitUntil(until) => {
                assert!(!book.query_waits(), "a query lingers");
                assert!(until > now, "a wait that is over");
                now = next_arrival.map_or(until, |arrival| arrival.min(until));
            }
            Step::Idle => {
                assert!(book.queued.is_empty(), "lost: {:?}", book.queued);
                match next_arrival {
                    Some(arrival) => now = arrival,
                    None => return batches,
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_lost_or_starved_and_bounds_hold(arrivals in arrivals()) {
        simulate(&arrivals);
    }
}

fn at_once(work: Work, tokens: &[usize]) -> Arrival {
    let tokens = tokens.to_vec();
    Arrival { at: Duration::ZERO, work, tokens, shared: 0, patience: None, gone_after: None }
}

fn works(batches: &[Batch]) -> Vec<(Work, usize)> {
    batches.iter().map(|batch| (batch.work, batch.tokens)).collect()
}

#[test]
fn queries_go_before_rerankings_before_documents() {
    use Work::{EmbedDocument, EmbedQuery, Rerank};
    let batches = simulate(&[
        at_once(EmbedDocument, &[100]),
        at_once(Rerank, &[50, 50, 50]),
        at_once(EmbedQuery, &[10]),
        at_once(EmbedQuery, &[10]),
    ]);
    assert_eq!(
        works(&batches),
        [(EmbedQuery, 20), (Rerank, 100), (Rerank, 50), (EmbedDocument, 100)]
    );
}

#[test]
fn what_a_request_shares_costs_each_batch_once() {
    // 30 shared and 10 of its own each: the first costs 40, then seven of 10 would be 110.
    let rerank = Arrival { shared: 30, ..at_once(Work::Rerank, &[40; 10]) };
    let batches = simulate(&[rerank.clone(), rerank]);
    // The second batch pays the first request's prefix again, and that of the second one.
    assert_eq!(batches[0].parts, [(0, 7)]);
    assert_eq!(batches[1].parts, [(0, 3), (1, 1)]);
    let tokens: Vec<usize> = batches.iter().map(|batch| batch.tokens).collect();
    assert_eq!(tokens, [100, 100, 100, 50]);
}

#[test]
fn ingest_gets_a_fifth_of_a_saturated_device() {
    use Work::{EmbedDocument, Rerank};
    let mut arrivals = vec![at_once(EmbedDocument, &[100]); 4];
    arrivals.extend(vec![at_once(Rerank, &[100]); 16]);
    let batches = simulate(&arrivals);
    let turns: Vec<usize> =
        (0..batches.len()).filter(|&i| batches[i].work == EmbedDocument).collect();
    assert_eq!(turns, [4, 9, 14, 19]);
}

#[test]
fn a_small_reranking_passes_a_large_one_that_has_just_begun() {
    let mut policy = Policy::new(BUDGET, BUDGET, LINGER, INGEST_LIMIT);
    let now = Instant::now();
    let rerank = |ticket, tokens| Entry {
        ticket,
        work: Work::Rerank,
        tokens,
        shared: 0,
        arrived: now,
        deadline: None,
    };
    let parts = |step| match step {
        Step::Run(Batch { parts, .. }) => parts,
        other => panic!("{other:?}"),
    };
    policy.push(rerank(1, vec![50; 8]));
    assert_eq!(parts(policy.next(now, 0)), [(1, 2)]);
    policy.push(rerank(2, vec![50]));
    assert_eq!(parts(policy.next(now, 0)), [(2, 1), (1, 1)]);
    // Now that the first one's share is nearly used up, an equal one waits behind it.
    policy.push(rerank(3, vec![50; 6]));
    for _ in 0..2 {
        assert_eq!(parts(policy.next(now, 0)), [(1, 2)]);
    }
    assert_eq!(parts(policy.next(now, 0)), [(1, 1), (3, 1)]);
}

#[test]
fn an_incomplete_ingest_batch_lingers_and_a_full_lane_does_not() {
    let now = Instant::now();
    let text = |ticket| Entry {
        ticket,
        work: Work::EmbedDocument,
        tokens: vec![1],
        shared: 0,
        arrived: now,
        deadline: None,
    };
    let mut policy = Policy::new(BUDGET, BUDGET, LINGER, 3);
    policy.push(text(1));
    assert_eq!(policy.next(now, 0), Step::WaitUntil(now + LINGER));
    policy.push(text(2));
    policy.push(text(3));
    assert!(matches!(policy.next(now, 0), Step::Run(batch) if batch.tokens == 3));
    policy.push(text(4));
    assert!(matches!(policy.next(now + LINGER, 0), Step::Run(batch) if batch.tokens == 1));
    assert_eq!(policy.next(now, 0), Step::Idle);
}

#[test]
fn an_ingest_batch_keeps_to_its_own_budget() {
    let now = Instant::now();
    let batch_of = |policy: &mut Policy| match policy.next(now + LINGER, 0) {
        Step::Run(batch) => (batch.work, batch.tokens),
        step => panic!("{step:?}"),
    };
    let mut policy = Policy::new(100, 30, LINGER, INGEST_LIMIT);
    let push = |policy: &mut Policy, ticket, work, tokens: &[usize]| {
        policy.push(Entry {
            ticket,
            work,
            tokens: tokens.to_vec(),
            shared: 0,
            arrived: now,
            deadline: None,
        });
    };
    for ticket in 0..4 {
        push(&mut policy, ticket, Work::EmbedDocument, &[15]);
    }
    push(&mut policy, 9, Work::Rerank, &[25; 4]);
    assert_eq!(batch_of(&mut policy), (Work::Rerank, 100));
    assert_eq!(batch_of(&mut policy), (Work::EmbedDocument, 30));
    // Out of memory lowers both.
    policy.set_budget(20);
    assert_eq!(batch_of(&mut policy), (Work::EmbedDocument, 15));
}
