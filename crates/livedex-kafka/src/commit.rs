//! Commits, with their results and with a deadline.
//!
//! librdkafka's synchronous commit on a thread of its own. Not its asynchronous one: rdkafka
//! never delivers the result of that (rust-rdkafka #856), so a refused commit would go unnoticed
//! until the records are read again. Not a synchronous one on the poll thread: it waits without
//! a bound (`socket.timeout.ms`, and `session.timeout.ms` more while the coordinator is away).
//!
//! Nothing is asked for once the session has ended under which it was finished (INV-4). What was
//! asked for before that comes too late then, and the broker refuses it: the member has another
//! generation by now, or none. If one still goes through it does no harm: everything below a
//! watermark is finished, whoever commits it. At worst the next owner's commit is set back, and
//! records are read twice.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use livedex_core::lease::Guard;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
};

use crate::{
    diagnostics::lock, member::MemberConsumer, metrics, partitions::Commit, session::Session,
    shared::Shared,
};

/// Commits that may wait: the periodic one, and those of a revoke and of the end whose deadlines
/// have passed.
const MAX_WAITING: usize = 8;

/// How long a periodic commit is worth making: it is made again anyway.
const PERIODIC_DEADLINE: Duration = Duration::from_secs(60);

struct Job {
    /// Under which the records were finished.
    session: Arc<Session>,
    commits: Vec<Commit>,
    deadline: Instant,
    done: SyncSender<bool>,
}

/// The commit thread. It ends when this is dropped.
pub(crate) struct Committer {
    jobs: SyncSender<Job>,
    /// Whether a periodic commit is under way.
    is_busy: Arc<AtomicBool>,
}

impl Committer {
    /// Starts the thread. It does not keep `consumer` alive beyond a commit.
    pub(crate) fn start(
        topic: Arc<str>,
        consumer: Weak<MemberConsumer>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(MAX_WAITING);
        let is_busy = Arc::new(AtomicBool::new(false));
        let worker = Worker { topic, consumer, shared, is_busy: Arc::clone(&is_busy) };
        thread::Builder::new()
            .name("livedex-kafka-commit".to_owned())
            .spawn(move || worker.run(&waiting))?;
        Ok(Self { jobs, is_busy })
    }

    /// Commits in the background, unless the commit before has not come back yet. The result
    /// goes to the table.
    pub(crate) fn commit(&self, session: &Arc<Session>, commits: impl FnOnce() -> Vec<Commit>) {
        if self.is_busy.load(Ordering::Acquire) {
            return;
        }
        let commits = commits();
        if commits.is_empty() {
            return;
        }
        self.is_busy.store(true, Ordering::Release);
        let (done, _) = mpsc::sync_channel(1);
        let deadline = Instant::now() + PERIODIC_DEADLINE;
        let job = Job { session: Arc::clone(session), commits, deadline, done };
        if self.jobs.try_send(job).is_err() {
            self.is_busy.store(false, Ordering::Release);
        }
    }

    /// Commits and waits for the broker's word, until `deadline` at most. Returns whether the
    /// broker confirmed: what it did not is read again.
    pub(crate) fn commit_until(
        &self,
        session: &Arc<Session>,
        commits: Vec<Commit>,
        deadline: Instant,
    ) -> bool {
        if commits.is_empty() {
            return true;
        }
        let answer = self.begin(session, commits, deadline);
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or(false)
    }

    /// Commits, if it can begin before `deadline`. Gives the place where the outcome will be: whether
    /// the broker confirmed.
    pub(crate) fn begin(
        &self,
        session: &Arc<Session>,
        commits: Vec<Commit>,
        deadline: Instant,
    ) -> Receiver<bool> {
        let (done, answer) = mpsc::sync_channel(1);
        // With no room for it `done` is dropped, and the receiver says so.
        let _ = self.jobs.try_send(Job { session: Arc::clone(session), commits, deadline, done });
        answer
    }
}

struct Worker {
    topic: Arc<str>,
    consumer: Weak<MemberConsumer>,
    shared: Arc<Shared>,
    is_busy: Arc<AtomicBool>,
}

impl Worker {
    fn run(self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let is_wanted = Instant::now() < job.deadline && job.session.is_live();
            let is_confirmed = is_wanted && self.commit(&job.commits);
            self.is_busy.store(false, Ordering::Release);
            // Nobody may be waiting any more.
            let _ = job.done.try_send(is_confirmed);
        }
    }

    fn commit(&self, commits: &[Commit]) -> bool {
        // Gone while the consumer is being destroyed; the last commit was made before that.
        let Some(consumer) = self.consumer.upgrade() else { return false };
        let result = consumer.commit(&self.list(commits), CommitMode::Sync);
        drop(consumer);
        metrics::committed(&self.shared.stream, result.is_ok());
        match result {
            Ok(()) => {
                lock(&self.shared.table).confirm(commits);
                self.shared.report_lag();
            }
            // Usually a rebalance is under way; the next commit says it again.
            Err(ref error) => {
                tracing::debug!(code = ?error.rdkafka_error_code(), "a commit failed")
            }
        }
        result.is_ok()
    }

    fn list(&self, commits: &[Commit]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for &(partition, offset) in commits {
            // Fails only for an offset that is no offset; a watermark is one.
            let _ = list.add_partition_offset(&self.topic, partition, Offset::Offset(offset));
        }
        list
    }
}
