//! The oracles over random bytes, and over the examples of the contracts with random edits.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};

/// The values of all examples in `schemas`, valid and invalid, and what is kept of the fuzzers'
/// finds in `fuzz/seeds`.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("schemas/examples"), root.join("fuzz/seeds")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(files.len() > 50, "{} seeds", files.len());
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
});

/// Bytes, or a seed in which pieces have given way to others.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        prop::sample::select(vec![
            &b"\x1e"[..],
            b"\"",
            b"}",
            b"\\",
            b"null",
            b"0",
            b"\n\n",
            b"```"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    let edit = (any::<Index>(), 0..12_usize, piece);
    let edited = (any::<Index>(), prop::collection::vec(edit, 0..6)).prop_map(|(seed, edits)| {
        let mut bytes = seed.get(&SEEDS).clone();
        for (at, length, piece) in edits {
            let from = at.index(bytes.len() + 1);
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, piece);
        }
        bytes
    });
    prop_oneof![3 => edited, 1 => prop::collection::vec(any::<u8>(), 0..600)]
}

proptest! {
    #[test]
    fn decoding(data in any_bytes()) {
        livedex_oracle::decoding(&data);
    }

    #[test]
    fn chunking(data in any_bytes()) {
        livedex_oracle::chunking(&data);
    }

    #[test]
    fn filtering(data in any_bytes()) {
        livedex_oracle::filtering(&data);
    }

    #[test]
    fn watermark(data in prop::collection::vec(any::<u8>(), 0..400)) {
        livedex_oracle::watermark(&data);
    }
}

#[test]
fn the_seeds_as_they_are() {
    for seed in &*SEEDS {
        livedex_oracle::decoding(seed);
        livedex_oracle::chunking(seed);
        livedex_oracle::filtering(seed);
        livedex_oracle::watermark(seed);
    }
}
