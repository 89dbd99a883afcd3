//! The pipeline over ports that live in memory.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod deletions;
mod fakes;
mod faults;
mod looking;
mod model;
mod replay;
mod rig;
mod stop;
mod updates;
