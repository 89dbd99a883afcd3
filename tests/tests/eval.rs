//! `livedex eval`: a test set through the real pipeline and the real service, and nothing left of it
//! afterwards. With all-MiniLM and the reranker on it, on Apache Kafka and on the embedded broker.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_kafka::Admin;
use livedex_milvus::{Milvus, MilvusConfig, ledger_name};
use livedex_testkit::{
    Broker, Livedex, Need, Stack, Suite, servers,
    stack::{fixture, runtime},
    wait::until,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// For a whole evaluation of a small set, in a debug build on two busy cores.
const WHOLE: Duration = Duration::from_secs(240);

/// For one that was told to stop: what is in flight, and the removal.
const STOP: Duration = Duration::from_secs(30);

/// The exit code of an evaluation with trouble on its way.
const TROUBLE: i32 = 3;

/// A fact, its topic, and the question that it answers; models of any use tell them apart.
const FACTS: [(&str, &str, &str); 12] = [
    (
        "whale",
        "The blue whale is the largest animal that has ever lived.",
        "largest animal on earth",
    ),
    ("paris", "Paris is the capital and the most populous city of France.", "capital of France"),
    (
        "bread",
        "Sourdough bread rises by wild yeast and lactic acid bacteria.",
        "what makes sourdough rise",
    ),
    ("moon", "The tides of the sea are caused by the gravity of the moon.", "why are there tides"),
    (
        "rust",
        "Rust's borrow checker finds data races before a program runs.",
        "how does Rust prevent data races",
    ),
    (
        "chess",
        "In chess the bishop moves diagonally over any number of squares.",
        "how may a bishop move",
    ),
    ("tea", "Green tea is made of leaves that were not oxidised.", "how is green tea different"),
    (
        "bach",
        "Johann Sebastian Bach wrote the Brandenburg Concertos in 1721.",
        "composer of the Brandenburg Concertos",
    ),
    ("volcano", "Lava is molten rock that a volcano expels during an eruption.", "what is lava"),
    (
        "vaccine",
        "A vaccine trains the immune system to recognise a pathogen.",
        "how do vaccines work",
    ),
    ("gold", "Gold does not rust, since it hardly reacts with oxygen.", "why does gold stay shiny"),
    ("marathon", "A marathon is a race of 42.195 kilometres on foot.", "how long is a marathon"),
];

fn main() -> ExitCode {
    Suite::new()
        .test("a_test_set_on_apache_kafka", &[Need::ApacheKafka, Need::LocalServers], || {
            let rig = Rig::start(Broker::start_apache()?)?;
            the_figures_are_sane(&rig)?;
            what_was_kept_is_asked_again(&rig)?;
            trouble_is_said(&rig)?;
            a_stop_leaves_nothing(&rig)
        })
        .test("a_test_set_on_the_embedded_broker", &[Need::LocalServers], || {
            let rig = Rig::start(Broker::start_embedded()?)?;
            the_figures_are_sane(&rig)?;
            what_was_kept_is_asked_again(&rig)
        })
        .run()
}

/// The servers, and a folder with the test set `facts`.
struct Rig {
    // Used by `livedex`, so it ends first.
    livedex: Livedex,
    runtime: Runtime,
    stack: Stack,
}

impl Rig {
    fn start(broker: Broker) -> Result<Self> {
        let stack = Stack::start(broker)?;
        let environment = servers::environment()?;
        let line = |model: &Path| format!("model = \"{}\"", model.display());
        let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/livedex-rerank-minilm");
        let minilm = line(environment.minilm());
        let reranker = format!("{minilm}\nadapter = \"{}\"", adapter.display());
        let config = stack
            .config()
            .replace(&line(&fixture("bert-embed")), &minilm)
            .replace(&line(&fixture("bert-rerank")), &reranker);
        ensure!(config.contains("adapter") && !config.contains("bert-embed"), "{config}");
        let livedex = Livedex::new(&format!("{config}[query]\nfusion = \"mean\"\n"))?;
        write_set(&livedex.dir().join("facts"))?;
        Ok(Self { livedex, runtime: runtime()?, stack })
    }

    /// Runs it on the set to its end.
    fn eval(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let arguments = [&["eval", "facts", "--json"], arguments].concat();
        let finished = self.livedex.run(&arguments, WHOLE)?;
        let found = finished.status.code();
        ensure!(found == Some(code), "{found:?}: {}{}", finished.stdout, finished.stderr);
        ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        serde_json::from_str(&finished.stdout).with_context(|| finished.stdout.clone())
    }

    /// Whether its topics, and whether its collections are there.
    fn is_there(&self) -> Result<[bool; 4]> {
        self.runtime.block_on(async {
            let admin = Admin::new(self.stack.kafka());
            let collection = async |name: String| {
                let config = MilvusConfig { collection: name, ..self.stack.milvus().clone() };
                anyhow::Ok(Milvus::connect(&config).await?.describe_collection().await)
            };
            let name = "livedex_eval_facts".to_owned();
            let ledger = collection(ledger_name(&name)).await?;
            Ok([
                admin.partitions("livedex.eval.facts").await?.is_some(),
                admin.partitions("livedex.eval.facts.dlq").await?.is_some(),
                collection(name).await??.is_some(),
                // One that is there is no collection of chunks, which is an error.
                !matches!(ledger, Ok(None)),
            ])
        })
    }
}

/// Facts as documents with ids of both types; one long enough for several chunks, one without a
/// text. One question has no relevant document.
fn write_set(folder: &Path) -> Result<()> {
    let (mut corpus, mut queries) = (String::new(), String::new());
    let mut qrels = "query-id\tcorpus-id\tscore\n".to_owned();
    for (index, (title, fact, question)) in FACTS.iter().enumerate() {
        let text = match index {
            0 => format!("{fact}\n\n{}", "It feeds on krill in cold water. ".repeat(30)),
            _ => (*fact).to_owned(),
        };
        let id = if index % 2 == 0 { json!(index) } else { json!(format!("d{index}")) };
        writeln!(corpus, "{}", json!({"_id": id, "title": title, "text": text}))?;
        writeln!(queries, "{}", json!({"_id": format!("q{index}"), "text": question}))?;
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        writeln!(qrels, "q{index}\t{id}\t{}", 1 + index % 2)?;
        // Judged, and not relevant.
        writeln!(qrels, "q{index}\tempty\t0")?;
    }
    writeln!(corpus, "{}", json!({"_id": "empty", "text": ""}))?;
    writeln!(queries, "{}", json!({"_id": "nobody", "text": "what does nobody know"}))?;
    fs::create_dir_all(folder.join("qrels"))?;
    fs::write(folder.join("corpus.jsonl"), corpus)?;
    fs::write(folder.join("queries.jsonl"), queries)?;
    fs::write(folder.join("qrels/test.tsv"), qrels)?;
    Ok(())
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}

/// Both stages find nearly everything, every number is within its bounds, and all of it is gone.
fn the_figures_are_sane(rig: &Rig) -> Result<()> {
    let report = rig.eval(&["--latency-queries", "3", "--html", "page.html"], 0)?;
    let (set, how, figures) = (&report["set"], &report["how"], &report["figures"]);
    for (what, expected) in [
        ("documents", 13),
        ("empty_documents", 1),
        ("queries", 13),
        ("queries_without_relevant", 1),
        ("asked", 12),
        ("relevant", 12),
        ("relevant_missing", 0),
    ] {
        ensure!(set[what] == expected, "{what}: {set}");
    }
    ensure!(how["chunks"].as_u64() > Some(13), "one document has several chunks: {how}");
    ensure!(how["collection"] == "livedex_eval_facts" && how["fusion"] == "mean", "{how}");
    ensure!(how["embedder"]["fingerprint"] != how["reranker"]["fingerprint"], "{how}");
    ensure!(number(&how["ingestion_seconds"])? > 0.0, "{how}");

    for stage in ["stage_1", "two_stage"] {
        for (measure, least) in [
            ("nDCG@10", 0.85),
            ("MRR@10", 0.8),
            ("P@1", 0.7),
            ("recall@5", 0.9),
            ("recall@100", 1.0),
        ] {
            let one = &figures[stage][measure];
            let [low, mean, high] = ["low", "mean", "high"].map(|key| number(&one[key]));
            let (low, mean, high) = (low?, mean?, high?);
            ensure!(mean >= least, "{stage} {measure}: {one}");
            ensure!(0.0 <= low && low <= mean && mean <= high && high <= 1.0, "{measure}: {one}");
        }
    }
    let curve = figures["curve"].as_array().context("no curve")?;
    let recall: Vec<f64> =
        curve.iter().map(|point| number(&point["recall"]["mean"])).collect::<Result<_>>()?;
    ensure!(recall.is_sorted() && recall.last() == Some(&1.0), "{recall:?}");

    // The time of every number of candidates was measured, and its answers are those that the curve
    // is made of.
    let latency = report["latency"].as_array().context("no latency")?;
    let kinds: Vec<Option<u64>> = latency.iter().map(|one| one["candidates"].as_u64()).collect();
    ensure!(kinds == [None, Some(10), Some(20), Some(50), Some(100)], "{kinds:?}");
    for one in latency {
        ensure!(one["requests"] == 3 && one["as_derived"] == 3 && one["failed"] == 0, "{one}");
        ensure!(0.0 < number(&one["p50_ms"])? && one["p50_ms"].as_f64() <= one["p95_ms"].as_f64());
        ensure!(one["candidates"].is_null() != one["rerank_p50_ms"].is_number(), "{one}");
    }
    let trouble = json!({"dead_letters": 0, "failed": 0, "degraded": {}, "other_order": 0});
    ensure!(report["trouble"] == trouble, "{}", report["trouble"]);

    let page = fs::read_to_string(rig.livedex.dir().join("page.html"))?;
    let shown = format!("{:.3}", number(&figures["two_stage"]["nDCG@10"]["mean"])?);
    ensure!(page.contains(&shown) && page.contains("livedex_eval_facts"), "{shown}");
    ensure!(page.matches("<svg").count() == 3);

    ensure!(rig.is_there()? == [false; 4], "{:?}", rig.is_there()?);
    // The configured ones were not touched: there is no such collection, and nobody read the topic.
    let configured = rig.runtime.block_on(async {
        Milvus::connect(rig.stack.milvus()).await?.describe_collection().await
    })?;
    ensure!(configured.is_none(), "{configured:?}");
    Ok(())
}

/// `--keep` leaves both, `--reuse` asks without ingesting, and without either all is made anew.
fn what_was_kept_is_asked_again(rig: &Rig) -> Result<()> {
    let kept = rig.eval(&["--keep", "--latency-queries", "0"], 0)?;
    ensure!(rig.is_there()? == [true; 4], "{:?}", rig.is_there()?);
    ensure!(kept["latency"] == json!([]), "{}", kept["latency"]);
    let again = rig.eval(&["--reuse", "--latency-queries", "0"], 0)?;
    ensure!(again["figures"] == kept["figures"], "{again} {kept}");
    ensure!(again["how"].get("ingestion_seconds").is_none(), "{again}");
    ensure!(rig.is_there()? == [true; 4], "{:?}", rig.is_there()?);

    // The collection under this name is of another corpus than this one.
    let folder = rig.livedex.dir().join("others");
    write_set(&folder)?;
    let corpus = fs::read_to_string(folder.join("corpus.jsonl"))?;
    fs::write(folder.join("corpus.jsonl"), corpus.replace("\"d1\"", "\"other\""))?;
    let finished = rig.livedex.run(&["eval", "others", "--name", "facts", "--reuse"], WHOLE)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("which is not in corpus.jsonl"), "{}", finished.stderr);
    ensure!(rig.is_there()? == [true; 4], "it stays: {:?}", rig.is_there()?);

    let sample = ["--queries", "5", "--candidates", "3", "--latency-queries", "1"];
    let finished = rig.livedex.run(&[&["eval", "facts"], &sample[..]].concat(), WHOLE)?;
    let table = finished.success()?.stdout;
    for words in ["two-stage, k = 3", "nDCG@10", "| stage 1 only", "queries     5 (13 in the file"]
    {
        ensure!(table.contains(words), "no {words:?} in {table}");
    }
    ensure!(!table.contains("WARNING"), "{table}");
    ensure!(rig.is_there()? == [false; 4], "{:?}", rig.is_there()?);
    Ok(())
}

/// What is wrong with the set is an error before anything is made; a document that became a dead
/// letter, and queries that are not answered, are said.
fn trouble_is_said(rig: &Rig) -> Result<()> {
    let folder = rig.livedex.dir().join("facts");
    let corpus = fs::read_to_string(folder.join("corpus.jsonl"))?;
    fs::write(folder.join("corpus.jsonl"), format!("{corpus}no json\n"))?;
    let finished = rig.livedex.run(&["eval", "facts"], STOP)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("corpus.jsonl, line 14: expected"), "{}", finished.stderr);

    let long = json!({"_id": "long", "title": "x".repeat(5000), "text": "A title without end."});
    fs::write(folder.join("corpus.jsonl"), format!("{corpus}{long}\n"))?;
    let report = rig.eval(&["--latency-queries", "0"], TROUBLE)?;
    ensure!(report["trouble"]["dead_letters"] == 1, "{}", report["trouble"]);
    fs::write(folder.join("corpus.jsonl"), corpus)?;

    // Without a second stage there are no figures of it, and that is no trouble.
    let config = fs::read_to_string(rig.livedex.config())?;
    let single = config.replace("[reranker]\n", "[reranker]\nenabled = false\n");
    fs::write(rig.livedex.dir().join("single.toml"), single)?;
    let report = rig.eval(&["--config", "single.toml", "--latency-queries", "1"], 0)?;
    ensure!(report["figures"].get("two_stage").is_none(), "{}", report["figures"]);
    ensure!(report["latency"].as_array().is_some_and(|kinds| kinds.len() == 1), "{report}");

    let finished = rig.livedex.run(&["eval", "facts", "--timeout-ms", "1"], WHOLE)?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("no query was answered"), "{}", finished.stderr);
    ensure!(rig.is_there()? == [false; 4], "{:?}", rig.is_there()?);
    Ok(())
}

/// Told to stop in the middle of its questions, it removes what it made, and says that it was not
/// done.
fn a_stop_leaves_nothing(rig: &Rig) -> Result<()> {
    let running = rig.livedex.start(&["eval", "facts", "--keep", "--latency-queries", "12"])?;
    rig.runtime.block_on(until("questions", WHOLE, || async {
        let log = running.stderr()?;
        Ok(if log.contains("timing") { Ok(()) } else { Err(log) })
    }))?;
    ensure!(rig.is_there()? == [true; 4], "{:?}", rig.is_there()?);
    let finished = running.terminate(STOP)?;
    ensure!(finished.status.code() == Some(143), "{}: {}", finished.status, finished.stderr);
    ensure!(finished.stdout.is_empty(), "{}", finished.stdout);
    ensure!(rig.is_there()? == [false; 4], "{:?}", rig.is_there()?);
    Ok(())
}
