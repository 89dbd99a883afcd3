//! The dead-letter topic, followed while a test runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use livedex_core::{
    ports::{FinishedRecord, RecordSource as _, ServiceError, SourceEvent},
    record::RawRecord,
};
use livedex_kafka::{Admin, EndMode, KafkaConfig, KafkaSource};
use tokio::task::JoinHandle;

use crate::wait::until;

/// Reads the dead-letter topic to its end again and again. Dropping it ends it.
pub struct Letters {
    admin: Admin,
    topic: String,
    group: String,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    letters: Vec<RawRecord>,
    /// The offset behind the last letter, by partition.
    next: BTreeMap<i32, i64>,
    failure: Option<ServiceError>,
}

impl Letters {
    /// Begins at the first dead letter of [`KafkaConfig::dead_letter_topic`], which exists.
    pub async fn follow(config: &KafkaConfig) -> Result<Self> {
        let config = KafkaConfig {
            topic: config.dead_letter_topic.clone(),
            dead_letter_topic: "unused".to_owned(),
            group: format!("{}-letters", config.group),
            ..config.clone()
        };
        let (admin, topic) = (Admin::new(&config), config.topic.clone());
        let group = config.group.clone();
        let start = move || KafkaSource::start(&config, EndMode::Forever);
        let source = tokio::task::spawn_blocking(start).await??;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reader = tokio::spawn(read(source, Arc::clone(&seen)));
        Ok(Self { admin, topic, group, seen, reader })
    }

    /// All dead letters that were there when this was called, and maybe more.
    pub async fn all(&self, timeout: Duration) -> Result<Vec<RawRecord>> {
        let ends: BTreeMap<i32, i64> = self
            .admin
            .lag(&self.group, &self.topic)
            .await?
            .into_iter()
            .map(|lag| (lag.partition, lag.high))
            .collect();
        until("the dead letters", timeout, || async {
            let seen = lock(&self.seen);
            if let Some(error) = &seen.failure {
                bail!("the dead letters cannot be read: {error}");
            }
            let is_behind = ends.iter().any(|(partition, end)| {
                *end > 0 && seen.next.get(partition).is_none_or(|next| next < end)
            });
            Ok(if is_behind { Err("not read to the end".to_owned()) } else { Ok(()) })
        })
        .await?;
        Ok(lock(&self.seen).letters.clone())
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut source: KafkaSource, seen: Arc<Mutex<Seen>>) {
    let acknowledger = source.acknowledger();
    while let Some(event) = source.next().await {
        match event {
            Ok(SourceEvent::CaughtUp) => {}
            Ok(SourceEvent::Records(records)) => {
                for record in records {
                    acknowledger.finish(&FinishedRecord {
                        position: record.position.clone(),
                        bytes: record.size(),
                        lease: record.lease.clone(),
                    });
                    let mut seen = lock(&seen);
                    let next = seen.next.entry(record.position.partition).or_insert(0);
                    // After a rebalance some come again.
                    if record.position.offset >= *next {
                        *next = record.position.offset + 1;
                        seen.letters.push(record);
                    }
                }
            }
            Err(error) => {
                lock(&seen).failure = Some(error);
                return;
            }
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
