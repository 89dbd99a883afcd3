//! The published tokenizer of Qwen3-Reranker. Its file is too large to keep here:
//! `LIVEDEX_QWEN3_TOKENIZERS` names a folder with `tokenizer_reranker.json`.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::print_stderr, reason = "says what was skipped")]

use std::path::PathBuf;

use serde::Deserialize;

use super::*;

fn published(form: PromptForm) -> Option<Judge> {
    let Some(folder) = std::env::var_os("LIVEDEX_QWEN3_TOKENIZERS").map(PathBuf::from) else {
        eprintln!("skipped: LIVEDEX_QWEN3_TOKENIZERS is not set");
        return None;
    };
    let path = folder.join("tokenizer_reranker.json");
    let text = Text::read(&path).unwrap();
    assert_eq!((text.id("yes"), text.id("no")), (Some(9693), Some(2152)));
    Some(Judge::new(text, &path, 8192, None, form, LongDocuments::BestPart).unwrap())
}

#[test]
fn it_gives_the_published_ids() {
    let Some(judge) = published(PromptForm::default()) else { return };
    let prefix = [
        151644, 8948, 198, 60256, 3425, 279, 11789, 20027, 279, 8502, 3118, 389, 279, 11361, 323,
        279, 758, 1235, 3897, 13, 7036, 429, 279, 4226, 646, 1172, 387, 330, 9693, 1, 476, 330,
        2152, 3263, 151645, 198, 151644, 872, 198,
    ];
    let suffix = [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271];
    assert_eq!(judge.prefix, prefix);
    assert_eq!(judge.suffix, suffix);
    let body = [
        27, 641, 1235, 26818, 16246, 264, 3482, 2711, 3239, 11, 17179, 9760, 46769, 429, 4226, 279,
        3239, 198, 27, 2859, 26818,
    ];
    let pair = &judge.encode("x", None, "y").unwrap()[0];
    assert_eq!(pair.ids[prefix.len()..][..body.len()], body);
    assert!(pair.ids.ends_with(&suffix));
    // <Document>: is the last that does not depend on the document.
    assert_eq!(pair.shared_prefix, pair.ids.len() - suffix.len() - 1);
}

#[derive(Deserialize)]
struct Joint {
    form: PromptForm,
    query: String,
    document: String,
    /// Between prefix and suffix.
    body: Vec<u32>,
}

#[derive(Deserialize)]
struct Joints {
    cases: Vec<Joint>,
}

#[test]
fn documents_are_joined_as_the_reference_joins_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let text = std::fs::read(folder.join("qwen3-joints-published.json")).unwrap();
    let cases = serde_json::from_slice::<Joints>(&text).unwrap().cases;
    for form in [PromptForm::OneNewline, PromptForm::TwoNewlines] {
        let Some(judge) = published(form) else { return };
        let mut shared = std::collections::BTreeMap::new();
        for case in cases.iter().filter(|case| case.form == form) {
            let pairs = judge.encode(&case.query, None, &case.document).unwrap();
            let ids = [&judge.prefix[..], &case.body, &judge.suffix].concat();
            assert_eq!(pairs.len(), 1);
            assert_eq!(pairs[0].ids, ids, "{:?}", case.document);
            // The published tokenizer never joins the document to what is before it.
            let most = *shared.entry(&case.query).or_insert(pairs[0].shared_prefix);
            assert_eq!(pairs[0].shared_prefix, most, "{:?}", case.document);
        }
    }
}
