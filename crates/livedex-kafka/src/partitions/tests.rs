#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{sync::atomic::Ordering, time::Duration};

use super::*;
use crate::session;

const COST: usize = 100 + RECORD_OVERHEAD_BYTES;

fn read(table: &mut PartitionTable, partition: i32, offset: i64) -> Lease {
    match table.track(partition, offset, 100) {
        Tracked::New(lease) => lease,
        other => panic!("{partition}@{offset}: {other:?}"),
    }
}

#[test]
fn an_unfinished_record_holds_the_commit_back() {
    let mut table = PartitionTable::default();
    table.assign(&[0, 1]);
    let lease = read(&mut table, 0, 10);
    for offset in 11..20 {
        read(&mut table, 0, offset);
    }
    assert_eq!(table.unconfirmed(), [], "nothing is finished");
    for offset in (11..20).rev() {
        table.finish(0, offset, &lease);
    }
    assert_eq!(table.unconfirmed(), [], "10 is not finished");
    assert_eq!(table.in_flight_bytes(), COST);
    table.finish(0, 10, &lease);
    assert_eq!(table.unconfirmed(), [(0, 20)]);
    table.confirm(&[(0, 20)]);
    assert_eq!(table.unconfirmed(), []);
    assert_eq!(table.in_flight_bytes(), 0);
}

#[test]
fn a_revoke_kills_the_lease_keeps_the_progress_and_frees_the_budget() {
    let mut table = PartitionTable::default();
    table.assign(&[0, 1]);
    let old = read(&mut table, 0, 5);
    read(&mut table, 0, 6);
    let other = read(&mut table, 1, 7);
    table.finish(0, 5, &old);
    assert_eq!(table.kill(&[0]), [(0, 6)]);
    assert!(!old.is_live() && other.is_live());
    table.finish(0, 6, &old);
    assert_eq!(table.unconfirmed(), [(0, 6)], "a dead lease finishes nothing");
    table.forget(&[0]);
    assert_eq!((table.len(), table.in_flight_bytes()), (1, COST));

    // The same partition comes back: a late report under the old lease does not touch it.
    table.assign(&[0]);
    let new = read(&mut table, 0, 6);
    table.finish(0, 6, &old);
    assert_eq!(table.unconfirmed(), []);
    table.finish(0, 6, &new);
    assert_eq!(table.unconfirmed(), [(0, 7)]);
}

#[test]
fn a_session_that_stood_still_finishes_and_commits_nothing_more() {
    let (hand, clock) = session::tests::clock();
    let room = Duration::from_millis(100);
    let stalled = Arc::new(Session::with_clock(room, clock));
    let mut table = PartitionTable::default();
    table.begin(Arc::clone(&stalled));
    table.assign(&[0, 1]);
    let leases = [read(&mut table, 0, 5), read(&mut table, 0, 6), read(&mut table, 1, 7)];
    table.finish(0, 5, &leases[0]);
    assert_eq!(table.unconfirmed(), [(0, 6)]);
    hand.fetch_add(100, Ordering::Relaxed);
    assert!(leases.iter().all(|lease| !lease.is_live()), "nobody has killed them");
    table.finish(0, 6, &leases[1]);
    assert_eq!(table.unconfirmed(), [(0, 6)], "nothing is finished after that");

    table.begin(Arc::new(stalled.renewed()));
    assert_eq!((table.unconfirmed(), table.len(), table.in_flight_bytes()), (vec![], 0, 0));
    table.assign(&[0]);
    let lease = read(&mut table, 0, 5);
    assert!(lease.is_live());
    table.finish(0, 5, &leases[0]);
    assert_eq!(table.unconfirmed(), []);
    table.finish(0, 5, &lease);
    assert_eq!(table.unconfirmed(), [(0, 6)]);
}

#[test]
fn finishing_twice_gives_the_bytes_back_once() {
    let mut table = PartitionTable::default();
    table.assign(&[0]);
    let lease = read(&mut table, 0, 0);
    read(&mut table, 0, 1);
    table.finish(0, 0, &lease);
    table.finish(0, 0, &lease);
    assert_eq!(table.in_flight_bytes(), COST);
}

#[test]
fn a_record_is_handed_out_once() {
    let mut table = PartitionTable::default();
    table.assign(&[0]);
    let lease = read(&mut table, 0, 3);
    read(&mut table, 0, 4);
    assert!(matches!(table.track(0, 3, 1), Tracked::Duplicate));
    assert!(matches!(table.track(0, 4, 1), Tracked::Duplicate));
    table.finish(0, 3, &lease);
    assert!(matches!(table.track(0, 4, 1), Tracked::Duplicate), "4 is still in flight");
    assert!(matches!(table.track(9, 0, 1), Tracked::NotOurs));
}

#[test]
fn a_log_that_starts_over_is_read_again() {
    let mut table = PartitionTable::default();
    table.assign(&[0]);
    let old = read(&mut table, 0, 100);
    read(&mut table, 0, 101);
    table.finish(0, 100, &old);
    let new = match table.track(0, 0, 1) {
        Tracked::StartsOver(lease) => lease,
        other => panic!("{other:?}"),
    };
    assert!(!old.is_live() && new.is_live());
    table.finish(0, 101, &old);
    table.finish(0, 0, &new);
    assert_eq!(table.unconfirmed(), [(0, 1)], "the commit goes back with the log");
}

#[test]
fn the_end_is_momentary_or_once() {
    let mut table = PartitionTable::default();
    assert!(table.all_at_end() && table.is_empty());
    table.assign(&[0, 1]);
    assert!(!table.all_at_end());
    table.reached_end(0);
    table.reached_end(1);
    assert!(table.all_at_end());
    read(&mut table, 1, 0);
    assert!(!table.all_at_end() && table.all_read());
    table.assign(&[2]);
    assert!(!table.all_read());
}

#[test]
fn assigning_again_without_a_revoke_kills_the_old_lease() {
    let mut table = PartitionTable::default();
    table.assign(&[0]);
    let old = read(&mut table, 0, 0);
    table.assign(&[0]);
    assert!(!old.is_live());
    assert_eq!(table.in_flight_bytes(), 0);
}
