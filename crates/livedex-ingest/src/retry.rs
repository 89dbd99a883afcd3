//! Waiting for servers that are away.
//!
//! A server that is busy, away or silent is asked again for ever, with jittered exponential
//! back-off, until it answers or nobody wants the answer any more. A shutdown ends it from
//! outside: the wave's task is aborted when its time is up.

use std::{
    future::Future,
    ops::Range,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use livedex_core::{lease::Lease, ports::ServiceError};

use crate::{config::Backoff, metrics};

/// How often a wait is mentioned in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    /// With an answer.
    Done(T),
    /// The server refuses it for good.
    Refused(String),
    /// It is no longer wanted.
    Abandoned {
        /// Whether an attempt may have been carried out, or may still be: a write whose answer
        /// did not come.
        is_open: bool,
    },
}

/// The waits between attempts, and what the log says about them.
pub(crate) struct Waiting {
    backoff: Backoff,
    step: &'static str,
    attempts: u32,
    since: Instant,
    logged: Option<Instant>,
}

impl Waiting {
    /// Nothing has failed yet at `step`, which names it in logs and metrics.
    pub(crate) fn new(backoff: Backoff, step: &'static str) -> Self {
        Self { backoff, step, attempts: 0, since: Instant::now(), logged: None }
    }

    /// Waits after an attempt that failed because of `reason`. `detail` may hold a server's text,
    /// so it is logged at debug only (INV-7).
    pub(crate) async fn pause(&mut self, reason: &'static str, detail: &str) {
        self.attempts += 1;
        metrics::retry(self.step);
        tracing::debug!(
            step = self.step,
            attempt = self.attempts,
            reason,
            detail,
            "attempt failed"
        );
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(
                step = self.step,
                attempts = self.attempts,
                waiting_s = self.since.elapsed().as_secs(),
                "waiting: {reason}"
            );
        }
        tokio::time::sleep(self.next_wait()).await;
    }

    fn next_wait(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(20);
        let wait = self.backoff.initial.saturating_mul(1 << doublings).min(self.backoff.max);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Notes that the last attempt was answered.
    pub(crate) fn over(&self) {
        if self.logged.is_some() {
            tracing::info!(
                step = self.step,
                attempts = self.attempts,
                waited_s = self.since.elapsed().as_secs(),
                "answered again"
            );
        }
    }
}

/// Asks until there is an answer. `wanted` is checked right before every attempt.
pub(crate) async fn until_answered<T, F>(
    backoff: Backoff,
    step: &'static str,
    wanted: impl Fn() -> bool,
    mut request: impl FnMut() -> F,
) -> Attempt<T>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    let mut waiting = Waiting::new(backoff, step);
    let mut is_open = false;
    loop {
        if !wanted() {
            return Attempt::Abandoned { is_open };
        }
        match request().await {
            Ok(answer) => {
                waiting.over();
                return Attempt::Done(answer);
            }
            Err(ServiceError::Reject(why)) => return Attempt::Refused(why),
            Err(ServiceError::Retry(why)) => {
                waiting.pause("the server is away or busy", &why).await;
            }
            Err(ServiceError::Unknown(why)) => {
                is_open = true;
                waiting.pause("the server did not answer in time", &why).await;
            }
        }
    }
}

/// How one item of a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Well.
    Done,
    /// The server refuses this very item for good.
    Refused(String),
    /// Its lease died.
    Dropped,
}

/// Sends a group of items (indices into `leases`) in one request. While any of their leases is
/// dead, no request is made with that item; when the server refuses the group, it is halved until
/// the guilty item stands alone. Returns one end an item.
pub(crate) async fn bisect<'a>(
    backoff: Backoff,
    step: &'static str,
    leases: &[Lease],
    group: Range<usize>,
    request: impl Fn(Range<usize>) -> BoxFuture<'a, Result<(), ServiceError>>,
) -> Vec<(usize, End)> {
    let mut ends = Vec::with_capacity(group.len());
    let mut stack = vec![group];
    while let Some(group) = stack.pop() {
        let all_live = || leases[group.clone()].iter().all(Lease::is_live);
        match until_answered(backoff, step, all_live, || request(group.clone())).await {
            Attempt::Done(()) => ends.extend(group.map(|index| (index, End::Done))),
            Attempt::Refused(why) if group.len() == 1 => {
                ends.push((group.start, End::Refused(why)));
            }
            Attempt::Refused(_) => {
                let middle = group.start + group.len() / 2;
                stack.push(middle..group.end);
                stack.push(group.start..middle);
            }
            Attempt::Abandoned { is_open } => {
                if is_open {
                    let dropped = group.clone().filter(|&index| !leases[index].is_live()).count();
                    metrics::unconfirmed(step, dropped);
                    tracing::warn!(
                        step,
                        documents = dropped,
                        "a write was given up that may still reach the collection: the partition \
                         is another member's now"
                    );
                }
                for index in group {
                    match (leases[index].is_live(), stack.last_mut()) {
                        (false, _) => ends.push((index, End::Dropped)),
                        (true, Some(last)) if last.end == index => last.end += 1,
                        (true, _) => stack.push(index..index + 1),
                    }
                }
            }
        }
    }
    ends
}

/// Cuts items into consecutive groups whose weights sum up to at most `limit`; an item that is
/// heavier stands alone.
pub(crate) fn groups(weights: &[usize], limit: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for (index, &weight) in weights.iter().enumerate() {
        match groups.last_mut() {
            Some(last) if sum + weight <= limit => {
                last.end = index + 1;
                sum += weight;
            }
            _ => {
                groups.push(index..index + 1);
                sum = weight;
            }
        }
    }
    groups
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const FAST: Backoff =
        Backoff { initial: Duration::from_micros(10), max: Duration::from_micros(100) };

    #[test]
    fn groups_are_consecutive_and_bounded() {
        assert_eq!(groups(&[3, 3, 3, 9, 1], 6), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(groups(&[0, 0, 0, 7], 6), [0..3, 3..4]);
        assert!(groups(&[], 6).is_empty());
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let backoff =
            Backoff { initial: Duration::from_millis(100), max: Duration::from_millis(350) };
        let mut waiting = Waiting::new(backoff, "test");
        for (attempts, least, most) in [(1, 50, 100), (2, 100, 200), (3, 175, 350), (99, 175, 350)]
        {
            waiting.attempts = attempts;
            let wait = waiting.next_wait();
            assert!(
                (Duration::from_millis(least)..=Duration::from_millis(most)).contains(&wait),
                "{attempts}: {wait:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_guilty_items_are_found_and_the_others_pass() {
        let leases = vec![Lease::new(); 10];
        let applied = Mutex::new(Vec::new());
        let mut ends = bisect(FAST, "test", &leases, 0..10, |group| {
            let applied = &applied;
            Box::pin(async move {
                if group.contains(&3) || group.contains(&8) {
                    return Err(ServiceError::Reject("bad row".into()));
                }
                applied.lock().unwrap().extend(group);
                Ok(())
            })
        })
        .await;
        ends.sort_by_key(|(index, _)| *index);
        for (index, end) in &ends {
            let expected =
                if [3, 8].contains(index) { End::Refused("bad row".into()) } else { End::Done };
            assert_eq!(*end, expected, "item {index}");
        }
        assert_eq!(ends.len(), 10);
        let mut applied = applied.into_inner().unwrap();
        applied.sort_unstable();
        assert_eq!(applied, [0, 1, 2, 4, 5, 6, 7, 9], "each exactly once");
    }

    #[tokio::test]
    async fn a_write_given_up_says_whether_it_may_still_happen() {
        for (error, expected) in
            [(ServiceError::Unknown("".into()), true), (ServiceError::Retry("".into()), false)]
        {
            let lease = Lease::new();
            let request = || {
                lease.kill();
                let outcome = Err::<(), _>(error.clone());
                async move { outcome }
            };
            let attempt = until_answered(FAST, "test", || lease.is_live(), request).await;
            assert!(
                matches!(attempt, Attempt::Abandoned { is_open } if is_open == expected),
                "{error}: {attempt:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_lease_that_dies_while_waiting_takes_only_its_item_out() {
        let leases: Vec<Lease> = (0..5).map(|_| Lease::new()).collect();
        let calls = Mutex::new(Vec::new());
        let mut ends = bisect(FAST, "test", &leases, 0..5, |group| {
            let (calls, leases) = (&calls, &leases);
            Box::pin(async move {
                calls.lock().unwrap().push(group.clone());
                if group.len() == 5 {
                    leases[1].kill();
                    return Err(ServiceError::Retry("away".into()));
                }
                Ok(())
            })
        })
        .await;
        ends.sort_by_key(|(index, _)| *index);
        let ends: Vec<End> = ends.into_iter().map(|(_, end)| end).collect();
        assert_eq!(ends, [End::Done, End::Dropped, End::Done, End::Done, End::Done]);
        let calls = calls.into_inner().unwrap();
        assert!(calls[1..].iter().all(|group| !group.contains(&1)), "{calls:?}");
    }
}
