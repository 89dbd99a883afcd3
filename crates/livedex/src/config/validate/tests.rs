#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_milvus::Analyzer;
use livedex_wire::mapping::Format;

use super::*;
use crate::config::raw::{RawStream, TokenBudget};

fn loaded(raw: RawConfig) -> Loaded {
    Loaded { raw, problems: Vec::new(), base: PathBuf::from("."), given: Given::default() }
}

fn problems(change: impl FnOnce(&mut RawConfig)) -> Vec<String> {
    let mut raw = RawConfig::default();
    change(&mut raw);
    match validate(&loaded(raw)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(problems(|_| {}), [""; 0]);
}

#[test]
fn every_problem_is_reported_with_value_and_limit() {
    let found = problems(|raw| {
        raw.kafka.group = String::new();
        raw.milvus.uri = "localhost:19530".into();
        raw.nats.user = Some("me".into());
        raw.query.candidates = 100_000;
        raw.http.listen = "9464".into();
        raw.runtime.device = "tpu".into();
        raw.runtime.watchdog_ms = 10_000_000;
        raw.runtime.token_budget = TokenBudget::Tokens(1);
        raw.chunk.max_tokens = 1;
    });
    let keys: Vec<_> = found.iter().filter_map(|line| line.split(' ').next()).collect();
    for key in [
        "kafka.group",
        "milvus.uri",
        "nats.user",
        "query.candidates",
        "http.listen",
        "runtime.device",
        "runtime.watchdog_ms",
        "runtime.token_budget",
        "chunk.max_tokens",
    ] {
        assert!(keys.contains(&key), "{key} in {found:#?}");
    }
    let limit = limits::MAX_CANDIDATES.to_string();
    assert!(found.iter().any(|l| l.contains("100000") && l.contains(&limit)), "{found:#?}");
}

#[test]
fn a_secret_comes_from_one_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let mut raw = RawConfig::default();
    raw.milvus.token_file = Some(file.path().to_owned());
    assert_eq!(validate(&loaded(raw.clone())).unwrap().milvus.token.as_deref(), Some("hunter2"));
    raw.milvus.token = Some(Secret::new("other"));
    let problem = problems(|r| *r = raw);
    assert!(problem[0].starts_with("milvus.token and milvus.token_file are both set"));
}

#[test]
fn deletions_are_remembered_for_ever_or_for_hours() {
    let ttl = |hours: Option<u64>| {
        let mut raw = RawConfig::default();
        raw.milvus.deletions_ttl_hours = hours;
        validate(&loaded(raw)).map(|config| config.milvus.deletions_ttl)
    };
    assert_eq!(ttl(None).unwrap(), None);
    assert_eq!(ttl(Some(2)).unwrap(), Some(Duration::from_secs(7200)));
    assert!(ttl(Some(0)).unwrap_err()[0].to_string().starts_with("milvus.deletions_ttl_hours"));
}

#[test]
fn an_analyzer_is_one_of_those_that_milvus_has() {
    let analyzer = |name: &str| {
        let mut raw = RawConfig::default();
        raw.milvus.analyzer = name.into();
        validate(&loaded(raw)).map(|config| config.milvus.analyzer)
    };
    assert_eq!(
        validate(&loaded(RawConfig::default())).unwrap().milvus.analyzer,
        Analyzer::Standard
    );
    assert_eq!(analyzer("chinese").unwrap(), Analyzer::Chinese);
    assert_eq!(analyzer("none").unwrap(), Analyzer::None);
    assert_eq!(
        analyzer("German").unwrap_err()[0].to_string(),
        "milvus.analyzer is \"German\", expected one of \"standard\", \"english\", \"chinese\", \"none\""
    );
}

#[test]
fn a_session_leaves_room_for_a_write_to_milvus() {
    let found = problems(|raw| raw.milvus.timeout_ms = 60_000);
    assert_eq!(found.len(), 1, "{found:#?}");
    let parts = ["kafka.properties.\"session.timeout.ms\"", "45000 ms", "60000 ms"];
    assert!(parts.iter().all(|part| found[0].contains(part)), "{found:#?}");
}

#[test]
fn mistakes_in_a_mapping_have_the_sections_name() {
    let found = problems(|raw| {
        raw.mapping.format = Format::Debezium;
        raw.mapping.title = Some("title".into());
        raw.kafka.group = String::new();
    });
    let keys: Vec<_> = found.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(keys, ["kafka.group", "mapping.text", "mapping.title"]);
    let found = problems(|raw| raw.mapping.format = Format::Markdown);
    assert_eq!(found, [""; 0]);
}

/// A configuration with a stream for each change.
fn streams<const N: usize>(changes: [fn(&mut RawStream); N]) -> RawConfig {
    let mut raw = RawConfig::default();
    raw.streams = changes
        .into_iter()
        .map(|change| {
            let mut stream = RawStream::of(&raw);
            change(&mut stream);
            stream
        })
        .collect();
    raw
}

#[test]
fn without_a_list_there_is_the_stream_of_the_top_level_keys() {
    let config = validate(&loaded(RawConfig::default())).unwrap();
    let [stream] = &config.streams[..] else { panic!("{:?}", config.streams) };
    assert_eq!((stream.name.as_str(), &stream.kafka), ("livedex.documents", &config.kafka));
    assert_eq!(stream.kafka.dead_letter_topic, "livedex.documents.dlq");
    assert_eq!(
        (&stream.milvus, config.stream(None).unwrap().name == stream.name),
        (&config.milvus, true)
    );
}

#[test]
fn streams_have_names_dead_letters_and_member_ids_of_their_own() {
    let mut raw = streams([
        |one| one.topic = Some("a".into()),
        |two| {
            two.topic = Some("b".into());
            two.name = Some("bee".into());
            two.collection = "bees".into();
            two.ingest.drain_ms = 90_000;
            two.ingest.max_document_bytes = 5;
        },
    ]);
    raw.kafka.instance_id = Some("w1".into());
    let config = validate(&loaded(raw.clone())).unwrap();
    let [a, b] = &config.streams[..] else { panic!("{:?}", config.streams) };
    assert_eq!((a.name.as_str(), a.kafka.stream.as_str()), ("a", "a"));
    assert_eq!((b.name.as_str(), b.kafka.stream.as_str()), ("bee", "bee"));
    let letters = [&a.kafka.dead_letter_topic, &b.kafka.dead_letter_topic];
    assert_eq!(letters, ["a.dlq", "b.dlq"]);
    let ids = [&a.kafka.instance_id, &b.kafka.instance_id].map(|id| id.as_deref().unwrap());
    assert_eq!(ids, ["w1-a", "w1-bee"]);
    assert_eq!((a.milvus.collection.as_str(), b.milvus.collection.as_str()), ("livedex", "bees"));
    assert_eq!((b.max_document_bytes, b.kafka.max_document_bytes), (5, 5));
    assert_eq!(config.stop_deadline, Duration::from_secs(10 + 90 + 10));

    // Chosen by name, by the topic that was set, or not at all.
    assert_eq!(config.stream(Some("bee")).unwrap().kafka.topic, "b");
    assert!(config.stream(Some("b")).unwrap_err().to_string().contains("a, bee"));
    assert!(config.stream(None).unwrap_err().to_string().contains("--stream: a, bee"));
    for (topic, found) in [("b", "bee"), ("elsewhere", "elsewhere")] {
        raw.kafka.topic = topic.into();
        let given = Given { topic: true, collection: false };
        let config = validate(&Loaded { given, ..loaded(raw.clone()) }).unwrap();
        assert_eq!(config.stream(None).unwrap().name, found);
    }
}

#[test]
fn queries_are_answered_from_a_collection_that_is_filled() {
    let raw = streams([
        |one| (one.topic, one.collection) = (Some("a".into()), "x".into()),
        |two| (two.topic, two.collection) = (Some("b".into()), "y".into()),
    ]);
    let served = |raw: &RawConfig, collection: bool| {
        let given = Given { topic: false, collection };
        validate(&Loaded { given, ..loaded(raw.clone()) }).unwrap().milvus.collection
    };
    assert_eq!(served(&raw, false), "x", "the first's, where nobody said");
    assert_eq!(served(&raw, true), "livedex", "what was said");
    let raw = streams([
        |one| (one.topic, one.collection) = (Some("a".into()), "x".into()),
        |two| two.topic = Some("b".into()),
    ]);
    assert_eq!(served(&raw, false), "livedex", "one of them fills it");
}

#[test]
fn every_problem_of_the_streams_is_reported_at_once() {
    let mut raw = streams([
        |one| one.topic = Some("a".into()),
        |two| {
            two.topic = Some("a".into());
            two.chunk.max_tokens = 1;
            two.group = String::new();
            two.ingest.waves_in_flight = 99;
            two.name = Some("two words".into());
        },
        |three| {
            three.collection = "livedex_deleted".into();
            three.mapping.format = Format::Json;
        },
        |four| {
            four.topic = Some("d".into());
            four.dead_letter_topic = Some("a".into());
            four.collection = "1x".into();
        },
        |five| (five.topic, five.collection) = (Some("a".into()), "x".into()),
    ]);
    // Once, and not for every stream that has it from there.
    raw.ingest.wave_bytes = 0;
    for stream in &mut raw.streams {
        stream.ingest.wave_bytes = 0;
    }
    let found = problems(|r| *r = raw);
    let keys: Vec<_> = found.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        keys,
        [
            "ingest.wave_bytes",
            "streams[1].name",
            "streams[1].group",
            "streams[1].chunk.max_tokens",
            "streams[1].ingest.wave_bytes",
            "streams[1].ingest.waves_in_flight",
            "streams[2].topic",
            "streams[2].mapping.text",
            "streams[3].collection",
            "streams[1].topic",
            "streams[1].chunk",
            "streams[2].collection",
            "streams[3].dead_letter_topic",
            "streams[4].name",
            "streams[4].topic",
        ],
        "{found:#?}"
    );
}
