#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_wire::mapping::Format;

use super::*;

fn loaded(raw: RawConfig) -> Loaded {
    Loaded { raw, problems: Vec::new(), base: PathBuf::from(".") }
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
    assert_eq!(keys, ["mapping.text", "mapping.title", "kafka.group"]);
    let found = problems(|raw| raw.mapping.format = Format::Markdown);
    assert_eq!(found, [""; 0]);
}
