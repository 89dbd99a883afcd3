//! Points in a record's way, and what a worker is told to do there.
//!
//! A fault is proved: the worker writes a marker file and syncs it right before it kills or stops
//! itself, so a parent that finds no marker knows that the fault did not happen.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use livedex_core::record::SourcePosition;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use serde::{Deserialize, Serialize};

/// The file in which every passing of a point is a line.
const PASSES: &str = "passes";

/// Where in a record's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Records have been read.
    AfterFetch,
    /// Vectors are there, nothing is written.
    AfterEmbed,
    /// The request that writes rows is about to be made.
    BeforeUpsert,
    /// New rows are written, and the stale ones of the same wave are still there.
    AfterUpsertBeforeDelete,
    /// A deletion is remembered in the ledger, and the rows are still there.
    AfterLedgerBeforeDelete,
    /// A record's event is in the collection, and it is not acknowledged.
    AfterWriteBeforeAck,
    /// A record is acknowledged, and its offset is not committed.
    AfterAckBeforeCommit,
    /// A dead letter is about to be sent.
    BeforeDeadLetter,
    /// A dead letter is durable, and its record is not acknowledged.
    AfterDeadLetterBeforeAck,
}

impl Point {
    /// All of them, in the order of a record's way.
    pub const ALL: [Self; 9] = [
        Self::AfterFetch,
        Self::AfterEmbed,
        Self::BeforeUpsert,
        Self::AfterUpsertBeforeDelete,
        Self::AfterLedgerBeforeDelete,
        Self::AfterWriteBeforeAck,
        Self::AfterAckBeforeCommit,
        Self::BeforeDeadLetter,
        Self::AfterDeadLetterBeforeAck,
    ];

    /// Its name, in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterFetch => "after_fetch",
            Self::AfterEmbed => "after_embed",
            Self::BeforeUpsert => "before_upsert",
            Self::AfterUpsertBeforeDelete => "after_upsert_before_delete",
            Self::AfterLedgerBeforeDelete => "after_ledger_before_delete",
            Self::AfterWriteBeforeAck => "after_write_before_ack",
            Self::AfterAckBeforeCommit => "after_ack_before_commit",
            Self::BeforeDeadLetter => "before_dead_letter",
            Self::AfterDeadLetterBeforeAck => "after_dead_letter_before_ack",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL to the own process.
    Kill,
    /// SIGSTOP to the own process; it goes on after a SIGCONT.
    Stop,
    /// The request fails as a server that is away does, and is not made. Only where a request is
    /// about to be made: before an upsert, a delete or a dead letter.
    Fail,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// At which passing of the point, counted from 1 since the start of the process.
    pub nth: u32,
    /// How many passings in a row, from that one on.
    pub times: u32,
    /// What.
    pub action: Action,
}

impl Fault {
    /// A fault that happens once.
    pub fn once(point: Point, nth: u32, action: Action) -> Self {
        Self { point, nth, times: 1, action }
    }

    /// The marker that says that it has happened.
    pub fn marker(&self, dir: &Path) -> PathBuf {
        dir.join(format!("fired-{self}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.point, self.nth)
    }
}

/// What a port goes on with after a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// As if nothing had been.
    Go,
    /// The request fails.
    Fail,
}

/// The faults of a process, and what it has passed.
#[derive(Debug)]
pub struct Faults {
    faults: Vec<Fault>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    passed: BTreeMap<Point, u32>,
    passes: File,
    buried: HashSet<SourcePosition>,
}

impl Faults {
    /// Faults that leave their markers in `dir`, which exists.
    pub fn new(faults: Vec<Fault>, dir: &Path) -> io::Result<Self> {
        let passes = OpenOptions::new().create(true).append(true).open(dir.join(PASSES))?;
        let state = State { passed: BTreeMap::new(), passes, buried: HashSet::new() };
        Ok(Self { faults, dir: dir.to_owned(), state: Mutex::new(state) })
    }

    /// The process has come to `point`. Does not return if it is killed there, and returns late
    /// if it is stopped there.
    pub fn pass(&self, point: Point) -> Next {
        let nth = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = state.passed.entry(point).or_insert(0);
            *nth += 1;
            let nth = *nth;
            // A log for people and a sign of life for the parent: no fault hangs on it.
            let _ = writeln!(state.passes, "{point} {nth}");
            nth
        };
        let due = |fault: &&Fault| {
            fault.point == point
                && (fault.nth..fault.nth.saturating_add(fault.times)).contains(&nth)
        };
        let Some(fault) = self.faults.iter().find(due) else { return Next::Go };
        match fault.action {
            Action::Kill => self.signal(fault, Signal::SIGKILL),
            Action::Stop => self.signal(fault, Signal::SIGSTOP),
            Action::Fail => {
                self.mark(fault);
                return Next::Fail;
            }
        }
        Next::Go
    }

    /// A record's dead letter is being sent: its acknowledgement is no written row's.
    pub fn bury(&self, position: &SourcePosition) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buried.insert(position.clone());
    }

    /// Whether a dead letter was sent for the record.
    pub fn is_buried(&self, position: &SourcePosition) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buried.contains(position)
    }

    fn signal(&self, fault: &Fault, signal: Signal) {
        self.mark(fault);
        // To the process, not to the thread. Fails for no process that exists.
        let _ = kill(getpid(), signal);
    }

    /// Leaves the marker, on the disk. Without it the parent takes the fault for one that did not
    /// happen, so an error needs no other handling.
    fn mark(&self, fault: &Fault) {
        let marker = || -> io::Result<()> {
            let mut file = File::create(fault.marker(&self.dir))?;
            writeln!(file, "{fault}")?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()
        };
        if let Err(error) = marker() {
            tracing::error!(%error, %fault, "the marker of a fault could not be written");
        }
    }
}

/// How often a process with its markers in `dir` has passed `point`.
pub fn passes(dir: &Path, point: Point) -> usize {
    let passes = std::fs::read_to_string(dir.join(PASSES)).unwrap_or_default();
    passes.lines().filter(|line| line.split(' ').next() == Some(point.name())).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_at_its_passings_and_leaves_its_marker() {
        let dir = tempfile::tempdir().unwrap();
        let fault =
            Fault { point: Point::BeforeDeadLetter, nth: 2, times: 2, action: Action::Fail };
        let faults = Faults::new(vec![fault], dir.path()).unwrap();
        assert_eq!(faults.pass(Point::BeforeUpsert), Next::Go);
        assert_eq!(faults.pass(Point::BeforeDeadLetter), Next::Go);
        assert!(!fault.marker(dir.path()).exists());
        let next: Vec<Next> = (0..3).map(|_| faults.pass(Point::BeforeDeadLetter)).collect();
        assert_eq!(next, [Next::Fail, Next::Fail, Next::Go]);
        assert!(fault.marker(dir.path()).exists());
        assert_eq!(passes(dir.path(), Point::BeforeDeadLetter), 4);
        assert_eq!(passes(dir.path(), Point::AfterDeadLetterBeforeAck), 0);
    }

    #[test]
    fn the_names_are_those_of_the_specification() {
        for point in Point::ALL {
            let fault = Fault::once(point, 1, Action::Kill);
            let text = toml::to_string(&fault).unwrap();
            assert!(text.contains(&format!("point = \"{point}\"")), "{text}");
            assert_eq!(toml::from_str::<Fault>(&text).unwrap(), fault);
        }
    }
}
