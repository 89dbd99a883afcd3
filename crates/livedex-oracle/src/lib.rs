//! What must hold for any input, as functions of bytes that panic if it does not.
//!
//! Two drivers put bytes in: `tests/random.rs` in every test run (proptest: random bytes, and the
//! examples of the contracts with random edits), and the targets in `fuzz/` under libFuzzer
//! (`make fuzz`), which looks for bytes that take new paths through the code. Both see the same
//! oracles, so an input that one of them finds can be given to the other.
//!
//! - [`decoding`]: records of any format to documents
//! - [`chunking`]: documents to chunks
//! - [`filtering`]: filter trees to filter text (INV-6)
//! - [`watermark`]: finished offsets to the offset to commit (INV-3)

mod chunks;
mod decode;
mod expression;
mod filters;
mod offsets;

pub use chunks::chunking;
pub use decode::decoding;
pub use filters::filtering;
pub use offsets::watermark;
