//! What a replay has done, and why it left something out.

use std::{collections::BTreeMap, sync::Arc};

use livedex_core::{dead_letter::ForeignRecord, record::SourcePosition};

use super::Refusal;

/// Why a record of the dead-letter topic is not replayed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Skip {
    /// It is no dead letter.
    #[error("no dead letter: {0}")]
    Foreign(String),
    /// There is nothing at the place that was named.
    #[error("nothing is there")]
    Nothing,
    /// It cannot be replayed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<ForeignRecord> for Skip {
    fn from(foreign: ForeignRecord) -> Self {
        Self::Foreign(foreign.to_string())
    }
}

/// What a replay has done so far.
#[derive(Debug, Clone, Default)]
pub struct ReplaySummary {
    /// Records of the dead-letter topic that were looked at.
    pub n_seen: u64,
    /// Records that were sent (or would be), by topic.
    pub replayed: BTreeMap<Arc<str>, u64>,
    /// Records that were not, by reason: how many, and where the first lies in the dead-letter
    /// topic.
    pub skipped: BTreeMap<Skip, (u64, SourcePosition)>,
    /// Records with a key that went to another partition of their topic than they came from:
    /// their positions cannot be compared with those of newer records there.
    pub n_moved: u64,
}

impl ReplaySummary {
    /// Records that were sent.
    pub fn n_replayed(&self) -> u64 {
        self.replayed.values().sum()
    }

    /// Records that were meant and not sent.
    pub fn n_skipped(&self) -> u64 {
        self.skipped.values().map(|(n, _)| n).sum()
    }

    /// Counts a record that is not sent; `letter` is its place in the dead-letter topic.
    pub(crate) fn skip(&mut self, reason: impl Into<Skip>, letter: &SourcePosition) {
        self.skipped.entry(reason.into()).or_insert_with(|| (0, letter.clone())).0 += 1;
    }
}
