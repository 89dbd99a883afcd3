//! How far ingestion is, as the ingesters say, and waiting for it.
//!
//! A watermark is the first offset of a partition that is not finished: every record before it is in
//! the collection, or in the dead-letter topic. It holds for one collection, known by its identity,
//! so that a collection that was dropped and is filled again does not seem complete.
//!
//! What was heard last counts, also where it is less than what was heard before: after a crash the
//! next owner of a partition begins at its committed offset. Every statement was true when it was made, so
//! the worst of it is a wait that is too long.
//!
//! With two exceptions, which nobody here can see. A topic that is made again under its name begins at offset
//! 0, and until its ingester has read from it, its old watermark counts. And a group that is told to go on at its
//! committed offsets into another, empty collection never brings what it has committed before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use livedex_core::record::SourcePosition;
use livedex_wire::{
    error::Missing,
    reply::Watermark,
    time::now_millis,
    watermarks::{PartitionWatermark, WatermarksV1},
};
use tokio::sync::watch;

/// Partitions that are remembered, of all collections together; others are not listened to. Each
/// takes some 200 bytes.
const MAX_PARTITIONS: usize = 65_536;

/// How long an ingester's word says which collection a name stands for: some repetitions of it,
/// milliseconds.
const CURRENT_MS: i64 = 10_000;

/// Partitions that a reply lists; with more it has only their lag.
const MAX_LISTED: usize = 64;

/// What ingesters have said.
#[derive(Debug, Clone, Default)]
pub struct Watermarks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<BTreeMap<Key, Heard>>,
    /// By the collection's name and identity: when it was spoken of last, milliseconds since 1970.
    named: Mutex<BTreeMap<Named, i64>>,
    changes: watch::Sender<()>,
}

/// The collection's name and its identity.
type Named = (Arc<str>, Arc<str>);

/// The collection's identity, the topic, the partition.
type Key = (Arc<str>, Arc<str>, i32);

#[derive(Debug, Clone)]
struct Heard {
    worker: Arc<str>,
    watermark: i64,
    end: Option<i64>,
    /// When it was said, milliseconds since 1970.
    at: i64,
}

/// How far a collection is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Each partition, where there are not too many to list.
    pub watermarks: Vec<Watermark>,
    /// Records between the watermarks and the ends; `None` if no ingester has said anything.
    pub lag: Option<u64>,
}

impl Watermarks {
    /// Takes in what an ingester says.
    pub fn hear(&self, said: &WatermarksV1) {
        let identity: Arc<str> = said.identity.as_str().into();
        let topic: Arc<str> = said.topic.as_str().into();
        let worker: Arc<str> = said.worker.as_str().into();
        self.name(said);
        let mut heard = self.heard();
        for &PartitionWatermark { partition, watermark, end } in &said.partitions {
            let key = (identity.clone(), topic.clone(), partition);
            let known = heard.get(&key);
            // It came two ways, and the slower one is out of date.
            let is_old = known.is_some_and(|known| known.worker == worker && known.at > said.at);
            let is_one = partition >= 0 && watermark >= 0 && end.is_none_or(|end| end >= 0);
            if is_old || !is_one || (known.is_none() && heard.len() >= MAX_PARTITIONS) {
                continue;
            }
            heard.insert(key, Heard { worker: worker.clone(), watermark, end, at: said.at });
        }
        drop(heard);
        self.0.changes.send_replace(());
    }

    fn name(&self, said: &WatermarksV1) {
        let mut named = self.0.named.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::from(said.collection.as_str()), Arc::from(said.identity.as_str()));
        if named.len() < MAX_PARTITIONS || named.contains_key(&key) {
            let at = named.entry(key).or_insert(said.at);
            *at = said.at.max(*at);
        }
    }

    /// Which collection the name stands for now: `own` is what it stood for when this process opened it.
    /// The one that ingesters write to, if one does; `None` while they speak of several.
    fn current(&self, collection: &str, own: &str) -> Option<Arc<str>> {
        let named = self.0.named.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now_millis() - CURRENT_MS;
        let mut spoken_of = named
            .iter()
            .filter(|((name, _), at)| &**name == collection && **at >= since)
            .map(|((_, identity), _)| identity.clone());
        match (spoken_of.next(), spoken_of.next()) {
            (None, _) => Some(own.into()),
            (Some(one), None) => Some(one),
            (Some(_), Some(_)) => None,
        }
    }

    /// How far the collection of this name is; `own` is its identity when it was opened.
    pub fn view(&self, collection: &str, own: &str) -> View {
        let Some(identity) = self.current(collection, own) else { return View::default() };
        let now = now_millis();
        let heard = self.heard();
        let all = of(&heard, &identity).map(|((_, topic, partition), heard)| {
            let age_ms = u64::try_from(now - heard.at).unwrap_or(0);
            Watermark::new(topic.to_string(), *partition, heard.watermark, heard.end, age_ms)
        });
        let mut watermarks: Vec<Watermark> = all.collect();
        let lags = watermarks.iter().map(|watermark| watermark.lag);
        let lag = if watermarks.is_empty() { None } else { lags.sum() };
        if watermarks.len() > MAX_LISTED {
            watermarks.clear();
        }
        View { watermarks, lag }
    }

    /// Waits until all of these records are in the collection of this name; `own` is its identity when it
    /// was opened. At the deadline: those that are not.
    pub async fn wait(
        &self,
        collection: &str,
        own: &str,
        after: &[SourcePosition],
        deadline: Instant,
    ) -> Result<(), Vec<Missing>> {
        let mut changes = self.0.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let missing = self.missing(self.current(collection, own), after);
            if missing.is_empty() {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline.into(), changes.changed()).await.is_err() {
                return Err(missing);
            }
        }
    }

    fn missing(&self, identity: Option<Arc<str>>, after: &[SourcePosition]) -> Vec<Missing> {
        let heard = self.heard();
        let watermark = |position: &SourcePosition| {
            let key = (identity.clone()?, position.topic.clone(), position.partition);
            heard.get(&key).map(|heard| heard.watermark)
        };
        after
            .iter()
            .map(|position| (position, watermark(position)))
            .filter(|(position, watermark)| watermark.is_none_or(|mark| mark <= position.offset))
            .map(|(position, watermark)| Missing {
                topic: position.topic.to_string(),
                partition: position.partition,
                offset: position.offset,
                watermark,
            })
            .collect()
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<Key, Heard>> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(
    heard: &'a BTreeMap<Key, Heard>,
    identity: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Heard)> {
    heard
        .range((Arc::from(identity), Arc::from(""), i32::MIN)..)
        .take_while(move |((of, ..), _)| &**of == identity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(worker: &str, partition: i32, watermark: i64, at: i64) -> WatermarksV1 {
        WatermarksV1 {
            worker: worker.to_owned(),
            collection: "c".to_owned(),
            identity: "id".to_owned(),
            topic: "t".to_owned(),
            partitions: vec![PartitionWatermark { partition, watermark, end: Some(10) }],
            at,
        }
    }

    fn position(partition: i32, offset: i64) -> SourcePosition {
        SourcePosition { topic: "t".into(), partition, offset }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn a_record_before_the_watermark_is_there() {
        let watermarks = Watermarks::default();
        watermarks.hear(&said("w", 0, 5, 1));
        assert_eq!(watermarks.wait("c", "id", &[position(0, 4)], soon()).await, Ok(()));
        let missing = watermarks.wait("c", "id", &[position(0, 4), position(0, 5)], soon()).await;
        let expected = Missing { topic: "t".into(), partition: 0, offset: 5, watermark: Some(5) };
        assert_eq!(missing, Err(vec![expected]));
        // Another collection, another topic, another partition: nothing is known.
        for (identity, position) in [
            ("other", position(0, 4)),
            ("id", position(1, 4)),
            ("id", SourcePosition { topic: "u".into(), ..position(0, 4) }),
        ] {
            let missing =
                watermarks.wait(identity, identity, &[position], soon()).await.unwrap_err();
            assert_eq!(missing[0].watermark, None);
        }
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let watermarks = Watermarks::default();
        let waiting = tokio::spawn({
            let watermarks = watermarks.clone();
            let deadline = Instant::now() + Duration::from_secs(20);
            async move { watermarks.wait("c", "id", &[position(0, 1), position(1, 2)], deadline).await }
        });
        watermarks.hear(&said("w", 0, 2, 1));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        watermarks.hear(&said("w", 1, 3, 2));
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_collection_that_is_made_again_is_another_one() {
        let watermarks = Watermarks::default();
        let now = now_millis();
        watermarks.hear(&said("w", 0, 1000, now - 60_000));
        assert_eq!(watermarks.view("c", "id").lag, Some(0));
        // Its ingester fills another one under the same name now.
        let again = WatermarksV1 { identity: "new".to_owned(), ..said("x", 0, 3, now) };
        watermarks.hear(&again);
        assert_eq!(watermarks.view("c", "id").lag, Some(7));
        assert!(watermarks.wait("c", "id", &[position(0, 500)], soon()).await.is_err());
        // Somebody still writes to the old one: nothing is certain.
        watermarks.hear(&said("w", 0, 1000, now));
        assert_eq!(watermarks.view("c", "id"), View::default());
        assert!(watermarks.wait("c", "id", &[position(0, 1)], soon()).await.is_err());
    }

    #[test]
    fn the_lag_is_told_only_if_it_is_known_of_all() {
        let watermarks = Watermarks::default();
        watermarks.hear(&said("w", 0, 5, 1));
        let mut unknown = said("w", 1, 5, 1);
        unknown.partitions[0].end = None;
        watermarks.hear(&unknown);
        assert_eq!(watermarks.view("c", "id").lag, None);
        let nonsense =
            PartitionWatermark { partition: 2, watermark: i64::MIN, end: Some(i64::MAX) };
        watermarks.hear(&WatermarksV1 { partitions: vec![nonsense], ..said("w", 0, 5, 1) });
        assert_eq!(watermarks.view("c", "id").watermarks.len(), 2);
    }

    #[test]
    fn what_was_said_last_counts() {
        let watermarks = Watermarks::default();
        let now = |watermarks: &Watermarks| watermarks.view("c", "id").watermarks[0].watermark;
        watermarks.hear(&said("w", 0, 5, 10));
        // The same worker's older word comes late.
        watermarks.hear(&said("w", 0, 4, 9));
        assert_eq!(now(&watermarks), 5);
        // Another owner begins at the committed offset; its clock may be behind.
        watermarks.hear(&said("x", 0, 3, 8));
        assert_eq!(now(&watermarks), 3);
        assert_eq!(watermarks.view("c", "id").lag, Some(7));
        assert_eq!(watermarks.view("other", "other"), View::default());
    }
}
