//! The dead-letter topic, read and replayed by an operator.
//!
//! - `reader`: the topic from somewhere to where its ends are now, a batch at a time
//! - `mark`: how far it was replayed
//! - `moving`: the marks while a replay moves them
//! - `replayer`: one record back onto a topic
//! - `run`: a replay from its start to its end
//! - `summary`: what a replay has done, and why it left something out

mod mark;
mod moving;
mod reader;
mod replayer;
mod run;
mod summary;

pub use mark::{Marks, replay_group};
pub use reader::{DeadLetterReader, Start, read_one};
pub use replayer::Refusal;
pub use run::{Replay, ReplayOptions};
pub use summary::{ReplaySummary, Skip};
