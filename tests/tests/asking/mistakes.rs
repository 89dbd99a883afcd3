//! What a person is told.

use anyhow::{Result, ensure};

use crate::asked::{Asked, SOON};

/// By the command line itself, or by the service with field, limit and what to do.
pub(crate) fn wrong_values_are_named(asked: &Asked) -> Result<()> {
    let filter = r#"{"eq": {"field": "lang", "value": "en"}}"#;
    let cases: [(&[&str], i32, &[&str]); 17] = [
        (&["query"], 2, &["<TEXT>"]),
        (&["query", "q", "-i"], 2, &["--interactive"]),
        (&["query", "q", "--mode", "vector"], 2, &["dense, bm25, hybrid"]),
        (&["query", "q", "--group-by", "author"], 2, &["document"]),
        (&["query", "q", "--include", "words"], 2, &["text, metadata, vectors"]),
        (&["query", "q", "--min-score", "nan"], 2, &["--min-score", "expected a number"]),
        (&["query", "q", "--after", "t@1"], 2, &["TOPIC[PARTITION]@OFFSET"]),
        (&["query", "q", "--strong", "--consistency", "bounded"], 2, &["--consistency"]),
        (&["query", "q", "--include", "none,text"], 1, &["none stands alone"]),
        (&["query", "q", "--after-file", "nowhere"], 1, &["--after-file", "nowhere"]),
        (&["query", "-i", "--after-file", "-"], 1, &["standard input"]),
        (&["query", "q", "--filter", filter], 1, &["--filter", "lang"]),
        (&["query", "q", "-k", "1000"], 1, &["top_k", "1000", "100", "correct `top_k`"]),
        (&["query", "q", "--min-score", "2"], 1, &["min_score", "2"]),
        (&["query", "q", "--neighbours", "99"], 1, &["neighbours", "99", "5"]),
        (&["query", "q", "--collection", "nowhere"], 1, &["nowhere", "livedex", "`collection`"]),
        (&["rerank", "q"], 2, &["<TEXTS>"]),
    ];
    for (arguments, code, words) in cases {
        let finished = asked.livedex.run(arguments, SOON)?;
        let told = format!("{arguments:?}: {} {}", finished.status, finished.stderr);
        ensure!(finished.status.code() == Some(code) && finished.stdout.is_empty(), "{told}");
        for word in words {
            ensure!(finished.stderr.contains(word), "no {word:?}: {told}");
        }
        ensure!(!finished.stderr.contains("panicked"), "{told}");
    }
    Ok(())
}

/// Records that do not come in time are listed with how far ingestion is.
pub(crate) fn not_yet(asked: &Asked) -> Result<()> {
    let after = ["--after", "livedex.documents[0]@999999", "--after", "elsewhere[3]@7"];
    let ask = ["query", "herons", "--timeout-ms", "500"];
    let finished = asked.livedex.run(&[&ask[..], &after[..]].concat(), SOON)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    for words in [
        "425 (not_yet)",
        "livedex.documents[0]@999999: ",
        "elsewhere[3]@7: no ingester has said how far it is",
        "try again in 1000 ms",
        "--timeout-ms",
    ] {
        ensure!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
    }
    Ok(())
}
