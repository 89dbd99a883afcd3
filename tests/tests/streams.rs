//! Several streams in one process: topics, collections, chunk sizes and groups of their own, one
//! model, and each to be told from the other in metrics and status.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_kafka::{Admin, KafkaConfig, TopicSpec};
use livedex_testkit::{
    Broker, Livedex, Need, Stack, Suite,
    stack::{CHUNK_TOKENS, runtime},
    wait::until,
    workload::Workload,
};
use serde_json::Value;

/// For a few hundred documents through a debug build on two busy cores.
const STREAM: Duration = Duration::from_secs(180);

/// For a command that answers and ends.
const SOON: Duration = Duration::from_secs(30);

/// The least that a chunk may have.
const FEW_TOKENS: usize = 48;

/// Name, topic, group, collection and chunk size of each stream.
const STREAMS: [(&str, &str, &str, &str, usize); 2] = [
    ("guides", "guides.v1", "livedex", "guides", CHUNK_TOKENS),
    ("notes", "notes.v1", "readers-of-notes", "notes", FEW_TOKENS),
];

fn main() -> ExitCode {
    Suite::new()
        .test("two_streams_in_one_process", &[Need::LocalServers], || {
            let stack = Stack::start(Broker::start_preferring_apache()?)?;
            two_streams(&stack)
        })
        .test("publish_and_check_know_the_streams", &[Need::LocalServers], || {
            let stack = Stack::start(Broker::start_embedded()?)?;
            publish_and_check(&stack)
        })
        .run()
}

/// A worker's configuration with both streams; `http` is `address:port` or empty.
fn config(stack: &Stack, http: &str) -> String {
    let listen = format!("listen = \"{http}\"");
    let servers = stack.config().replace("listen = \"\"", &listen);
    format!(
        "{servers}\
         [[streams]]\nname = \"guides\"\ntopic = \"guides.v1\"\ncollection = \"guides\"\n\
         [[streams]]\nname = \"notes\"\ntopic = \"notes.v1\"\ncollection = \"notes\"\n\
         group = \"readers-of-notes\"\nchunk = {{ max_tokens = {FEW_TOKENS} }}\n"
    )
}

fn two_streams(stack: &Stack) -> Result<()> {
    let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let livedex = Livedex::new(&config(stack, &http))?;
    let mut workloads = [Workload::new(41), Workload::new(42)];
    let runtime = runtime()?;

    // Nothing is there yet, and `check` says so for each.
    let checked = livedex.run(&["check"], SOON)?.success()?.stdout;
    for (name, topic, group, collection, _) in STREAMS {
        let start = format!("ok      {:<14} topic {topic} is missing", format!("stream {name}"));
        let line = checked.lines().find(|line| line.starts_with(&start));
        let line = line.with_context(|| format!("no line starts with {start:?}: {checked}"))?;
        for words in
            [format!("{topic}.dlq"), format!("group {group}"), format!("collection {collection}")]
        {
            ensure!(line.contains(&words), "no {words:?} in {line}");
        }
    }

    let mut worker = livedex.start(&["run"])?;
    runtime.block_on(async {
        until("both topics", STREAM, || {
            let running = worker.still_runs();
            async {
                running?;
                let admin = Admin::new(stack.kafka());
                let both =
                    (admin.partitions("guides.v1").await?, admin.partitions("notes.v1").await?);
                Ok(if both.0.is_some() && both.1.is_some() {
                    Ok(())
                } else {
                    Err(format!("{both:?}"))
                })
            }
        })
        .await?;
        for (workload, (_, topic, ..)) in workloads.iter_mut().zip(STREAMS) {
            stack.publish_to(topic, &workload.create(60)?).await?;
        }
        until_committed(stack).await.with_context(|| worker.stderr().unwrap_or_default())?;
        for (workload, (_, topic, ..)) in workloads.iter_mut().zip(STREAMS) {
            stack.publish_to(topic, &workload.update(40)).await?;
            stack.publish_to(topic, &workload.delete(10)).await?;
        }
        until_committed(stack).await.with_context(|| worker.stderr().unwrap_or_default())?;
        both_are_clean(stack, &workloads).await
    })?;

    metrics_tell_them_apart(&http)?;
    status_shows_both(&livedex, &http)?;
    let finished = worker.terminate(SOON)?.success()?;
    // A line of the log says whose it is.
    let is_of_notes =
        |line: &str| line.contains("ingestion stopped") && line.contains("name=\"notes\"");
    ensure!(finished.stderr.lines().any(is_of_notes), "{}", finished.stderr);

    // A job is done when both are.
    runtime.block_on(async {
        for (workload, (_, topic, ..)) in workloads.iter_mut().zip(STREAMS) {
            stack.publish_to(topic, &workload.create(20)?).await?;
        }
        anyhow::Ok(())
    })?;
    let finished = livedex.run(&["ingest", "--until-caught-up", "--json"], STREAM)?.success()?;
    let report: Value = serde_json::from_str(&finished.stdout)?;
    ensure!(report["caught_up"] == true && report["records"] == 40, "{report}");
    for (index, (name, ..)) in STREAMS.into_iter().enumerate() {
        let one = &report["streams"][index];
        ensure!(
            one["stream"] == name && one["records"] == 20 && one["caught_up"] == true,
            "{report}"
        );
    }
    runtime.block_on(both_are_clean(stack, &workloads))?;

    // One that cannot work ends the process, by its name.
    let broken = config(stack, "").replace("max_tokens = 48", "max_tokens = 4000");
    let finished = Livedex::new(&broken)?.run(&["ingest"], SOON)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(
        finished.stderr.contains("livedex: stream notes: chunk.max_tokens is 4000"),
        "{}",
        finished.stderr
    );
    Ok(())
}

/// Waits until both groups have committed all of their topics.
async fn until_committed(stack: &Stack) -> Result<()> {
    until("both groups at lag 0", STREAM, || async {
        let mut lags = BTreeMap::new();
        for (name, topic, group, ..) in STREAMS {
            lags.insert(name, stack.lag_of(group, topic).await?);
        }
        Ok(if lags.values().all(|lag| *lag == 0) { Ok(()) } else { Err(format!("{lags:?}")) })
    })
    .await
}

/// Each collection holds its own stream's documents, cut its own way, and nothing else.
async fn both_are_clean(stack: &Stack, workloads: &[Workload; 2]) -> Result<()> {
    for (workload, (name, topic, group, collection, tokens)) in workloads.iter().zip(STREAMS) {
        ensure!(stack.lag_of(group, topic).await? == 0, "{name} is behind");
        let report = stack.report_of(collection, tokens, &workload.expected()).await?;
        ensure!(report.is_clean() && report.rows > workload.expected().len(), "{name}: {report}");
        let other = if tokens == FEW_TOKENS { CHUNK_TOKENS } else { FEW_TOKENS };
        let report = stack.report_of(collection, other, &workload.expected()).await?;
        ensure!(!report.is_clean(), "{name} is cut as the other is");
    }
    Ok(())
}

fn metrics_tell_them_apart(http: &str) -> Result<()> {
    let text = ureq::get(format!("http://{http}/metrics")).call()?.body_mut().read_to_string()?;
    for (name, topic, ..) in STREAMS {
        for labels in [
            format!("livedex_kafka_lag{{stream=\"{name}\",topic=\"{topic}\",partition=\"0\"}} 0"),
            format!("livedex_kafka_records_total{{stream=\"{name}\"}} 110"),
            format!("livedex_kafka_waiting_records{{stream=\"{name}\"}} 0"),
            format!("livedex_ingest_queue_records{{stream=\"{name}\",stage=\"waves\"}} 0"),
            format!("livedex_ingest_chunks_total{{stream=\"{name}\",action=\"embedded\"}}"),
            format!("livedex_ingest_wave_seconds_count{{stream=\"{name}\",step=\"upsert\"}}"),
            format!("livedex_ingest_freshness_seconds_bucket{{stream=\"{name}\",le=\"0.01\"}}"),
            format!("livedex_ingest_freshness_seconds_bucket{{stream=\"{name}\",le=\"3600\"}}"),
            format!("livedex_kafka_commits_total{{stream=\"{name}\",result=\"ok\"}}"),
        ] {
            ensure!(text.contains(&labels), "no {labels} in:\n{text}");
        }
    }
    Ok(())
}

fn status_shows_both(livedex: &Livedex, http: &str) -> Result<()> {
    let status: Value =
        serde_json::from_str(&livedex.run(&["status", "--json"], SOON)?.success()?.stdout)?;
    let worker = &status["workers"][0];
    ensure!(
        worker["url"] == format!("http://{http}") && worker["status"]["ready"] == true,
        "{worker}"
    );
    for (index, (name, topic, group, collection, _)) in STREAMS.into_iter().enumerate() {
        let seen = &status["streams"][index];
        for (key, value) in
            [("stream", name), ("topic", topic), ("group", group), ("collection", collection)]
        {
            ensure!(
                seen[key] == value && worker["status"]["streams"][index][key] == value,
                "{status}"
            );
        }
        ensure!(seen["kafka"]["lag"] == 0 && seen["milvus"]["rows"].as_u64() > Some(60), "{seen}");
        let own = &worker["status"]["streams"][index];
        ensure!(own["paused"] == false && own["done"]["records"] == 110, "{own}");
        ensure!(own["queues"]["source"]["records"] == 0, "{own}");
        let partitions = own["partitions"].as_array().context("no partitions")?;
        let behind = partitions.iter().filter(|one| one["lag"] != 0).count();
        ensure!(!partitions.is_empty() && behind == 0, "{own}");
        let fresh = &own["freshness"];
        ensure!(
            fresh["p50_seconds"].as_f64() > Some(0.0)
                && fresh["p50_seconds"].as_f64() <= fresh["p99_seconds"].as_f64(),
            "{own}"
        );
        let saved = own["embeddings_saved"].as_f64().context("nothing embedded")?;
        ensure!(0.0 < saved && saved < 1.0, "{own}");
    }
    // Nobody has said which collection is to be searched: the first's.
    ensure!(status["services"][0]["collection"] == "guides", "{}", status["services"]);

    let text = livedex.run(&["status"], SOON)?.success()?.stdout;
    for words in [
        "stream guides\ntopic guides.v1, group livedex\n",
        "stream notes\ntopic notes.v1, group readers-of-notes\n",
        &format!("worker http://{http}\n"),
        "  stream notes: ",
        "records waiting: source 0 (0 B)",
        "embeddings saved ",
    ] {
        ensure!(text.contains(words), "no {words:?} in:\n{text}");
    }

    // A worker that was named and does not answer is said, and is a failure.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let finished = livedex.run(&["status", "--worker", &nobody, "--worker", http], SOON)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(
        finished.stdout.contains(&format!("worker http://{nobody}\n  no worker answers here")),
        "{}",
        finished.stdout
    );
    ensure!(finished.stdout.contains("  stream guides: "), "{}", finished.stdout);
    Ok(())
}

fn publish_and_check(stack: &Stack) -> Result<()> {
    let livedex = Livedex::new(&config(stack, ""))?;
    fs::create_dir(livedex.dir().join("site"))?;
    fs::write(livedex.dir().join("site/one.md"), "# One\n\nA page.")?;

    // To which topic, is not to be guessed.
    let finished = livedex.run(&["publish", "site"], SOON)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("--stream: guides, notes"), "{}", finished.stderr);
    let finished = livedex.run(&["publish", "site", "--stream", "gides"], SOON)?;
    ensure!(finished.stderr.contains("no stream is called \"gides\""), "{}", finished.stderr);

    livedex.run(&["publish", "site", "--stream", "notes"], SOON)?.success()?;
    livedex.run(&["publish", "site", "--topic", "elsewhere"], SOON)?.success()?;
    let sample = livedex.run(&["check", "--sample", "5", "--stream", "notes"], SOON)?.success()?;
    ensure!(
        sample.stdout.contains("one.md") && sample.stdout.contains("topic notes.v1"),
        "{}",
        sample.stdout
    );
    runtime()?.block_on(async {
        let kafka = KafkaConfig { topic: "notes.v1".to_owned(), ..stack.kafka().clone() };
        let admin = Admin::new(&kafka);
        for topic in ["notes.v1", "elsewhere"] {
            let keys = admin.read_keys(topic).await?;
            ensure!(keys.into_iter().collect::<Vec<_>>() == [b"one.md".to_vec()], "{topic}");
        }
        admin.ensure_topics(&[TopicSpec::new("guides.v1", 2)]).await?;
        anyhow::Ok(())
    })?;
    let checked = livedex.run(&["check"], SOON)?.success()?.stdout;
    ensure!(
        checked.contains("topic guides.v1 (2 partitions), topic guides.v1.dlq is missing"),
        "{checked}"
    );
    // Without a list there is one line for Kafka and one for Milvus, as ever.
    let plain = Livedex::new(&stack.config())?.run(&["check"], SOON)?.success()?.stdout;
    ensure!(plain.lines().count() == 5 && !plain.contains("stream "), "{plain}");
    Ok(())
}
