//! The models against what transformers and sentence-transformers wrote for the same weights
//! (`fixtures/make.py`), and the ways in which loading fails.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "measured errors, and what was skipped"
)]

mod bert;
mod common;
mod hub;
mod loading;
mod long;
mod minilm;
mod modernbert;
mod prompts;
mod qwen3;
mod sharing;
mod xlmr;
