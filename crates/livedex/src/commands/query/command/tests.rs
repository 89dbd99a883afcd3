#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::query::{Consistency, Mode, QueryRequest};

use super::*;

fn settings() -> Settings {
    Settings {
        request: QueryRequest::new(""),
        stage_1: false,
        json: false,
        timeout: Duration::from_secs(1),
        shows_metadata: false,
    }
}

fn applied(lines: &[&str]) -> Settings {
    let mut settings = settings();
    for line in lines {
        assert_eq!(apply(&mut settings, line), Ok(Action::Changed), "{line}");
    }
    settings
}

#[test]
fn settings_are_set_and_taken_back() {
    let set = [
        "k 5",
        "candidates 20",
        "mode hybrid",
        "also in other words",
        "rerank off",
        "stage-1 on",
        "filter {\"exists\": {\"field\": \"metadata.lang\"}}",
        "tenant acme",
        "collection docs",
        "instruction find it",
        "group on",
        "neighbours 2",
        "min-score 0.5",
        "consistency strong",
        "after t[0]@3",
        "include metadata",
        "explain on",
        "json on",
    ];
    let changed = applied(&set);
    let request = &changed.request;
    assert_eq!((request.top_k, request.candidates, request.neighbours), (Some(5), Some(20), 2));
    assert_eq!((request.mode, request.min_score), (Some(Mode::Hybrid), Some(0.5)));
    assert_eq!(request.consistency, Some(Consistency::Strong));
    assert_eq!(request.also, ["in other words"]);
    assert_eq!(request.after[0].to_string(), "t[0]@3");
    assert!(request.filter.is_some() && request.group_by_document && request.explain);
    assert!(!request.rerank && !request.include_text && request.include_metadata);
    assert!(changed.stage_1 && changed.json && changed.shows_metadata);
    let filter = r#"{"exists":{"field":"metadata.lang"}}"#;
    for (name, value) in
        [("filter", filter), ("tenant", "acme"), ("collection", "docs"), ("instruction", "find it")]
    {
        assert!(changed.list().contains(&format!(":{name:<12} {value}")), "{}", changed.list());
    }

    let names = set.map(|line| line.split(' ').next().unwrap());
    let both: Vec<&str> = set.into_iter().chain(names).collect();
    let back = applied(&both);
    assert_eq!(back.request, QueryRequest::new(""));
    assert!(!back.stage_1 && !back.json && !back.shows_metadata);
}

#[test]
fn the_default_tenant_is_not_all_tenants() {
    assert_eq!(applied(&["tenant \"\""]).request.tenant, Some(Tenant::default()));
    assert_eq!(applied(&["tenant a", "tenant"]).request.tenant, None);
}

#[test]
fn what_is_no_setting_is_an_action() {
    for (line, action) in [
        ("show 3", Action::Show(3)),
        ("doc 1", Action::Document(1)),
        ("set", Action::List),
        ("help", Action::Help),
        ("quit", Action::Quit),
        (" q ", Action::Quit),
    ] {
        assert_eq!(apply(&mut settings(), line), Ok(action), "{line}");
    }
}

#[test]
fn mistakes_say_what_there_is() {
    for (line, words) in [
        ("limit 5", ":limit; there are :k :candidates"),
        ("", "there is no :; there are"),
        ("k five", ":k takes a number, not \"five\""),
        ("mode vector", "dense, bm25, hybrid, not \"vector\""),
        ("rerank maybe", "on or off, not \"maybe\""),
        ("show", "number of a hit, from 1"),
        ("show 0", "number of a hit, from 1"),
        ("after t@0", "TOPIC[PARTITION]@OFFSET"),
        ("filter {", ":filter"),
        ("min-score nan", ":min-score: expected a number"),
        ("include words", "text, metadata, vectors, none"),
        ("timeout", "milliseconds"),
    ] {
        let mut now = settings();
        let error = apply(&mut now, line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
        assert_eq!(now.request, QueryRequest::new(""), "{line}");
    }
}

#[test]
fn help_names_every_command() {
    let help = help();
    for (name, ..) in COMMANDS {
        assert!(help.contains(&format!(":{name} ")), "{name}");
        // Each is known; some want a value.
        let error = apply(&mut settings(), name).err().unwrap_or_default();
        assert!(!error.contains("there is no :"), "{name}: {error}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}
