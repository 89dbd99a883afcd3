//! The lines that are no questions: they begin with a colon, and change what is in force.

use std::{str::FromStr, time::Duration};

use clap::ValueEnum;
use livedex_core::ids::Tenant;
use livedex_wire::filter;

use super::{request::parts, settings::Settings};
use crate::cli::{AfterArg, ConsistencyArg, IncludeArg, ModeArg, score};

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing more: it has changed a setting.
    Changed,
    /// To show what is in force.
    List,
    /// To show what there is.
    Help,
    /// To show the whole of this hit, from 1.
    Show(usize),
    /// To show the document of this hit, from 1.
    Document(usize),
    /// To end.
    Quit,
}

/// Each command, what it takes, and what it does.
const COMMANDS: [(&str, &str, &str); 24] = [
    ("k", "N", "how many hits"),
    ("candidates", "N", "how many stage 1 hands to stage 2"),
    ("mode", "dense|bm25|hybrid", "how stage 1 searches"),
    ("also", "TEXT", "the same in other words, more each time"),
    ("rerank", "on|off", "whether stage 2 runs"),
    ("stage-1", "on|off", "ask stage 1 alone, on its own subject"),
    ("filter", "JSON", "only chunks that match"),
    ("tenant", "NAME", "only its documents; \"\" is the default"),
    ("collection", "NAME", "where to look"),
    ("instruction", "TEXT", "the task, for models that follow one"),
    ("group", "on|off", "one hit for each document"),
    ("neighbours", "N", "chunks on each side of a hit"),
    ("min-score", "X", "hits with at least this score, 0..1"),
    ("consistency", "strong|bounded|eventually", "how fresh the data must be"),
    ("after", "TOPIC[P]@OFFSET", "wait for this record too"),
    ("include", "text,metadata,vectors", "what comes with a hit, or none"),
    ("explain", "on|off", "how an answer came about"),
    ("json", "on|off", "answers as JSON"),
    ("timeout", "MS", "how long to wait for an answer"),
    ("show", "N", "hit N of the last answer, whole"),
    ("doc", "N", "the whole document of hit N"),
    ("set", "", "what is in force"),
    ("help", "", "this list"),
    ("quit", "", "end (also Ctrl-D)"),
];

/// What there is.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().map(|(name, takes, does)| {
        let typed = format!(":{name} {takes}");
        format!("  {typed:<38} {does}")
    });
    let lines: Vec<String> = lines.collect();
    format!("{HEAD}\n{}", lines.join("\n"))
}

const HEAD: &str = "\
Every other line is a question. A setting without a value is as if it had never
been set. Ctrl-C gives up a question.";

/// Does what a line says, which begins behind its colon.
pub(super) fn apply(settings: &mut Settings, line: &str) -> Result<Action, String> {
    let line = line.trim();
    let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let value = value.trim();
    let given = Some(value).filter(|value| !value.is_empty());
    let request = &mut settings.request;
    match name {
        "k" | "top-k" => request.top_k = number(name, given)?,
        "candidates" => request.candidates = number(name, given)?,
        "mode" => request.mode = named::<ModeArg>(name, given)?.map(Into::into),
        "also" => match given {
            Some(text) => request.also.push(text.to_owned()),
            None => request.also.clear(),
        },
        "rerank" => request.rerank = switch(name, given, true)?,
        "stage-1" => settings.stage_1 = switch(name, given, false)?,
        "filter" => {
            let given = given.filter(|value| *value != "off");
            let parsed = given.map(filter::parse).transpose();
            request.filter = parsed.map_err(|error| format!(":filter: {error}"))?;
        }
        "tenant" => {
            let given = given.map(|name| if name == "\"\"" { "" } else { name });
            let tenant = given.map(Tenant::new).transpose();
            request.tenant = tenant.map_err(|error| format!(":tenant: {error}"))?;
        }
        "collection" => request.collection = given.map(str::to_owned),
        "instruction" => request.instruction = given.map(str::to_owned),
        "group" => request.group_by_document = switch(name, given, false)?,
        "neighbours" => request.neighbours = number(name, given)?.unwrap_or(0),
        "min-score" => {
            let score = given.map(score).transpose();
            request.min_score = score.map_err(|error| format!(":min-score: {error}"))?;
        }
        "consistency" => {
            request.consistency = named::<ConsistencyArg>(name, given)?.map(Into::into);
        }
        "after" => match given {
            Some(text) => {
                let after: AfterArg = text.parse().map_err(|error| format!(":after: {error}"))?;
                request.after.push(after.0);
            }
            None => request.after.clear(),
        },
        "include" => include(settings, name, given)?,
        "explain" => request.explain = switch(name, given, false)?,
        "json" => settings.json = switch(name, given, false)?,
        "timeout" => {
            let ms = number(name, given)?.ok_or(":timeout takes milliseconds")?;
            settings.timeout = Duration::from_millis(ms);
        }
        "show" => return Ok(Action::Show(place(name, given)?)),
        "doc" => return Ok(Action::Document(place(name, given)?)),
        "set" => return Ok(Action::List),
        "help" | "h" | "?" => return Ok(Action::Help),
        "quit" | "q" | "exit" => return Ok(Action::Quit),
        _ => {
            let names: Vec<String> = COMMANDS.iter().map(|(name, ..)| format!(":{name}")).collect();
            return Err(format!("there is no :{name}; there are {}", names.join(" ")));
        }
    }
    Ok(Action::Changed)
}

fn include(settings: &mut Settings, name: &str, given: Option<&str>) -> Result<(), String> {
    let parts_named: Option<Vec<IncludeArg>> = given
        .map(|value| value.split(',').map(|part| need::<IncludeArg>(name, part.trim())).collect())
        .transpose()?;
    let parts = parts(parts_named.as_deref()).map_err(|_| ":include: none stands alone")?;
    settings.shows_metadata =
        parts_named.is_some_and(|named| named.contains(&IncludeArg::Metadata));
    let request = &mut settings.request;
    request.include_text = parts.text;
    request.include_metadata = parts.metadata;
    request.include_vectors = parts.vectors;
    Ok(())
}

fn number<T: FromStr>(name: &str, given: Option<&str>) -> Result<Option<T>, String> {
    let parsed = given.map(str::parse).transpose();
    parsed.map_err(|_| format!(":{name} takes a number, not {:?}", given.unwrap_or_default()))
}

/// The number of a hit.
fn place(name: &str, given: Option<&str>) -> Result<usize, String> {
    number(name, given)?
        .filter(|place| *place > 0)
        .ok_or_else(|| format!(":{name} takes the number of a hit, from 1"))
}

fn switch(name: &str, given: Option<&str>, default: bool) -> Result<bool, String> {
    match given {
        None => Ok(default),
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(format!(":{name} takes on or off, not {other:?}")),
    }
}

fn named<T: ValueEnum>(name: &str, given: Option<&str>) -> Result<Option<T>, String> {
    given.map(|value| need(name, value)).transpose()
}

fn need<T: ValueEnum>(name: &str, value: &str) -> Result<T, String> {
    T::from_str(value, true).map_err(|_| {
        let allowed = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let allowed: Vec<String> = allowed.map(|value| value.get_name().to_owned()).collect();
        format!(":{name} takes {}, not {value:?}", allowed.join(", "))
    })
}

#[cfg(test)]
mod tests;
