//! `livedex publish`: a folder onto the topic, and off it again.

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_kafka::{Admin, KafkaConfig};
use livedex_testkit::{Broker, Livedex, Suite, stack};

const SOON: Duration = Duration::from_secs(30);

const TOPIC: &str = "livedex.documents";

fn main() -> ExitCode {
    Suite::new()
        .test("a_folder_is_published_and_sync_takes_gone_files_off_the_topic", &[], || {
            let broker = Broker::start_preferring_apache()?;
            a_folder_is_published_and_synced(&broker)
        })
        .run()
}

fn a_folder_is_published_and_synced(broker: &Broker) -> Result<()> {
    let livedex = Livedex::new(&format!("[kafka]\nbrokers = \"{}\"\n", broker.brokers()))?;
    let folder = livedex.dir().join("site");
    fs::create_dir_all(folder.join("guide/.hidden"))?;
    let page = "<html><head><title>A page</title></head><body><nav>menu</nav><main><h1>A page</h1>\
                <p>Its main content is long enough to be told from the menu around it.</p></main></body></html>";
    let redirect =
        "<html><head><meta http-equiv=\"refresh\" content=\"0; url=index.html\"></head></html>";
    for (name, text) in [
        ("index.html", page),
        ("old.html", redirect),
        ("readme.md", "# Read me\n\nFirst."),
        ("guide/start.md", "# Start\n\nHere."),
        ("guide/notes.txt", "Plain."),
        ("guide/.hidden/secret.md", "Not for the topic."),
        ("empty.md", "\n"),
        ("logo.png", "not text"),
    ] {
        fs::write(folder.join(name), text)?;
    }

    // Its documents are there, with what was left out counted.
    let finished = livedex.run(&["publish", "site"], SOON)?.success()?;
    for words in ["published 4 documents", TOPIC, "1 (redirect page)", "1 (empty)"] {
        ensure!(finished.stdout.contains(words), "no {words:?} in {:?}", finished.stdout);
    }
    ensure!(
        keys(broker)? == names(&["guide/notes.txt", "guide/start.md", "index.html", "readme.md"])
    );

    // Another folder's documents lie beside them, under a prefix.
    fs::create_dir(livedex.dir().join("other"))?;
    fs::write(livedex.dir().join("other/one.md"), "Another folder.")?;
    livedex.run(&["publish", "other", "--id-prefix", "other/"], SOON)?.success()?;
    livedex.run(&["publish", "site", "--id-prefix", "site/", "--json"], SOON)?.success()?;

    // A file that is gone takes its document with it, and only under the prefix that is synced.
    fs::remove_file(folder.join("readme.md"))?;
    fs::remove_file(folder.join("guide/notes.txt"))?;
    let arguments = ["publish", "site", "--id-prefix", "site/", "--sync", "--json"];
    let finished = livedex.run(&arguments, SOON)?.success()?;
    let sent: Vec<serde_json::Value> =
        finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ids: BTreeSet<_> = sent.iter().filter_map(|line| line["id"].as_str()).collect();
    ensure!(ids.contains("site/readme.md") && ids.contains("site/index.html"), "{ids:?}");
    ensure!(!ids.contains("readme.md") && !ids.contains("other/one.md"), "{ids:?}");
    ensure!(
        sent.iter().all(|line| line["topic"] == TOPIC && line["offset"].is_i64()),
        "{}",
        finished.stdout
    );
    let expected = names(&[
        "guide/notes.txt",
        "guide/start.md",
        "index.html",
        "readme.md", // without a prefix
        "other/one.md",
        "site/guide/start.md",
        "site/index.html",
    ]);
    let found = keys(broker)?;
    ensure!(found == expected, "{found:?}");

    // A second sync has nothing to take off.
    let finished = livedex.run(&["publish", "site", "--id-prefix", "site/", "--sync"], SOON)?;
    ensure!(!finished.success()?.stdout.contains("tombstone"));

    // One document by its id.
    let finished = livedex.run(&["publish", "--delete", "other/one.md"], SOON)?.success()?;
    ensure!(finished.stdout.contains("1 tombstone"), "{}", finished.stdout);
    ensure!(!keys(broker)?.contains("other/one.md"));
    Ok(())
}

/// The keys alive on the topic.
fn keys(broker: &Broker) -> Result<BTreeSet<String>> {
    let config = KafkaConfig { brokers: broker.brokers(), ..KafkaConfig::default() };
    let keys = stack::runtime()?.block_on(Admin::new(&config).read_keys(TOPIC))?;
    keys.into_iter().map(|key| String::from_utf8(key).context("a key is not UTF-8")).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
