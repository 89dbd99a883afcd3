//! `livedex query -i` without a terminal: the same lines, and no prompts.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::asked::{Asked, SOON};

/// Settings stay from question to question, and what was found can be looked at.
pub(crate) fn lines(asked: &Asked) -> Result<()> {
    let input = ":k 2\n:json on\nherons\n\n:filter {\"eq\": {\"field\": \"metadata.lang\", \"value\": \"de\"}}\n\
                 :rerank off\nherons\n:show 1\n:json off\n:set\nherons\n:help\n:quit\nnot asked\n";
    let finished = asked.livedex.run_with_input(&["query", "-i"], input, SOON)?.success()?;
    let shown = &finished.stdout;
    let replies: Vec<Value> = shown
        .lines()
        .filter(|line| line.starts_with("{\"collection\""))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(replies.len() == 2, "{shown}");
    let hits = |reply: &Value| reply["hits"].as_array().cloned().unwrap_or_default();
    ensure!(hits(&replies[0]).len() == 2 && replies[0]["timings_ms"]["rerank"].is_number());
    ensure!(!hits(&replies[1]).is_empty() && replies[1]["timings_ms"].get("rerank").is_none());
    ensure!(hits(&replies[1]).iter().all(|hit| hit["metadata"]["lang"] == "de"), "{shown}");
    // The whole of the first hit: its text and its record.
    let first = &hits(&replies[1])[0];
    let text = first["text"].as_str().unwrap_or_default();
    ensure!(!text.is_empty() && shown.matches(text).count() >= 2, "{shown}");
    for words in [
        "record: livedex.documents[",
        ":rerank       off",
        ":k            2",
        "candidates in",
        ":show N",
    ] {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }
    // Nothing is asked behind the end, and nobody is prompted.
    ensure!(shown.matches("candidates in").count() == 1, "{shown}");
    ensure!(!shown.contains("livedex>") && finished.stderr.is_empty(), "{}", finished.stderr);
    Ok(())
}

/// A mistake costs its own line, and the exit code.
pub(crate) fn mistakes(asked: &Asked) -> Result<()> {
    let input =
        ":limit 5\n:mode vector\n:show 1\n:k 1000\nherons\n:k 1\n:json on\nherons\n:show 9\n";
    let finished = asked.livedex.run_with_input(&["query", "-i"], input, SOON)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    for words in [
        "there is no :limit; there are :k ",
        "dense, bm25, hybrid, not \"vector\"",
        "there is no answer yet",
        "`top_k`",
        "there is no hit 9: the last answer has 1",
    ] {
        ensure!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
    }
    let reply: Value = serde_json::from_str(&finished.stdout)?;
    ensure!(reply["hits"].as_array().is_some_and(|hits| hits.len() == 1), "{reply}");
    Ok(())
}
