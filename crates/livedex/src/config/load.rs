//! Merges file, environment and flags, and finds every mistake of form at once.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Value},
};

use super::{ConfigProblem, raw::RawConfig};

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
}

/// The environment's prefix: `LIVEDEX__KAFKA__BROKERS` is `kafka.brokers`.
const ENV_PREFIX: &str = "LIVEDEX__";

/// Reads `file` (nothing if `None`), lays the environment over it and the flags over both.
///
/// Mistakes of form are in [`Loaded::problems`], so that those of content can be found as well; the
/// error is a file that cannot be read at all.
pub(crate) fn load(
    file: Option<&Path>,
    flags: &[FlagOverride],
) -> Result<Loaded, Vec<ConfigProblem>> {
    let mut figment = Figment::from(Serialized::defaults(RawConfig::default()));
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
        figment = figment.merge(Toml::string(&text));
    }
    figment = figment.merge(Env::prefixed(ENV_PREFIX).split("__"));
    for (key, value) in flags {
        figment = figment.merge(Serialized::default(key, value));
    }
    let (raw, problems) = extract(figment);
    Ok(Loaded { raw, problems, base })
}

/// Extracts, and on a mistake puts the default in its place and goes on, so that one run
/// names all mistakes.
fn extract(mut figment: Figment) -> (RawConfig, Vec<ConfigProblem>) {
    let defaults = Figment::from(Serialized::defaults(RawConfig::default()));
    let mut problems = unknown_keys(&figment, &defaults);
    if !problems.is_empty() {
        figment = without(&figment, problems.iter().map(|problem| problem.key.as_str()));
    }
    loop {
        let error = match figment.extract::<RawConfig>() {
            Ok(raw) => return (raw, problems),
            Err(error) => error,
        };
        let key = error.path.join(".");
        let again = problems.iter().any(|problem| problem.key == key);
        problems.push(ConfigProblem { key: key.clone(), message: explain(&error.kind) });
        match defaults.find_value(&key) {
            _ if again => return (RawConfig::default(), problems),
            Ok(default) => figment = figment.merge(Serialized::default(&key, default)),
            // In a table whose keys are free.
            Err(_) => figment = without(&figment, [key.as_str()]),
        }
    }
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

fn unknown_keys(figment: &Figment, defaults: &Figment) -> Vec<ConfigProblem> {
    let (Ok(given), Ok(known)) = (figment.extract::<Dict>(), defaults.extract::<Dict>()) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    walk("", &given, &known, &mut problems);
    problems
}

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

fn without<'a>(figment: &Figment, keys: impl IntoIterator<Item = &'a str>) -> Figment {
    let mut dict = figment.extract::<Dict>().unwrap_or_default();
    for key in keys {
        let path: Vec<&str> = key.split('.').collect();
        remove(&mut dict, &path);
    }
    Figment::from(Serialized::defaults(dict))
}

fn remove(dict: &mut Dict, path: &[&str]) {
    match path {
        [] => {}
        [last] => {
            dict.remove(*last);
        }
        [first, rest @ ..] => {
            if let Some(Value::Dict(_, inner)) = dict.get_mut(*first) {
                remove(inner, rest);
            }
        }
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
