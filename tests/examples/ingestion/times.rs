//! How long a pipeline was at work.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use livedex_core::ports::{Acknowledger, FinishedRecord, RecordSource, ServiceError, SourceEvent};
use livedex_kafka::KafkaSource;

/// When the first record came and the last one was finished.
#[derive(Default)]
pub(crate) struct Times(Mutex<(Option<Instant>, Option<Instant>)>);

impl Times {
    fn note(&self, note: impl FnOnce(&mut (Option<Instant>, Option<Instant>))) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From the one to the other.
    pub(crate) fn seconds(&self) -> Result<f64> {
        let mut times = (None, None);
        self.note(|noted| times = *noted);
        let first = times.0.context("no record came")?;
        Ok((times.1.context("no record was finished")? - first).as_secs_f64())
    }
}

/// A source that notes them.
pub(crate) struct Timed {
    pub(crate) source: KafkaSource,
    pub(crate) times: Arc<Times>,
}

#[async_trait]
impl RecordSource for Timed {
    async fn next(&mut self) -> Option<Result<SourceEvent, ServiceError>> {
        let event = self.source.next().await;
        if let Some(Ok(SourceEvent::Records(_))) = &event {
            self.times.note(|times| times.0 = times.0.or_else(|| Some(Instant::now())));
        }
        event
    }

    fn acknowledger(&self) -> Arc<dyn Acknowledger> {
        Arc::new(TimedEnd { inner: self.source.acknowledger(), times: self.times.clone() })
    }
}

struct TimedEnd {
    inner: Arc<dyn Acknowledger>,
    times: Arc<Times>,
}

impl Acknowledger for TimedEnd {
    fn finish(&self, record: &FinishedRecord) {
        self.inner.finish(record);
        self.times.note(|times| times.1 = Some(Instant::now()));
    }
}
