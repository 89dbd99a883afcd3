//! The invariants of ARCHITECTURE.md that can be read off the sources and `cargo metadata`.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// INV-1: a dependency (a name, or the start of one with `*`) and the crates that may name it.
const EDGES: [(&str, &[&str]); 12] = [
    ("rdkafka*", &["livedex-kafka"]),
    ("milvus*", &["livedex-milvus"]),
    ("candle*", &["livedex-cuda", "livedex-model"]),
    ("tokenizers", &["livedex-model"]),
    ("async-nats", &["livedex-query"]),
    ("schema_registry_converter", &["livedex-registry"]),
    ("plotters*", &["livedex-eval"]),
    ("tansu*", &["livedex-local"]),
    // The local stack: the binary of production contains none of it.
    ("livedex-local", &["livedex-testkit"]),
    ("livedex-testkit", &["livedex-tests"]),
    // Of livedex-model only the examples have a command line.
    ("clap", &["livedex", "livedex-local", "livedex-model"]),
    ("figment", &["livedex"]),
];

/// INV-1: `livedex-wire` alone speaks the contracts' JSON. Others use JSON for other things (a
/// model's config.json, Milvus' JSON column); these have no use for it at all.
const NO_JSON: [&str; 3] = ["livedex-core", "livedex-kafka", "livedex-ingest"];

/// INV-2: what the pure domain never reaches for, not even through a dependency.
const NO_RUNTIME: [&str; 7] = ["tokio", "async-std", "smol", "mio", "hyper", "rdkafka", "socket2"];

/// INV-2: what the sources of `livedex-core` never say outside tests.
const NO_IO: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
];

/// The alarm: a longer file says in its head why.
const MAX_LINES: usize = 400;

/// The words that the reason begins with, and how far down they may stand.
const REASON: (&str, usize) = ("over 400 lines", 15);

static ROOT: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned());

/// A package, as `cargo metadata` describes it. Read without the crate `cargo_metadata`: the
/// features that it switches on in serde_json would compile a third of all dependencies a second
/// time for the tests.
struct Package {
    name: String,
    is_ours: bool,
    /// All dependencies that its manifest names, with their kind (`normal`, `dev`, `build`).
    named: Vec<(String, String)>,
    /// The ids of the packages that it links on this platform: no dev- and build-dependencies.
    linked: Vec<String>,
}

/// All packages by their id.
static PACKAGES: LazyLock<BTreeMap<String, Package>> = LazyLock::new(|| {
    let output = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rustc = output(Command::new("rustc").arg("-vV"));
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // For this platform only: the others' packages are not on this machine.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&output(cargo.current_dir(&*ROOT))).unwrap();

    let ours: BTreeSet<&str> = texts(&metadata["workspace_members"]);
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let id = package["id"].as_str().unwrap();
        let named = package["dependencies"].as_array().unwrap().iter().map(|dependency| {
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            (dependency["name"].as_str().unwrap().to_owned(), kind.to_owned())
        });
        packages.insert(
            id.to_owned(),
            Package {
                name: package["name"].as_str().unwrap().to_owned(),
                is_ours: ours.contains(id),
                named: named.collect(),
                linked: Vec::new(),
            },
        );
    }
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let linked = node["deps"].as_array().unwrap().iter().filter(|dependency| {
            dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
        });
        packages.get_mut(node["id"].as_str().unwrap()).unwrap().linked =
            linked.map(|dependency| dependency["pkg"].as_str().unwrap().to_owned()).collect();
    }
    packages
});

fn texts(array: &Value) -> BTreeSet<&str> {
    array.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn our_packages() -> impl Iterator<Item = &'static Package> {
    PACKAGES.values().filter(|package| package.is_ours)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[test]
fn inv_1_each_edge_has_one_crate() {
    let mut wrong = Vec::new();
    for package in our_packages() {
        for (dependency, _) in &package.named {
            for (pattern, allowed) in EDGES {
                if matches(pattern, dependency) && !allowed.contains(&package.name.as_str()) {
                    wrong.push(format!("{} depends on {dependency}", package.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A renamed dependency must not turn its rule into one about nothing.
    for (pattern, _) in EDGES {
        let used = PACKAGES.values().any(|package| matches(pattern, &package.name));
        assert!(used, "nothing is called {pattern}");
    }
}

#[test]
fn inv_1_only_the_contracts_crate_speaks_their_json() {
    for package in our_packages().filter(|package| NO_JSON.contains(&package.name.as_str())) {
        let json = ("serde_json".to_owned(), "normal".to_owned());
        assert!(!package.named.contains(&json), "{} depends on serde_json", package.name);
    }
}

#[test]
fn the_binary_contains_nothing_of_the_local_stack() {
    let reached = reached_from("livedex");
    assert!(reached.contains("livedex-kafka") && reached.contains("rdkafka"));
    let local: Vec<_> = reached
        .iter()
        .filter(|name| {
            name.starts_with("tansu")
                || ["livedex-local", "livedex-testkit"].contains(&name.as_str())
        })
        .collect();
    assert!(local.is_empty(), "{local:?}");
}

#[test]
fn inv_2_the_domain_has_no_runtime_and_does_no_io() {
    let reached = reached_from("livedex-core");
    let runtime: Vec<_> = NO_RUNTIME.iter().filter(|name| reached.contains(**name)).collect();
    assert!(runtime.is_empty(), "livedex-core reaches {runtime:?}");
    for (path, text) in sources(&["crates/livedex-core/src"]) {
        if path.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in NO_IO {
            assert!(!code.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn long_files_say_why() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["crates", "tests", "deploy"]) {
        let n_lines = text.lines().count();
        let (reason, within) = REASON;
        if n_lines > MAX_LINES && !text.lines().take(within).any(|line| line.contains(reason)) {
            wrong.push(format!(
                "{} has {n_lines} lines; split it, or say in its first {within} lines why it is {reason}",
                path.strip_prefix(&*ROOT).unwrap().display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_code_map_names_every_crate() {
    let map = fs::read_to_string(ROOT.join("ARCHITECTURE.md")).unwrap();
    for package in our_packages() {
        // The suites are a folder of the map, not a crate of it.
        if package.name != "livedex-tests" {
            assert!(
                map.contains(&format!("| `{}` |", package.name)),
                "{} is missing",
                package.name
            );
        }
    }
}

#[test]
fn versions_that_stand_in_two_places_agree() {
    let version = livedex_testkit::kafka::VERSION;
    for (file, text) in [
        ("tests/kafka/pom.xml", format!("<kafka.version>{version}</kafka.version>")),
        ("Makefile", format!("KAFKA_VERSION := {version}\n")),
    ] {
        assert!(fs::read_to_string(ROOT.join(file)).unwrap().contains(&text), "{file}: no {text}");
    }
}

/// The names of all packages that one of our crates links, its own included.
fn reached_from(name: &str) -> BTreeSet<String> {
    let root = PACKAGES.iter().find(|(_, package)| package.is_ours && package.name == name);
    let mut open = vec![root.unwrap().0];
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(&PACKAGES[id].linked);
        }
    }
    reached.into_iter().map(|id| PACKAGES[id].name.clone()).collect()
}

/// All source files below these folders.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut open: Vec<_> = folders.iter().map(|folder| ROOT.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "rs" || end == "py" || end == "sh") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "no sources below {folders:?}");
    found
}
