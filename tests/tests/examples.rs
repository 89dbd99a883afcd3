//! The programs in `examples/`, run against a service: what they print is what `livedex query` finds.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{
    Broker, Livedex, Need, Stack, Suite, clients,
    responder::{Asked, Responder, Scripted},
    stack::runtime,
    wait::until,
};
use serde_json::{Value, json};

/// For one command, and a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// For a worker to load its models.
const START: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    Suite::new()
        .test("python", &[Need::LocalServers], || {
            let script = clients::example("python").join("ask.py");
            finds_what_livedex_finds(&clients::python()?, &script)
        })
        .test("typescript", &[Need::LocalServers, Need::Node], || {
            finds_what_livedex_finds(Path::new("node"), &clients::typescript()?)
        })
        .run()
}

fn finds_what_livedex_finds(interpreter: &Path, script: &Path) -> Result<()> {
    let stack = Stack::start(Broker::start_embedded()?)?;
    let mut livedex = Livedex::new(&stack.config())?;
    livedex.env("NATS_URL", stack.nats_url());
    let script = script.to_string_lossy().into_owned();
    let example = |arguments: &[&str]| {
        livedex.run_program(interpreter, &[&[script.as_str()], arguments].concat(), SOON)
    };

    // Nobody is there yet; then a service that is full, and has room when it is asked again.
    let finished = example(&["herons"])?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("nobody listens on livedex.query"), "{}", finished.stderr);

    let busy = r#"{"code": "overloaded", "message": "busy", "retry_after_ms": 60}"#;
    let answer = r#"{"hits": [{"chunk_id": "c", "score": 0.5, "document_id": "d"}]}"#;
    let answers = vec![
        Scripted { status: Some(429), body: busy.to_owned() },
        Scripted { status: None, body: answer.to_owned() },
    ];
    let responder = Responder::listen(stack.nats_url(), "livedex.query", answers)?;
    let finished = example(&["herons"])?.success()?;
    ensure!(finished.stderr.contains("overloaded: busy; asking again in "), "{}", finished.stderr);
    ensure!(finished.stdout == "c\t0.500\td\n", "{}", finished.stdout);
    let asked = responder.end()?;
    let deadlines: Vec<u64> = asked.iter().map(Asked::deadline_ms).collect::<Result<_>>()?;
    ensure!(deadlines.len() == 2 && deadlines[0] == 5000 && deadlines[1] < 4950, "{deadlines:?}");

    // Asked right after writing, it finds what was written, in its language.
    let _worker = livedex.start(&["run"])?;
    let runtime = runtime()?;
    runtime.block_on(until("an answer", START, || async {
        let finished = livedex.run(&["query", "herons"], SOON)?;
        Ok(finished.success().map(drop).map_err(|error| error.to_string()))
    }))?;
    let mut written = String::new();
    for n in 0..12 {
        let (id, lang) = (format!("{n}.md"), if n % 2 == 0 { "en" } else { "de" });
        let text = format!("Heron {n} stands in the water and waits for {n} fish.");
        let document = json!({ "id": id, "text": text, "metadata": { "lang": lang } }).to_string();
        let at = runtime.block_on(stack.publish_raw(Some(id.as_bytes()), document.as_bytes()))?;
        let line = json!({
            "id": id, "topic": &*at.topic, "partition": at.partition, "offset": at.offset,
        });
        written += &format!("{line}\n");
    }
    std::fs::write(livedex.dir().join("written.jsonl"), written)?;
    let found = example(&["herons", "--after", "written.jsonl", "--lang", "en", "--top-k", "20"])?;
    let found = found.success()?.stdout;
    let filter = r#"{"eq": {"field": "metadata.lang", "value": "en"}}"#;
    let ask = ["query", "herons", "--after-file", "written.jsonl", "--filter", filter, "-k", "20"];
    let reply = livedex.run(&[&ask[..], &["--json"]].concat(), SOON)?.success()?.stdout;
    let expected = lines(&serde_json::from_str(&reply)?).context(reply)?;
    ensure!(expected.len() == 6 && found.lines().eq(&expected), "{found}\nnot\n{expected:?}");

    // A refusal has its code, and is not tried again; one that may pass needs time for it.
    let finished = example(&["herons", "--top-k", "1000"])?;
    ensure!(
        finished.status.code() == Some(1) && finished.stderr.contains("bad_request: "),
        "{}",
        finished.stderr
    );
    ensure!(!finished.stderr.contains("asking again"), "{}", finished.stderr);
    let never = json!({ "topic": "livedex.documents", "partition": 0, "offset": 1_000_000 });
    std::fs::write(livedex.dir().join("never.jsonl"), never.to_string())?;
    let finished = example(&["herons", "--after", "never.jsonl", "--timeout-ms", "300"])?;
    ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{}", finished.status);
    for words in ["not_yet: ", "not there yet: ", "1000000"] {
        ensure!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
    }
    Ok(())
}

/// What the examples print of a reply.
fn lines(reply: &Value) -> Option<Vec<String>> {
    let line = |hit: &Value| {
        let (chunk, document) = (hit["chunk_id"].as_str()?, hit["document_id"].as_str()?);
        Some(format!("{chunk}\t{:.3}\t{document}", hit["score"].as_f64()?))
    };
    reply["hits"].as_array()?.iter().map(line).collect()
}
