//! Merges file, environment and flags, and finds every mistake of form at once.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Value},
};
use serde::de::DeserializeOwned;

use super::{
    ConfigProblem,
    raw::{RawConfig, RawStream},
};

/// A key and the value a flag gave it.
pub(crate) type FlagOverride = (&'static str, Value);

/// What was typed, and where relative paths start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The merged configuration, with the default in place of every mistake.
    pub(crate) raw: RawConfig,
    /// Mistakes of form: unknown keys and values of a wrong type.
    pub(crate) problems: Vec<ConfigProblem>,
    /// The folder of the configuration file, or the current one.
    pub(crate) base: PathBuf,
    /// Which keys somebody has set.
    pub(crate) given: Given,
}

/// Whether keys were set, to whatever value, whose default says less where there are streams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given {
    /// `kafka.topic`.
    pub(crate) topic: bool,
    /// `milvus.collection`.
    pub(crate) collection: bool,
}

/// The environment's prefix: `LIVEDEX__KAFKA__BROKERS` is `kafka.brokers`.
const ENV_PREFIX: &str = "LIVEDEX__";

/// The list of tables that is read after the rest.
const STREAMS: &str = "streams";

/// Reads `file` (nothing if `None`), lays the environment over it and the flags over both.
///
/// Mistakes of form are in [`Loaded::problems`], so that those of content can be found as well; the
/// error is a file that cannot be read at all.
pub(crate) fn load(
    file: Option<&Path>,
    flags: &[FlagOverride],
) -> Result<Loaded, Vec<ConfigProblem>> {
    let mut typed = Figment::new();
    let mut base = PathBuf::from(".");
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![ConfigProblem {
                key: path.display().to_string(),
                message: format!("cannot be read: {error}; name the file with --config"),
            }]
        })?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            base = parent.to_owned();
        }
        // Parsed here and not by figment alone, for an error with line and column.
        if let Err(error) = text.parse::<toml::Table>() {
            return Err(vec![ConfigProblem {
                key: path.display().to_string(),
                message: format!("is not valid TOML: {}", error.to_string().trim_end()),
            }]);
        }
        typed = typed.merge(Toml::string(&text));
    }
    typed = typed.merge(Env::prefixed(ENV_PREFIX).split("__"));
    for (key, value) in flags {
        typed = typed.merge(Serialized::default(key, value));
    }
    let given = Given {
        topic: typed.contains("kafka.topic"),
        collection: typed.contains("milvus.collection"),
    };
    let mut typed: Dict = typed.extract().map_err(|error| {
        vec![ConfigProblem { key: error.path.join("."), message: explain(&error.kind) }]
    })?;
    let streams = typed.remove(STREAMS);
    let defaults = dict(&RawConfig::default());
    let mut known = defaults.clone();
    // For who forgets its last letter.
    known.insert(STREAMS.to_owned(), Value::from(Vec::<Value>::new()));
    let (mut raw, mut problems) = extract::<RawConfig>(typed, &defaults, &known, "");
    if let Some(streams) = streams {
        raw.streams = extract_streams(streams, &raw, &mut problems);
    }
    Ok(Loaded { raw, problems, base, given })
}

/// Every stream, with what the rest of the configuration says where it says nothing. A mapping is
/// whole: of two that are mixed key by key nobody could say what it is.
fn extract_streams(
    typed: Value,
    raw: &RawConfig,
    problems: &mut Vec<ConfigProblem>,
) -> Vec<RawStream> {
    let mut wrong = |key: String, value: &Value, expected: &str| {
        let message = format!("is {}, expected {expected}", value.to_actual());
        problems.push(ConfigProblem { key, message });
    };
    let Value::Array(_, tables) = typed else {
        wrong(STREAMS.to_owned(), &typed, "a list of tables: [[streams]]");
        return Vec::new();
    };
    let mut streams = Vec::with_capacity(tables.len());
    let mut found = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let key = format!("{STREAMS}[{index}]");
        let Value::Dict(_, typed) = table else {
            wrong(key, &table, "a table");
            // Those behind it keep their numbers.
            streams.push(RawStream::of(raw));
            continue;
        };
        let mut defaults = RawStream::of(raw);
        if typed.contains_key("mapping") {
            defaults.mapping = Default::default();
        }
        let known = dict(&defaults);
        let (stream, mut mistakes) = extract(typed, &known, &known, &format!("{key}."));
        streams.push(stream);
        found.append(&mut mistakes);
    }
    problems.append(&mut found);
    streams
}

fn dict<T: serde::Serialize>(value: &T) -> Dict {
    Figment::from(Serialized::defaults(value)).extract().unwrap_or_default()
}

/// Lays what was typed over the defaults, and on a mistake goes on without it, so that one run
/// names all mistakes. `prefix` is put before every key.
fn extract<T: DeserializeOwned + Default>(
    mut typed: Dict,
    defaults: &Dict,
    known: &Dict,
    prefix: &str,
) -> (T, Vec<ConfigProblem>) {
    let mut problems = Vec::new();
    walk("", &typed, known, &mut problems);
    for problem in &problems {
        let path: Vec<&str> = problem.key.split('.').collect();
        remove(&mut typed, &path);
    }
    let value = loop {
        let figment = Figment::from(Serialized::defaults(defaults));
        let error = match figment.merge(Serialized::defaults(&typed)).extract::<T>() {
            Ok(value) => break value,
            Err(error) => error,
        };
        let path: Vec<&str> = error.path.iter().map(String::as_str).collect();
        problems.push(ConfigProblem { key: path.join("."), message: explain(&error.kind) });
        // Of a list the whole.
        if !(1..=path.len()).rev().any(|length| remove(&mut typed, &path[..length])) {
            break T::default();
        }
    };
    for problem in &mut problems {
        problem.key.insert_str(0, prefix);
    }
    (value, problems)
}

fn explain(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(actual, expected) => format!("is {actual}, expected {expected}"),
        Kind::InvalidValue(actual, expected) => format!("is {actual}, expected {expected}"),
        Kind::UnknownVariant(actual, expected) => {
            format!("is \"{actual}\", expected one of {}", expected.join(", "))
        }
        other => other.to_string(),
    }
}

/// Tables whose keys are free.
const FREE_TABLES: [&str; 3] = ["kafka.properties", "kafka.properties_file", "mapping.metadata"];

fn walk(prefix: &str, given: &Dict, known: &Dict, problems: &mut Vec<ConfigProblem>) {
    for (name, value) in given {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (known.get(name), value) {
            (None, _) => {
                problems.push(ConfigProblem { key, message: suggest(name, known.keys()) });
            }
            (Some(Value::Dict(_, known)), Value::Dict(_, given))
                if !FREE_TABLES.contains(&key.as_str()) =>
            {
                walk(&key, given, known, problems);
            }
            _ => {}
        }
    }
}

fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&String> = known.collect();
    let nearest = known.iter().map(|k| (strsim::jaro_winkler(name, k), k));
    match nearest.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((similarity, nearest)) if similarity > 0.8 => {
            format!("is no known key; did you mean `{nearest}`?")
        }
        _ => {
            let list: Vec<&str> = known.iter().map(|k| k.as_str()).collect();
            format!("is no known key; known here: {}", list.join(", "))
        }
    }
}

/// Takes out what stands at `path`. Returns whether there was something.
fn remove(dict: &mut Dict, path: &[&str]) -> bool {
    match path {
        [] => false,
        [last] => dict.remove(*last).is_some(),
        [first, rest @ ..] => match dict.get_mut(*first) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        std::fs::write(&path, toml).unwrap();
        let problems = load(Some(&path), &[]).map_or_else(|problems| problems, |it| it.problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let found = problems(
            "[kafka]\nbroker = 'x'\nmax_in_flight_bytes = 'many'\n[query]\nfusion = 'sum'\n[milvus.tls]\nca = 'x'\n",
        );
        assert_eq!(
            found,
            [
                "kafka.broker is no known key; did you mean `brokers`?",
                "milvus.tls.ca is no known key; did you mean `ca_file`?",
                "kafka.max_in_flight_bytes is string \"many\", expected usize",
                "query.fusion is \"sum\", expected one of rerank, mean",
            ]
        );
    }

    #[test]
    fn mistakes_of_form_in_a_mapping_are_named_with_their_key() {
        let found = problems(
            "[mapping]\nformat = 'avro'\ntitel = '/t'\ntext = 5\n[mapping.metadata]\nany = '/a'\nbad = 1\n[mapping.deleted]\npath = '/d'\n",
        );
        assert_eq!(
            found,
            [
                "mapping.deleted.path is no known key; known here: equals, pointer, present",
                "mapping.titel is no known key; did you mean `title`?",
                "mapping.format is \"avro\", expected one of document.v1, json, debezium, \
                 cloudevents, text, markdown, html",
                "mapping.metadata.bad is signed int `1`, expected a string",
                "mapping.text is neither a string nor a list of strings",
            ]
        );
    }

    #[test]
    fn a_stream_has_from_the_rest_what_it_does_not_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        let text = "[kafka]\ngroup = 'g'\n[chunk]\nmax_tokens = 100\noverlap_tokens = 10\n\
                    [mapping]\nformat = 'json'\nid = '/id'\ntext = '/t'\n\
                    [[streams]]\ntopic = 'a'\n\
                    [[streams]]\ntopic = 'b'\nname = 'bee'\ncollection = 'c'\n\
                    chunk = { max_tokens = 60 }\nmapping = { format = 'markdown' }\n";
        std::fs::write(&path, text).unwrap();
        let loaded = load(Some(&path), &[("kafka.group", Value::from("flag"))]).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert!(!loaded.given.topic && !loaded.given.collection);
        let [a, b] = &loaded.raw.streams[..] else { panic!("{:?}", loaded.raw.streams) };
        assert_eq!((a.topic.as_deref(), a.name.as_deref()), (Some("a"), None));
        assert_eq!((a.group.as_str(), a.collection.as_str()), ("flag", "livedex"));
        assert_eq!((a.chunk.max_tokens, a.chunk.overlap_tokens), (100, 10));
        assert_eq!(a.mapping, loaded.raw.mapping);
        assert_eq!((b.collection.as_str(), b.name.as_deref()), ("c", Some("bee")));
        assert_eq!((b.chunk.max_tokens, b.chunk.overlap_tokens), (60, 10));
        // Nothing of the other mapping is left in this one.
        assert_eq!((b.mapping.format.as_str(), b.mapping.id.as_deref()), ("markdown", None));
    }

    #[test]
    fn mistakes_of_form_in_streams_are_named_with_their_place() {
        let found = problems(
            "[http]\nlisten = 1\n[[streams]]\ntopic = 'a'\ngruop = 'x'\n\
             [[streams]]\ntopic = 5\n[streams.chunk]\nmax_tokens = 'many'\n[streams.ingest]\nwaves = 1\n",
        );
        assert_eq!(
            found,
            [
                "http.listen is signed int `1`, expected a string",
                "streams[0].gruop is no known key; did you mean `group`?",
                "streams[1].ingest.waves is no known key; did you mean `waves_in_flight`?",
                "streams[1].chunk.max_tokens is string \"many\", expected usize",
                "streams[1].topic is signed int `5`, expected a string",
            ]
        );
        assert_eq!(
            problems("streams = 5\n"),
            ["streams is signed int `5`, expected a list of tables: [[streams]]"]
        );
        assert_eq!(problems("streams = [5]\n"), ["streams[0] is signed int `5`, expected a table"]);
        assert_eq!(
            problems("[[stream]]\ntopic = 'a'\n"),
            ["stream is no known key; did you mean `streams`?"]
        );
    }

    #[test]
    fn broken_toml_names_line_and_column() {
        let found = problems("[kafka\nbrokers = 1\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("is not valid TOML") && found[0].contains("line 1"), "{found:?}");
    }

    #[test]
    fn properties_take_any_key_and_scalar() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        std::fs::write(&path, "[kafka.properties]\n\"socket.timeout.ms\" = 6000\n").unwrap();
        let raw = load(Some(&path), &[("kafka.group", Value::from("other"))]).unwrap().raw;
        assert_eq!(raw.kafka.properties["socket.timeout.ms"].0, "6000");
        assert_eq!(raw.kafka.group, "other");
        assert_eq!(raw.kafka.topic, "livedex.documents");
    }
}
