//! A replay from its start to its end.
//!
//! Letters are taken from the mark on, batch by batch. The records of one source partition are
//! sent one after the other, in the order of the dead-letter topic; those of different ones side by
//! side. The mark moves once all of a batch is durable and never passes a letter that could still
//! be replayed: a replay that is killed and started again sends some letters twice, which changes
//! nothing in the collection, and leaves none out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use futures::{StreamExt, stream};
use livedex_core::{
    dead_letter::{DeadLetter, Selection},
    record::{RawRecord, SourcePosition},
};

use super::{
    DeadLetterReader, Marks, Refusal, ReplaySummary, Skip, Start,
    mark::{self, MarkStore},
    moving::MovingMarks,
    read_one,
    replayer::Replayer,
};
use crate::{KafkaConfig, KafkaError};

/// Source partitions that are sent to at once: each waits for its broker, and brokers have many
/// partitions.
const LANES: usize = 32;

/// What to replay. [`Default`]: everything since the last replay, each record to its own topic.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Only these; the mark then stays where it is.
    pub selection: Selection,
    /// Only the letters at these places (partition and offset), wherever the mark is; it stays
    /// there.
    pub letters: Vec<(i32, i64)>,
    /// From the first letter on, not from the mark.
    pub all: bool,
    /// At most so many letters, those that are skipped included.
    pub limit: Option<u64>,
    /// All to this topic; the mark then stays where it is.
    pub to: Option<String>,
    /// Send nothing, move nothing, and tell what would be.
    pub dry_run: bool,
}

impl ReplayOptions {
    /// Whether the mark moves: letters that are not meant now must be found by the next replay.
    fn moves_mark(&self) -> bool {
        let is_narrowed = !self.selection.is_everything() || !self.letters.is_empty();
        !(is_narrowed || self.to.is_some() || self.dry_run)
    }
}

/// A replay.
pub struct Replay {
    config: KafkaConfig,
    options: ReplayOptions,
    source: Source,
    replayer: Replayer,
    store: Option<MarkStore>,
    marks: MovingMarks,
    n_before_mark: u64,
    left: u64,
    summary: ReplaySummary,
}

/// Where the letters come from.
enum Source {
    Topic(DeadLetterReader),
    Places(VecDeque<(i32, i64)>),
}

impl Replay {
    /// Connects, reads the mark and starts to read letters. Sends nothing yet.
    pub async fn open(config: &KafkaConfig, options: ReplayOptions) -> Result<Self, KafkaError> {
        let replayer = Replayer::new(config, options.to.as_deref())?;
        let moves_mark = options.moves_mark();
        let store = moves_mark.then(|| MarkStore::new(config)).transpose()?;
        let mut marks = match options.letters[..] {
            [] => mark::load(config).await?,
            _ => Marks::new(),
        };
        let mut n_before_mark = 0;
        let source = if options.letters.is_empty() {
            let offsets = if options.all { Marks::new() } else { marks.clone() };
            let start = Start { since_ms: options.selection.since_ms, offsets };
            let reader = DeadLetterReader::open(config, start).await?;
            let bounds = reader.bounds();
            // A mark beyond the end is of a topic that was made again since.
            marks.retain(|partition, mark| bounds.get(partition).is_some_and(|at| *mark <= at.1));
            let passed = marks.iter().map(|(partition, mark)| mark - bounds[partition].0);
            n_before_mark = passed.filter_map(|n| u64::try_from(n).ok()).sum();
            Source::Topic(reader)
        } else {
            Source::Places(options.letters.iter().copied().collect())
        };
        Ok(Self {
            config: config.clone(),
            left: options.limit.unwrap_or(u64::MAX),
            options,
            source,
            replayer,
            store,
            marks: MovingMarks::new(marks),
            n_before_mark,
            summary: ReplaySummary::default(),
        })
    }

    /// Records that it looks at, at most.
    pub fn n_offsets(&self) -> u64 {
        match &self.source {
            Source::Topic(reader) => reader.n_offsets(),
            Source::Places(places) => places.len() as u64,
        }
    }

    /// Records before the mark: replayed before, and looked at again only where
    /// [`ReplayOptions::all`] says so. 0 where places are named.
    pub fn n_before_mark(&self) -> u64 {
        self.n_before_mark
    }

    /// What it has done so far, also after an error.
    pub fn summary(&self) -> &ReplaySummary {
        &self.summary
    }

    /// Replays; `progress` is called after each batch. Where it ends with an error, everything that
    /// the summary counts has been sent, and the mark stands before what was not.
    pub async fn run(
        &mut self,
        mut progress: impl FnMut(&ReplaySummary),
    ) -> Result<(), KafkaError> {
        while self.left > 0 {
            let Some(records) = self.next().await? else { break };
            let sent = self.batch(records).await;
            let saved = match &self.store {
                Some(store) if self.marks.has_news() => store.save(self.marks.marks()).await,
                _ => Ok(()),
            };
            progress(&self.summary);
            // Where both failed, the first is the cause.
            sent.and(saved)?;
            self.marks.saved();
        }
        // Kafka forgets a mark that is never committed again.
        if let Some(store) = self.store.as_ref().filter(|_| !self.marks.marks().is_empty()) {
            store.save(self.marks.marks()).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Vec<RawRecord>>, KafkaError> {
        match &mut self.source {
            Source::Topic(reader) => reader.next().await.transpose(),
            Source::Places(places) => {
                while let Some((partition, offset)) = places.pop_front() {
                    if let Some(record) = read_one(&self.config, partition, offset).await? {
                        return Ok(Some(vec![record]));
                    }
                    let topic = Arc::from(self.config.dead_letter_topic.as_str());
                    let place = SourcePosition { topic, partition, offset };
                    self.summary.skip(Skip::Nothing, &place);
                }
                Ok(None)
            }
        }
    }

    async fn batch(&mut self, records: Vec<RawRecord>) -> Result<(), KafkaError> {
        // Every record in order, with whether the mark may pass it.
        let mut passable: Vec<(SourcePosition, bool)> = Vec::with_capacity(records.len());
        let mut lanes: BTreeMap<(Arc<str>, i32), Lane> = BTreeMap::new();
        for record in records {
            let place = record.position.clone();
            match DeadLetter::read(record) {
                Err(foreign) if self.options.selection.is_everything() => {
                    self.summary.skip(foreign, &place);
                }
                // A filter does not mean what it cannot look at.
                Err(_) => {}
                Ok(letter) if !self.options.selection.has(&letter) => {}
                Ok(_) if self.left == 0 => break,
                Ok(letter) => {
                    self.left -= 1;
                    let source = &letter.record.position;
                    let lane = lanes.entry((Arc::clone(&source.topic), source.partition));
                    lane.or_default().push((passable.len(), letter));
                    passable.push((place, false));
                    continue;
                }
            }
            passable.push((place, true));
        }
        self.summary.n_seen += passable.len() as u64;

        let (replayer, dry_run) = (&self.replayer, self.options.dry_run);
        let lanes = lanes.into_values().map(|letters| lane(replayer, dry_run, letters));
        let sent: Vec<LaneEnd> = stream::iter(lanes).buffer_unordered(LANES).collect().await;
        let mut outcome = Ok(());
        for LaneEnd { ends, error } in sent {
            for (index, letter, end) in ends {
                passable[index].1 = self.count(&letter, end);
            }
            if let Some(error) = error {
                outcome = Err(error);
            }
        }
        for (place, may_pass) in passable {
            self.marks.settle(place.partition, place.offset, may_pass);
        }
        outcome
    }

    /// Counts what became of a letter, and says whether the mark may pass it.
    fn count(&mut self, letter: &Sent, end: Result<SourcePosition, Refusal>) -> bool {
        match end {
            Ok(position) => {
                let is_moved = letter.has_key
                    && position.topic == letter.source.topic
                    && position.partition != letter.source.partition;
                self.summary.n_moved += u64::from(is_moved);
                *self.summary.replayed.entry(position.topic).or_default() += 1;
                true
            }
            Err(refusal) => {
                let may_pass = refusal.is_final();
                self.summary.skip(refusal, &letter.place);
                may_pass
            }
        }
    }
}

/// The letters of one source partition in order, each with its index in the batch.
type Lane = Vec<(usize, DeadLetter)>;

/// What is remembered of a letter once its record is sent.
struct Sent {
    place: SourcePosition,
    source: SourcePosition,
    has_key: bool,
}

/// How the letters of one source partition ended, up to the first error.
struct LaneEnd {
    ends: Vec<(usize, Sent, Result<SourcePosition, Refusal>)>,
    error: Option<KafkaError>,
}

/// Sends the letters of one source partition, one after the other.
async fn lane(replayer: &Replayer, dry_run: bool, letters: Lane) -> LaneEnd {
    let mut ends = Vec::with_capacity(letters.len());
    for (index, letter) in letters {
        let end = if dry_run {
            // Where it would land there nobody knows before it does.
            let source = &letter.record.position;
            let target = replayer.target(&letter).await;
            target.map(|target| target.map(|topic| SourcePosition { topic, ..source.clone() }))
        } else {
            replayer.send(&letter).await
        };
        let end = match end {
            Ok(end) => end,
            Err(error) => return LaneEnd { ends, error: Some(error) },
        };
        let sent = Sent {
            place: letter.position,
            source: letter.record.position,
            has_key: letter.record.key.is_some(),
        };
        ends.push((index, sent, end));
    }
    LaneEnd { ends, error: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replay_of_everything_to_where_it_came_from_moves_the_mark() {
        let moves = |options: ReplayOptions| options.moves_mark();
        assert!(moves(ReplayOptions::default()));
        assert!(moves(ReplayOptions { all: true, limit: Some(1), ..ReplayOptions::default() }));
        let selection = Selection { stage: Some("WRITE".to_owned()), ..Selection::default() };
        assert!(!moves(ReplayOptions { selection, ..ReplayOptions::default() }));
        assert!(!moves(ReplayOptions { letters: vec![(0, 0)], ..ReplayOptions::default() }));
        assert!(!moves(ReplayOptions { to: Some("t".to_owned()), ..ReplayOptions::default() }));
        assert!(!moves(ReplayOptions { dry_run: true, ..ReplayOptions::default() }));
    }
}
