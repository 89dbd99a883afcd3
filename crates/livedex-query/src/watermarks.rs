//! Watermarks on their way from ingesters to query workers, over NATS.
//!
//! An ingester says on the subject `<prefix>.watermarks` how far it is, whenever that changes and once
//! a second in any case: that is how query workers hear of it within milliseconds. Where the server has
//! JetStream it also keeps the last word on each partition in the key-value bucket
//! `<prefix>_watermarks`, from which a query worker that starts later learns it at once, also when no
//! ingester runs any more.

use std::{collections::HashMap, time::Duration};

use async_nats::{
    Client,
    jetstream::{self, kv},
};
use futures::StreamExt;
use livedex_wire::{
    time::now_millis,
    watermarks::{PartitionWatermark, WatermarksV1},
};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    config::NatsConfig,
    connect::{connect_whenever, one_line},
    freshness::Watermarks,
};

/// How often an ingester looks whether its watermarks have moved: what a query that waits for a record
/// waits longer for it.
const LOOK: Duration = Duration::from_millis(25);

/// How often it says them in any case: to query workers that have just come, or lost a message.
const REPEAT: Duration = Duration::from_secs(1);

/// How often the bucket is looked for where it is not.
const LOOK_FOR_BUCKET: Duration = Duration::from_secs(30);

/// How long the last words may take to leave at a stop.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What an ingester knows of itself: one entry for each topic on its way into a collection. The
/// worker's name and the time are filled in here.
pub type Look = Box<dyn Fn() -> Vec<WatermarksV1> + Send + Sync>;

/// Says how far an ingester is, until `shutdown` and once after it. A NATS server that is away is looked
/// for in the background: ingestion does not need it.
pub async fn announce(nats: NatsConfig, look: Look, shutdown: CancellationToken) {
    let client = tokio::select! {
        client = connect_whenever(&nats, "livedex watermarks") => client,
        () = shutdown.cancelled() => return,
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            return tracing::warn!("query workers do not hear of watermarks: {error}");
        }
    };
    let ingester = Ingester { worker: client.new_inbox(), client, nats, look };
    // Side by side: a JetStream that does not answer holds up nothing.
    tokio::join!(ingester.say(&shutdown), ingester.keep(&shutdown));
    let _ = tokio::time::timeout(LAST_WORDS, ingester.client.flush()).await;
}

struct Ingester {
    client: Client,
    nats: NatsConfig,
    look: Look,
    /// Its name among workers: as random as an inbox.
    worker: String,
}

impl Ingester {
    /// Where it is now, as far as it has anything.
    fn look(&self) -> impl Iterator<Item = WatermarksV1> {
        let at = now_millis();
        let said = (self.look)().into_iter().filter(|entry| !entry.partitions.is_empty());
        said.map(move |entry| WatermarksV1 { worker: self.worker.clone(), at, ..entry })
    }

    /// Says what has moved, and from time to time everything.
    async fn say(&self, shutdown: &CancellationToken) {
        let subject = self.nats.subject("watermarks");
        let mut said: HashMap<(String, String), Vec<PartitionWatermark>> = HashMap::new();
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut repeat_at = Instant::now();
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = shutdown.cancelled() => true,
            };
            let everything = is_last || Instant::now() >= repeat_at;
            if everything {
                repeat_at = Instant::now() + REPEAT;
            }
            for entry in self.look() {
                let key = (entry.identity.clone(), entry.topic.clone());
                if !everything && said.get(&key) == Some(&entry.partitions) {
                    continue;
                }
                match self.client.publish(subject.clone(), entry.to_json().into()).await {
                    Ok(()) => drop(said.insert(key, entry.partitions)),
                    Err(error) => {
                        tracing::debug!(error = one_line(&error), "watermarks were not said");
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Keeps what has changed since it was kept last.
    async fn keep(&self, shutdown: &CancellationToken) {
        let bucket = tokio::select! {
            bucket = bucket(&self.client, &self.nats) => bucket,
            () = async {
                // Also an ingester that was there for a moment only leaves its last word.
                shutdown.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            } => return,
        };
        let mut kept: HashMap<String, PartitionWatermark> = HashMap::new();
        let mut ticks = tokio::time::interval(REPEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = shutdown.cancelled() => true,
            };
            let keeping = self.keep_once(&bucket, &mut kept);
            if is_last {
                let _ = tokio::time::timeout(LAST_WORDS, keeping).await;
                return;
            }
            keeping.await;
        }
    }

    async fn keep_once(&self, bucket: &kv::Store, kept: &mut HashMap<String, PartitionWatermark>) {
        for entry in self.look() {
            for partition in &entry.partitions {
                let key = key(&entry.identity, &entry.topic, partition.partition);
                if kept.get(&key) == Some(partition) {
                    continue;
                }
                let one = WatermarksV1 { partitions: vec![*partition], ..entry.clone() };
                if let Err(error) = bucket.put(&key, one.to_json().into()).await {
                    return tracing::debug!(error = one_line(&error), "a watermark was not kept");
                }
                kept.insert(key, *partition);
            }
        }
    }
}

/// Hears what ingesters say, for ever.
pub(crate) async fn listen(client: Client, nats: NatsConfig, watermarks: Watermarks) {
    let hear = |payload: &[u8]| match WatermarksV1::from_json(payload) {
        Ok(said) => watermarks.hear(&said),
        Err(error) => tracing::debug!(%error, "a message on the watermarks' subject"),
    };
    let spoken = async {
        match client.subscribe(nats.subject("watermarks")).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    hear(&message.payload);
                }
            }
            Err(error) => tracing::warn!(error = one_line(&error), "no watermarks are heard"),
        }
    };
    let kept = async {
        let bucket = bucket(&client, &nats).await;
        // With the last word on each key first, then what is put.
        match bucket.watch_with_history(">").await {
            Ok(mut entries) => {
                while let Some(entry) = entries.next().await {
                    if let Ok(entry) = entry {
                        hear(&entry.value);
                    }
                }
            }
            Err(error) => tracing::debug!(error = one_line(&error), "no watermarks are kept"),
        }
    };
    tokio::join!(spoken, kept);
}

/// The bucket, made if it is not there. Waits for as long as the server has no JetStream, or does not
/// allow it.
async fn bucket(client: &Client, nats: &NatsConfig) -> kv::Store {
    loop {
        if let Some(bucket) = bucket_now(client, nats).await {
            return bucket;
        }
        tokio::time::sleep(LOOK_FOR_BUCKET).await;
    }
}

async fn bucket_now(client: &Client, nats: &NatsConfig) -> Option<kv::Store> {
    let name = format!("{}_watermarks", nats.subject_prefix.replace(['.', ' '], "_"));
    let jetstream = jetstream::new(client.clone());
    if let Ok(bucket) = jetstream.get_key_value(&name).await {
        return Some(bucket);
    }
    let config = kv::Config {
        bucket: name,
        description: "How far Livedex' ingesters are".to_owned(),
        history: 1,
        ..kv::Config::default()
    };
    let made = jetstream.create_key_value(config).await;
    made.map_err(|error| tracing::debug!(error = one_line(&error), "no key-value bucket")).ok()
}

/// The key of a partition. A topic's dots would be separators, and two in a row no key at all; a slash is in
/// no topic's name.
fn key(identity: &str, topic: &str, partition: i32) -> String {
    let identity = if identity.is_empty() { "-" } else { identity };
    format!("{identity}.{}.{partition}", topic.replace('.', "/"))
}
