//! What there was to read when a partition was assigned, and how its log grows meanwhile.
//!
//! librdkafka learns the end of a log from the answers to its fetches: so not before the first
//! one, and not while reading is paused, which is when the lag grows. Asking takes a round trip,
//! which the poll thread must not make; this is a thread of its own that asks after each
//! assignment, and every [`WHILE_PAUSED`] while reading is paused.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use crate::{KafkaConfig, diagnostics::lock, lag, partitions::Span, shared::Shared};

/// How often the ends are asked for while reading is paused: as often as others look at metrics.
const WHILE_PAUSED: Duration = Duration::from_secs(10);

/// How long to wait before a question that was not answered is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// The thread that asks. It ends when this is dropped.
pub(crate) struct Ends {
    wake: SyncSender<()>,
}

impl Ends {
    /// Starts the thread.
    pub(crate) fn start(config: &KafkaConfig, shared: Arc<Shared>) -> std::io::Result<Self> {
        // One waiting call is enough: whoever hears it looks at all that is not known.
        let (wake, woken) = mpsc::sync_channel(1);
        let asker = Asker { config: config.clone(), shared };
        thread::Builder::new()
            .name("livedex-kafka-ends".to_owned())
            .spawn(move || asker.run(&woken))?;
        Ok(Self { wake })
    }

    /// Tells that partitions were assigned.
    pub(crate) fn ask(&self) {
        let _ = self.wake.try_send(());
    }
}

struct Asker {
    config: KafkaConfig,
    shared: Arc<Shared>,
}

impl Asker {
    fn run(self, woken: &Receiver<()>) {
        let mut wait = WHILE_PAUSED;
        loop {
            match woken.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            wait = if self.ask() { WHILE_PAUSED } else { RETRY };
        }
    }

    /// Asks for what is not known. Returns whether it is known now.
    fn ask(&self) -> bool {
        let unknown = lock(&self.shared.table).without_span();
        let wanted: Vec<i32> = if self.shared.is_paused.load(Ordering::Relaxed) {
            let owned = lock(&self.shared.table).status();
            owned.into_iter().map(|status| status.partition).collect()
        } else {
            unknown.iter().map(|(partition, _)| *partition).collect()
        };
        if wanted.is_empty() {
            return true;
        }
        let KafkaConfig { group, topic, .. } = &self.config;
        match lag::read(&self.config, group, topic, Some(&wanted)) {
            Ok(found) => {
                let mut table = lock(&self.shared.table);
                for found in found {
                    let partition = found.partition;
                    table.grown(partition, found.high);
                    if let Some((_, lease)) = unknown.iter().find(|(one, _)| *one == partition) {
                        let start = found.committed.unwrap_or(found.low).max(found.low);
                        table.learn(partition, lease, Span { start, end: found.high });
                    }
                }
                drop(table);
                self.shared.report_lag();
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the ends of the partitions are not known yet");
                false
            }
        }
    }
}
