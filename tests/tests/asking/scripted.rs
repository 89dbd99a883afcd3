//! What a service answers rarely, or only with a collection made for it, told to a responder.

use anyhow::{Result, ensure};
use livedex_testkit::{
    Livedex, Nats,
    responder::{Responder, Scripted},
};
use serde_json::{Value, json};

use crate::asked::SOON;

fn livedex(nats: &Nats) -> Result<Livedex> {
    Livedex::new(&format!("[nats]\nurl = \"{}\"\n", nats.url()))
}

fn ok(body: &Value) -> Scripted {
    Scripted { status: None, body: body.to_string() }
}

/// All pages are one document; with a limit only what is left of it is asked for.
pub(crate) fn document() -> Result<()> {
    let nats = Nats::start()?;
    let livedex = livedex(&nats)?;
    let page = |from: u32, n: u32, next: Option<u32>| {
        let chunk = |ordinal: u32| {
            json!({
                "chunk_id": ordinal.to_string(), "ordinal": ordinal, "heading": "Part",
                "text": format!("text {ordinal}"),
            })
        };
        let chunks: Vec<Value> = (from..from + n).map(chunk).collect();
        ok(&json!({
            "collection": "c", "document_id": "a.md", "title": "A", "chunks": chunks,
            "source": { "topic": "t", "partition": 0, "offset": 7 }, "next": next,
            "consistency": "strong",
        }))
    };
    let subject = "livedex.documents.get";
    let pages = || vec![page(0, 2, Some(2)), page(2, 2, Some(4)), page(4, 1, None)];
    let get = ["documents", "get", "a.md"];

    let responder = Responder::listen(&nats.url(), subject, pages())?;
    let more = ["--tenant", "acme", "--collection", "c", "--strong", "--json"];
    let finished = livedex.run(&[&get[..], &more[..]].concat(), SOON)?.success()?;
    let reply: Value = serde_json::from_str(&finished.stdout)?;
    ensure!(reply["chunks"].as_array().is_some_and(|chunks| chunks.len() == 5), "{reply}");
    ensure!(reply.get("next").is_none(), "{reply}");
    let asked = responder.end()?;
    let bodies: Vec<Value> =
        asked.iter().map(|asked| serde_json::from_str(&asked.body)).collect::<Result<_, _>>()?;
    let first = json!({
        "document_id": "a.md", "tenant": "acme", "collection": "c", "consistency": "strong",
    });
    ensure!(bodies[0] == first, "{bodies:?}");
    ensure!(bodies[1]["from"] == 2 && bodies[2]["from"] == 4, "{bodies:?}");

    let responder = Responder::listen(&nats.url(), subject, pages()[..2].to_vec())?;
    let shown = livedex.run(&[&get[..], &["--limit", "4"]].concat(), SOON)?.success()?.stdout;
    let asked = responder.end()?;
    ensure!(asked[0].body.contains("\"limit\":4") && asked[1].body.contains("\"limit\":2"));
    for words in ["a.md\ntitle: A", "[0] Part\ntext 0", "[3]\ntext 3", "There is more: --from 4"] {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }

    // It was cut while it was read.
    let gone = json!({ "code": "not_found", "message": "no chunk from there on" });
    let gone = Scripted { status: Some(404), body: gone.to_string() };
    let responder = Responder::listen(&nats.url(), subject, vec![pages().remove(0), gone.clone()])?;
    let shown = livedex.run(&get, SOON)?.success()?.stdout;
    responder.end()?;
    ensure!(shown.contains("text 1") && !shown.contains("There is more"), "{shown}");

    let responder = Responder::listen(&nats.url(), subject, vec![gone])?;
    let finished = livedex.run(&get, SOON)?;
    responder.end()?;
    ensure!(finished.status.code() == Some(1) && finished.stderr.contains("404 (not_found)"));
    Ok(())
}

/// Neighbours, and the document of a hit at the prompt.
pub(crate) fn around() -> Result<()> {
    let nats = Nats::start()?;
    let livedex = livedex(&nats)?;
    let reply = json!({
        "collection": "c", "candidates": 9, "consistency": "bounded",
        "hits": [{
            "chunk_id": "4", "document_id": "a.md", "tenant": "acme", "ordinal": 4,
            "text": "in the middle", "score": 0.5, "retrieve": { "rank": 1, "score": 9.5 },
            "source": { "topic": "t", "partition": 0, "offset": 7 },
            "neighbours": [
                { "chunk_id": "3", "ordinal": 3, "text": "just before" },
                { "chunk_id": "5", "ordinal": 5, "text": "right behind" },
            ],
        }],
        "degraded": { "reason": "deadline", "reranked": 2 },
        "timings_ms": { "search": 1.0, "rerank": 2.0, "neighbours": 3.0, "total": 6.0 },
        "models": { "embedder": { "name": "e", "fingerprint": "f" } },
    });
    let responder = Responder::listen(&nats.url(), "livedex.query", vec![ok(&reply)])?;
    let document = json!({
        "collection": "c", "document_id": "a.md", "consistency": "bounded",
        "chunks": [{ "chunk_id": "0", "ordinal": 0, "text": "where it begins" }],
        "source": { "topic": "t", "partition": 0, "offset": 7 },
    });
    let documents = Responder::listen(&nats.url(), "livedex.documents.get", vec![ok(&document)])?;
    let input = ":mode bm25\n:neighbours 1\nwhat?\n:doc 1\n";
    let shown = livedex.run_with_input(&["query", "-i"], input, SOON)?.success()?.stdout;
    let place = |words: &str| shown.find(words);
    let places = ["↑ chunk 3: just before", "in the middle", "↓ chunk 5: right behind", "DEGRADED"]
        .map(place);
    ensure!(places.is_sorted() && places.iter().all(Option::is_some), "{shown}");
    ensure!(shown.contains("2 of 9 candidates were reranked: allow more time"), "{shown}");
    ensure!(shown.ends_with("[0]\nwhere it begins\n"), "{shown}");
    let asked: Value = serde_json::from_str(&responder.end()?[0].body)?;
    ensure!(asked == json!({ "query": "what?", "mode": "bm25", "neighbours": 1 }), "{asked}");
    let asked: Value = serde_json::from_str(&documents.end()?[0].body)?;
    ensure!(asked == json!({ "collection": "c", "document_id": "a.md", "tenant": "acme" }));
    Ok(())
}

/// With the hint when to come back, for every endpoint.
pub(crate) fn refusals() -> Result<()> {
    let nats = Nats::start()?;
    let livedex = livedex(&nats)?;
    let busy = json!({
        "code": "overloaded", "message": "too many requests in flight", "retry_after_ms": 40,
    });
    let commands: [(&[&str], &str); 5] = [
        (&["query", "q"], "query"),
        (&["query", "q", "--stage-1"], "retrieve"),
        (&["rerank", "q", "text"], "rerank"),
        (&["embed", "text"], "embed"),
        (&["documents", "get", "a.md"], "documents.get"),
    ];
    for (command, endpoint) in commands {
        let refusal = Scripted { status: Some(429), body: busy.to_string() };
        let subject = format!("livedex.{endpoint}");
        let responder = Responder::listen(&nats.url(), &subject, vec![refusal])?;
        let finished = livedex.run(&[command, &["--timeout-ms", "7000"]].concat(), SOON)?;
        let asked = responder.end()?;
        ensure!(asked[0].deadline_ms()? == 7000, "{:?}", asked[0]);
        let told = format!("{command:?}: {} {}", finished.status, finished.stderr);
        ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{told}");
        for words in ["429 (overloaded): too many requests in flight", "try again in 40 ms"] {
            ensure!(finished.stderr.contains(words), "no {words:?}: {told}");
        }
    }
    Ok(())
}
