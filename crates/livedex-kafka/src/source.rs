//! [`KafkaSource`]: a consumer group member as the pipeline's source of records.

use std::{
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use livedex_core::{
    ports::{Acknowledger, RecordSource, ServiceError, SourceEvent},
    record::RawRecord,
};
use rdkafka::consumer::Consumer;
use tokio::sync::{mpsc, watch};

use crate::{
    KafkaConfig, KafkaError, SourceMonitor, client,
    diagnostics::lock,
    member::{Member, MemberConsumer},
    poll::{Poll, Wires},
    reach,
    shared::{KafkaAcknowledger, Shared},
};

/// Batches that wait for the pipeline. More than one, so that it never waits for the poll
/// thread; the bytes are bounded by the in-flight budget.
const WAITING_BATCHES: usize = 4;

/// When a source ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndMode {
    /// Never. [`SourceEvent::CaughtUp`] comes each time every owned partition's end is reached.
    Forever,
    /// Once every owned partition was read to its end since it was assigned:
    /// [`SourceEvent::CaughtUp`] is then the last event. Ends on a topic that never rests, too.
    UntilCaughtUp,
    /// Once everything that the owned partitions held when they were assigned was read, is
    /// finished, and the broker has confirmed that it is committed: [`SourceEvent::CaughtUp`] is
    /// then the last event. So a member that ends owes nothing, and a partition that is given to
    /// it until then, because another member ended or died, is caught up as well. A record that is
    /// never finished keeps it waiting.
    UntilCommitted,
}

/// Reads the topic as a member of the group; see the crate's documentation for what it keeps.
///
/// Dropping it commits what is finished and leaves the group in the background;
/// [`Stopper::close`] waits for that.
pub struct KafkaSource {
    events: mpsc::Receiver<SourceEvent>,
    stopped: watch::Receiver<bool>,
    stopper: Stopper,
    topic: Arc<str>,
    shared: Arc<Shared>,
    end: EndMode,
    /// Whether the last event was that it has caught up.
    is_caught_up: bool,
    is_ended: bool,
}

/// Stops and closes a [`KafkaSource`] from anywhere.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: watch::Sender<bool>,
    close: std_mpsc::Sender<Instant>,
    closed: watch::Receiver<Option<bool>>,
    brokers: String,
    drop_timeout: Duration,
}

impl Stopper {
    /// Nothing new is handed out from now on: [`RecordSource::next`] returns `None`, records
    /// that were read ahead are given up (uncommitted, so they are read again), and the source
    /// stays in the group for the finished records of what the pipeline still has.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops, commits what is finished, waits for the broker to confirm it, and leaves the
    /// group; all within `deadline` from now. What is not finished is read again by the next
    /// owner.
    ///
    /// To be called after the pipeline has finished, or given up, what it had. If the source was
    /// dropped before, this waits for what that began.
    pub async fn close(&self, deadline: Duration) -> Result<(), KafkaError> {
        self.stop();
        // Fails if the poll thread is closing already.
        let _ = self.close.send(Instant::now() + deadline);
        let mut closed = self.closed.clone();
        match tokio::time::timeout(deadline, closed.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) if *outcome == Some(true) => Ok(()),
            _ => Err(KafkaError::Timeout {
                brokers: self.brokers.clone(),
                waited: deadline,
                what: "committing the last offsets and leaving the group".to_owned(),
            }),
        }
    }
}

impl KafkaSource {
    /// Connects, checks the topic, subscribes and starts the poll thread.
    ///
    /// Blocks until a broker has answered, for [`KafkaConfig::start_timeout`] at most. An
    /// unreachable broker, a refused login and a missing topic are errors here; whatever happens
    /// to the broker later is waited out.
    pub fn start(config: &KafkaConfig, end: EndMode) -> Result<Self, KafkaError> {
        let client = client::consumer(config)?;
        let shared = Arc::new(Shared::new(config));
        let member = Member::new(config, Arc::clone(&shared));
        let consumer: MemberConsumer = client
            .create_with_context(member)
            .map_err(|error| refused(config, "setting up the consumer", &error))?;
        reach::partitions(config, &consumer, &consumer.context().diagnostics, &config.topic)?;
        consumer
            .subscribe(&[&config.topic])
            .map_err(|error| refused(config, "subscribing", &error))?;
        let consumer = Arc::new(consumer);
        Member::attach(config, &consumer)
            .map_err(|error| refused(config, "starting the consumer's threads", &error))?;

        let (events_in, events) = mpsc::channel(WAITING_BATCHES);
        let (stop, stopped) = watch::channel(false);
        let (close, close_out) = std_mpsc::channel();
        let (closed_in, closed) = watch::channel(None);
        let wires = Wires {
            events: events_in,
            stopped: stopped.clone(),
            close: close_out,
            closed: closed_in,
        };
        let poll = Poll::new(config, end, consumer, Arc::clone(&shared), wires);
        // What the thread logs is about the stream that starts it.
        let span = tracing::Span::current();
        thread::Builder::new()
            .name("livedex-kafka-poll".to_owned())
            .spawn(move || span.in_scope(|| poll.run()))
            .map_err(|error| refused(config, "starting the poll thread", &error))?;
        let stopper = Stopper {
            stop,
            close,
            closed,
            brokers: config.brokers.clone(),
            drop_timeout: config.revoke_timeout,
        };
        let topic = Arc::clone(&shared.topic);
        Ok(Self {
            events,
            stopped,
            stopper,
            topic,
            shared,
            end,
            is_caught_up: false,
            is_ended: false,
        })
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// A look at it from elsewhere.
    pub fn monitor(&self) -> SourceMonitor {
        SourceMonitor { shared: Arc::clone(&self.shared) }
    }

    /// [`Stopper::close`].
    pub async fn close(self, deadline: Duration) -> Result<(), KafkaError> {
        self.stopper.close(deadline).await
    }

    /// Why the events ended without being told to.
    fn end_of_events(&mut self) -> Option<Result<SourceEvent, ServiceError>> {
        self.is_ended = true;
        if let Some(error) = lock(&self.shared.failure).take() {
            return Some(Err(error.into()));
        }
        let is_done = self.end != EndMode::Forever && self.is_caught_up;
        if is_done || *self.stopped.borrow() {
            return None;
        }
        Some(Err(ServiceError::Reject("the Kafka poll thread ended by itself".to_owned())))
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.stopper.close.send(Instant::now() + self.stopper.drop_timeout);
        // What nobody will take is not waiting.
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            if let SourceEvent::Records(records) = event {
                self.shared.waiting.remove(&records);
            }
        }
    }
}

#[async_trait]
impl RecordSource for KafkaSource {
    async fn next(&mut self) -> Option<Result<SourceEvent, ServiceError>> {
        loop {
            if self.is_ended {
                return None;
            }
            let event = tokio::select! {
                biased;
                _ = self.stopped.wait_for(|is_stopped| *is_stopped) => {
                    self.is_ended = true;
                    return None;
                }
                event = self.events.recv() => event,
            };
            self.is_caught_up = match event {
                None => self.is_caught_up,
                Some(SourceEvent::CaughtUp) => true,
                Some(SourceEvent::Records(_)) => false,
            };
            match event {
                None => return self.end_of_events(),
                Some(SourceEvent::CaughtUp) => return Some(Ok(SourceEvent::CaughtUp)),
                Some(SourceEvent::Records(mut records)) => {
                    self.shared.waiting.remove(&records);
                    // Revoked while they waited: somebody else's now.
                    records.retain(|record: &RawRecord| record.lease.is_live());
                    if !records.is_empty() {
                        return Some(Ok(SourceEvent::Records(records)));
                    }
                }
            }
        }
    }

    fn acknowledger(&self) -> Arc<dyn Acknowledger> {
        Arc::new(KafkaAcknowledger {
            topic: Arc::clone(&self.topic),
            shared: Arc::clone(&self.shared),
        })
    }
}

fn refused(config: &KafkaConfig, what: &str, error: &dyn std::error::Error) -> KafkaError {
    KafkaError::Other {
        brokers: config.brokers.clone(),
        what: what.to_owned(),
        detail: error.to_string().replace(['\n', '\r'], " "),
    }
}
