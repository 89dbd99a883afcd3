//! What happens to a group member: rebalances and lag.
//!
//! All of it runs on the poll thread, inside `poll` (and inside the consumer's destruction).
//!
//! The order on a revoke keeps INV-4: leases die first, under the table's lock; then what was
//! finished by that moment is committed, for at most [`KafkaConfig::revoke_timeout`], unless the
//! assignment is lost, for then another member may already have committed further; then the
//! partitions are forgotten. Nothing here waits for the pipeline.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering, mpsc::Receiver},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::KafkaError as RdError,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode,
};

use crate::{
    KafkaConfig,
    commit::Committer,
    diagnostics::{Diagnostics, lock},
    ends::Ends,
    metrics,
    shared::Shared,
};

/// The consumer as this crate uses it.
pub(crate) type MemberConsumer = BaseConsumer<Member>;

/// The context of the group member.
pub(crate) struct Member {
    topic: Arc<str>,
    shared: Arc<Shared>,
    revoke_timeout: Duration,
    pub(crate) diagnostics: Diagnostics,
    /// Set once the first contact was made.
    committer: OnceLock<Committer>,
    ends: OnceLock<Ends>,
}

impl Member {
    pub(crate) fn new(config: &KafkaConfig, shared: Arc<Shared>) -> Self {
        Self {
            topic: Arc::from(config.topic.as_str()),
            shared,
            revoke_timeout: config.revoke_timeout,
            diagnostics: Diagnostics::default(),
            committer: OnceLock::new(),
            ends: OnceLock::new(),
        }
    }

    /// Starts the threads that commit and ask for `consumer`, once the first contact was made.
    pub(crate) fn attach(
        config: &KafkaConfig,
        consumer: &Arc<MemberConsumer>,
    ) -> std::io::Result<()> {
        let member = consumer.context();
        let committer = Committer::start(
            Arc::clone(&member.topic),
            Arc::downgrade(consumer),
            Arc::clone(&member.shared),
        )?;
        let _ = member.committer.set(committer);
        let _ = member.ends.set(Ends::start(config, Arc::clone(&member.shared))?);
        Ok(())
    }

    /// Commits what is finished, in the background.
    pub(crate) fn commit(&self) {
        if let Some(committer) = self.committer.get() {
            committer.commit(&self.shared.session(), || lock(&self.shared.table).unconfirmed());
        }
    }

    /// Commits what is finished, if it can begin before `deadline`. Gives the place where the outcome
    /// will be; `None` if everything is committed.
    pub(crate) fn begin_commit(&self, deadline: Instant) -> Option<Receiver<bool>> {
        let commits = lock(&self.shared.table).unconfirmed();
        let committer = self.committer.get().filter(|_| !commits.is_empty())?;
        Some(committer.begin(&self.shared.session(), commits, deadline))
    }

    /// The partitions of our topic in `list`.
    fn partitions(&self, list: &TopicPartitionList) -> Vec<i32> {
        list.elements()
            .iter()
            .filter(|element| element.topic() == &*self.topic)
            .map(TopicPartitionListElem::partition)
            .collect()
    }

    fn revoke(&self, partitions: &[i32], is_lost: bool) {
        self.shared.revoked();
        let commits = lock(&self.shared.table).kill(partitions);
        tracing::info!(?partitions, is_lost, "partitions revoked");
        if !is_lost && let Some(committer) = self.committer.get() {
            // Half the room at most: the other partitions' leases live on the poll thread's polls.
            let session = self.shared.session();
            let wait = self.revoke_timeout.min(session.room() / 2);
            if !committer.commit_until(&session, commits, Instant::now() + wait) {
                tracing::warn!("finished records could not be committed and will be read again");
            }
        }
        lock(&self.shared.table).forget(partitions);
        for &partition in partitions {
            metrics::lag(&self.shared.stream, &self.topic, partition, 0);
        }
        metrics::rebalanced(&self.shared.stream, if is_lost { "lost" } else { "revoked" });
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.diagnostics.log(level, facility, line);
    }

    fn error(&self, error: RdError, reason: &str) {
        match error.rdkafka_error_code() {
            // The end of a partition comes this way as well, and so does what ends the source
            // and is returned by it.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::FencedInstanceId) => {}
            // Until the first contact the complaint becomes the error of the start.
            _ if self.committer.get().is_none() => {
                self.diagnostics.note(&error, reason);
            }
            _ => self.diagnostics.warn(&error, reason),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&*self.topic) else { return };
        let mut table = lock(&self.shared.table);
        for (&partition, seen) in &topic.partitions {
            // -1001 and the like: not known yet.
            if seen.hi_offset >= 0 {
                table.grown(partition, seen.hi_offset);
            }
        }
        drop(table);
        self.shared.report_lag();
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            // Empty lists do come (rust-rdkafka #681).
            let partitions = self.partitions(list);
            if !partitions.is_empty() {
                self.revoke(&partitions, consumer.assignment_lost());
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = self.partitions(list);
                lock(&self.shared.table).assign(&partitions);
                self.shared.assigned(Instant::now());
                if partitions.is_empty() {
                    return;
                }
                if let Some(ends) = self.ends.get() {
                    ends.ask();
                }
                // librdkafka keeps a pause over a revoke and the next assignment of the same
                // partition, and new partitions come unpaused: so it is said either way.
                let is_paused = self.shared.is_paused.load(Ordering::Relaxed);
                let said = if is_paused { consumer.pause(list) } else { consumer.resume(list) };
                if let Err(error) = said {
                    // Not paused: the budget is overshot. Not resumed: the next pause and
                    // resume end it.
                    tracing::warn!(%error, is_paused, "new partitions could not be paused or resumed");
                }
                tracing::info!(?partitions, "partitions assigned");
                metrics::rebalanced(&self.shared.stream, "assigned");
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance failed"),
        }
    }
}
