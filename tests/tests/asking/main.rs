//! Asking through the binary: every flag of `livedex query`, its prompt without a terminal, the commands
//! beside it, and what a person is told when something is wrong.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use livedex_testkit::{Need, Suite, binary::Finished};
use serde_json::Value;

use asked::{Asked, SOON, Shared};

mod asked;
mod interactive;
mod mistakes;
mod scripted;

fn main() -> ExitCode {
    let shared = Shared::default();
    let test = |suite: Suite, name: &str, body: fn(&Asked) -> Result<()>| {
        let shared = shared.clone();
        suite.test(name, &[Need::LocalServers], move || body(&*shared.get()?))
    };
    let suite = Suite::new();
    let suite = test(suite, "what_was_just_written_is_found", what_was_just_written_is_found);
    let suite = test(suite, "hits_are_chosen_by_the_flags", hits_are_chosen_by_the_flags);
    let suite = test(suite, "hits_carry_what_was_asked_for", hits_carry_what_was_asked_for);
    let suite = test(suite, "people_see_what_they_asked_for", people_see_what_they_asked_for);
    let suite = test(suite, "texts_of_ones_own_are_scored_and_embedded", own_texts);
    let suite = test(suite, "lines_are_questions_and_commands", interactive::lines);
    let suite = test(suite, "a_session_says_what_is_wrong_and_goes_on", interactive::mistakes);
    let suite = test(suite, "wrong_values_are_named", mistakes::wrong_values_are_named);
    let suite = test(suite, "what_is_not_there_yet_is_listed", mistakes::not_yet);
    drop(shared);
    let suite = suite
        .test("a_document_is_read_page_by_page", &[Need::LocalServers], scripted::document)
        .test("what_comes_with_a_hit_is_shown_around_it", &[Need::LocalServers], scripted::around)
        .test("every_refusal_says_what_to_do", &[Need::LocalServers], scripted::refusals);
    suite.run()
}

/// `publish --json | query --after-file -`, and the same by a file and by hand.
fn what_was_just_written_is_found(asked: &Asked) -> Result<()> {
    let (livedex, dir) = (&asked.livedex, asked.livedex.dir().join("late"));
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join("late.md"), "# Late\n\nThe heron keeps the lighthouse.")?;
    let lines = livedex.run(&["publish", "late", "--json"], SOON)?.success()?.stdout;
    ensure!(lines.lines().count() == 1, "{lines}");
    let ask = ["query", "heron", "--top-k", "100", "--json", "--after-file"];
    let by_input = livedex.run_with_input(&[&ask[..], &["-"]].concat(), &lines, SOON)?.success()?;
    std::fs::write(livedex.dir().join("written.jsonl"), &lines)?;
    let by_file = livedex.run(&[&ask[..], &["written.jsonl"]].concat(), SOON)?.success()?;
    let at: Value = serde_json::from_str(&lines)?;
    let text = |name: &str| at[name].to_string().replace('"', "");
    let at = format!("{}[{}]@{}", text("topic"), text("partition"), text("offset"));
    let by_hand = ["query", "heron", "--top-k", "100", "--json", "--after", &at];
    let by_hand = livedex.run(&by_hand, SOON)?.success()?;
    for finished in [by_input, by_file, by_hand] {
        let reply: Value = serde_json::from_str(&finished.stdout)?;
        ensure!(reply["consistency"] == "strong", "{reply}");
        ensure!(reply["timings_ms"]["wait"].is_number(), "{reply}");
        ensure!(documents(&reply).contains(&"late.md".to_owned()), "{reply}");
    }
    Ok(())
}

fn hits_are_chosen_by_the_flags(asked: &Asked) -> Result<()> {
    ensure!(hits(&asked.json(&["-k", "2"])?).len() == 2);

    let german = r#"{"eq": {"field": "metadata.lang", "value": "de"}}"#;
    let reply = asked.json(&["--filter", german])?;
    let mut found = documents(&reply);
    found.sort();
    found.dedup();
    ensure!(found == ["b.md", "d.md"], "{found:?}");
    let reply = asked.json(&["--tenant", "acme"])?;
    ensure!(documents(&reply) == ["of-acme.md"], "{reply}");

    // The long document has several chunks, which are one hit, with the others below it.
    let apart = documents(&asked.json(&["-k", "50"])?);
    ensure!(apart.iter().filter(|id| *id == "long.md").count() > 1, "{apart:?}");
    let reply = asked.json(&["-k", "50", "--group-by", "document"])?;
    let together = documents(&reply);
    ensure!(together.iter().filter(|id| *id == "long.md").count() == 1, "{together:?}");
    let long = hits(&reply).iter().find(|hit| hit["document_id"] == "long.md");
    ensure!(long.is_some_and(|hit| hit["passages"].is_array()), "{reply}");

    // A bound between two scores parts them.
    let reply = asked.json(&["-k", "50"])?;
    let scores: Vec<f64> = hits(&reply).iter().filter_map(|hit| hit["score"].as_f64()).collect();
    let middle = scores[scores.len() / 2];
    let above = asked.json(&["-k", "50", "--min-score", &middle.to_string()])?;
    let above = hits(&above).len();
    ensure!(0 < above && above < scores.len(), "{above} of {} above {middle}", scores.len());

    for flag in ["--stage-1", "--no-rerank"] {
        let reply = asked.json(&[flag])?;
        ensure!(!hits(&reply).is_empty() && reply["timings_ms"].get("rerank").is_none(), "{reply}");
        ensure!(hits(&reply).iter().all(|hit| hit.get("rerank").is_none()), "{flag}: {reply}");
    }
    for level in ["strong", "bounded", "eventually"] {
        ensure!(asked.json(&["--consistency", level])?["consistency"] == level);
    }
    ensure!(asked.json(&["--strong"])?["consistency"] == "strong");
    ensure!(asked.json(&["--collection", "livedex"])?["collection"] == "livedex");
    Ok(())
}

fn hits_carry_what_was_asked_for(asked: &Asked) -> Result<()> {
    let has = |reply: &Value, part: &str| hits(reply).iter().all(|hit| hit.get(part).is_some());
    let reply = asked.json(&[])?;
    ensure!(has(&reply, "text") && has(&reply, "metadata") && !has(&reply, "vector"), "{reply}");
    let reply = asked.json(&["--include", "metadata"])?;
    ensure!(has(&reply, "metadata") && !has(&reply, "text") && !has(&reply, "vector"), "{reply}");
    let reply = asked.json(&["--include", "none"])?;
    ensure!(!has(&reply, "metadata") && !has(&reply, "text"), "{reply}");
    let also = ["--also", "in other words", "--also", "and once more", "--explain"];
    let explain = asked.json(&also)?["explain"].clone();
    let routes: Vec<_> = explain["routes"].as_array().into_iter().flatten().collect();
    ensure!(routes.len() == 3 && explain["mode"] == "dense", "{explain}");
    Ok(())
}

fn people_see_what_they_asked_for(asked: &Asked) -> Result<()> {
    let flags = ["query", "herons", "-k", "3", "--explain", "--include", "text,metadata"];
    let shown = asked.livedex.run(&flags, SOON)?.success()?.stdout;
    let words = ["found by: dense", "metadata: {", "candidates in", "read bounded;", "embedder "];
    for words in words {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }
    ensure!(!shown.contains("DEGRADED"), "{shown}");
    Ok(())
}

fn own_texts(asked: &Asked) -> Result<()> {
    let livedex = &asked.livedex;
    let texts = ["rerank", "herons", "a bird that waits", "a locomotive", "--json"];
    let reply: Value = json(&livedex.run(&texts, SOON)?.success()?)?;
    ensure!(reply["results"].as_array().is_some_and(|results| results.len() == 2), "{reply}");
    let lines = "a bird that waits\n\na locomotive\na third\n";
    let shown =
        livedex.run_with_input(&["rerank", "herons", "-k", "2", "--file", "-"], lines, SOON)?;
    let shown = shown.success()?.stdout;
    ensure!(shown.lines().count() == 3 && shown.contains("3 texts by "), "{shown}");

    let embed = |kind| livedex.run(&["embed", "herons", "trains", "--kind", kind], SOON);
    let reply: Value = json(&embed("query")?.success()?)?;
    let dimension = reply["dimension"].as_u64().unwrap_or_default();
    let embeddings: Vec<_> = reply["embeddings"].as_array().into_iter().flatten().collect();
    ensure!(embeddings.len() == 2 && dimension > 0, "{reply}");
    for one in embeddings {
        let numbers: Vec<f64> =
            one.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let norm: f64 = numbers.iter().map(|x| x * x).sum();
        ensure!(numbers.len() as u64 == dimension && (norm - 1.0).abs() < 1e-3, "{norm}");
    }
    let reply: Value = json(&embed("document")?.success()?)?;
    ensure!(reply["dimension"].as_u64() == Some(dimension));
    Ok(())
}

fn json(finished: &Finished) -> Result<Value> {
    Ok(serde_json::from_str(&finished.stdout)?)
}

/// The hits of a reply.
fn hits(reply: &Value) -> &[Value] {
    reply["hits"].as_array().map_or(&[], Vec::as_slice)
}

/// Their documents, in order.
fn documents(reply: &Value) -> Vec<String> {
    let ids = hits(reply).iter().filter_map(|hit| hit["document_id"].as_str());
    ids.map(str::to_owned).collect()
}
