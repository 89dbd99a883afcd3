//! What a user sees when something is not there or not right: one line that names it and says
//! what to do, an exit code that is not 0, within seconds.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use livedex_testkit::{Broker, Livedex, MilvusLite, Need, Suite, binary::Finished, stack};

/// "Within seconds": connecting gives up after 5, and a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    Suite::new()
        .test("a_mistyped_key_is_named_with_the_key_that_was_meant", &[], || {
            let livedex = Livedex::new("[kafka]\nbroker = \"127.0.0.1:9092\"\n")?;
            let line = one_line(livedex.run(&["ingest"], SOON)?)?;
            mentions(&line, &["kafka.broker", "brokers"])
        })
        .test("all_mistakes_are_named_at_once", &[], || {
            let livedex = Livedex::new(
                "[kafka]\ngroup = \"\"\n[query]\ntop_k = 100000\n[milvus]\ntimeout_ms = \"soon\"\n",
            )?;
            let finished = failed(livedex.run(&["ingest"], SOON)?)?;
            // A value of the wrong type and a value out of its limits are different steps of
            // reading, so both kinds need not come together, but all of one kind must.
            mentions(&finished.stderr, &["milvus.timeout_ms", "soon"])?;
            let livedex = Livedex::new("[kafka]\ngroup = \"\"\n[query]\ntop_k = 100000\n")?;
            let finished = failed(livedex.run(&["ingest"], SOON)?)?;
            mentions(&finished.stderr, &["kafka.group", "query.top_k", "100000"])
        })
        .test("a_dead_broker_is_named", &[Need::LocalServers], || {
            let milvus = MilvusLite::start()?;
            let brokers = closed_address()?;
            let livedex = Livedex::new(&config(&brokers, &milvus.uri(), &model()))?;
            let line = one_line(livedex.run(&["ingest"], SOON)?)?;
            mentions(&line, &[&brokers])
        })
        .test("a_wrong_milvus_address_is_named", &[], || {
            let broker = Broker::start_embedded()?;
            let address = closed_address()?;
            let uri = format!("http://{address}");
            let livedex = Livedex::new(&config(&broker.brokers(), &uri, &model()))?;
            let line = one_line(livedex.run(&["ingest"], SOON)?)?;
            mentions(&line, &[&address])
        })
        .test("servers_that_accept_and_never_answer_are_given_up", &[], || {
            // A firewall or a wrong port: the connection stands, nothing is ever said.
            let silent = TcpListener::bind("127.0.0.1:0")?;
            let address = silent.local_addr()?.to_string();
            let broker = Broker::start_embedded()?;
            let uri = format!("http://{address}");
            let livedex = Livedex::new(&config(&broker.brokers(), &uri, &model()))?;
            let line = one_line(livedex.run(&["ingest"], SOON)?)?;
            mentions(&line, &[&address])?;
            let livedex = Livedex::new(&config(&address, &uri, &model()))?;
            let line = one_line(livedex.run(&["publish", "."], SOON)?)?;
            mentions(&line, &[&address])
        })
        .test("a_missing_model_folder_is_named", &[Need::LocalServers], || {
            let (broker, milvus) = (Broker::start_embedded()?, MilvusLite::start()?);
            let livedex =
                Livedex::new(&config(&broker.brokers(), &milvus.uri(), "./no-such-model"))?;
            let line = one_line(livedex.run(&["ingest"], SOON)?)?;
            mentions(&line, &["no-such-model"])
        })
        .test(
            "a_query_without_a_server_or_a_service_is_refused_at_once",
            &[Need::LocalServers],
            || {
                let livedex =
                    Livedex::new(&format!("[nats]\nurl = \"nats://{}\"\n", closed_address()?))?;
                one_line(livedex.run(&["query", "anything"], SOON)?)?;
                let nats = livedex_testkit::Nats::start()?;
                let livedex = Livedex::new(&format!("[nats]\nurl = \"{}\"\n", nats.url()))?;
                let finished = livedex.run(&["query", "anything"], SOON)?;
                ensure!(finished.took < Duration::from_secs(5), "{:?}", finished.took);
                // No worker listens on the subject: the line names it.
                mentions(&one_line(finished)?, &["livedex.query"])
            },
        )
        .test("check_gives_every_connection_a_line", &[], || {
            let address = closed_address()?;
            let text = config(&address, &format!("http://{address}"), "./no-such-model");
            let livedex = Livedex::new(&format!("{text}[nats]\nurl = \"nats://{address}\"\n"))?;
            let finished = failed(livedex.run(&["check"], SOON * 2)?)?;
            for (line, name) in
                finished.stdout.lines().zip(["configuration", "kafka", "milvus", "nats", "models"])
            {
                let outcome = if name == "configuration" { "ok" } else { "failed" };
                ensure!(line.starts_with(outcome) && line.contains(name), "{}", finished.stdout);
            }
            ensure!(finished.stdout.lines().count() == 5, "{}", finished.stdout);
            Ok(())
        })
        .run()
}

fn config(brokers: &str, milvus_uri: &str, model: &str) -> String {
    format!(
        "[kafka]\nbrokers = \"{brokers}\"\n[milvus]\nuri = \"{milvus_uri}\"\n\
         [embedder]\nmodel = \"{model}\"\n[reranker]\nenabled = false\n\
         [chunk]\nmax_tokens = 64\n[http]\nlisten = \"\"\n"
    )
}

fn model() -> String {
    stack::fixture("bert-embed").display().to_string()
}

/// An address on which nothing listens.
fn closed_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The command failed as a command fails, not as a program does.
fn failed(finished: Finished) -> Result<Finished> {
    ensure!(
        finished.status.code().is_some_and(|code| code != 0),
        "{}: {}",
        finished.status,
        finished.stderr
    );
    ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    Ok(finished)
}

/// The one line of a failed command; log lines above it may tell how far it came.
fn one_line(finished: Finished) -> Result<String> {
    let finished = failed(finished)?;
    ensure!(finished.stdout.is_empty(), "standard output: {}", finished.stdout);
    let lines: Vec<_> =
        finished.stderr.lines().skip_while(|line| !line.starts_with("livedex: ")).collect();
    match lines[..] {
        [line] => Ok(line.to_owned()),
        _ => bail!("not one line at the end: {}", finished.stderr),
    }
}

fn mentions(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in {text:?}");
    }
    Ok(())
}
