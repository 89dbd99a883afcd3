//! The `livedex.toml` for the running stack.
//!
//! The file belongs to the person from the second start on: only the keys that say where the servers
//! are follow the stack, everything else, comments included, stays as it was.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, Value};

use crate::error::LocalError;

const TEMPLATE: &str = include_str!("template.toml");

/// Where the stack's servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Kafka's bootstrap address.
    pub brokers: String,
    /// The topic of documents.
    pub topic: String,
    /// The topic of dead letters.
    pub dead_letter_topic: String,
    /// Milvus' URI.
    pub milvus: String,
    /// NATS' URL.
    pub nats: String,
}

/// Writes the configuration, or brings the addresses of one that is there up to date.
/// A file that needs no change is not written.
pub fn write(path: &Path, addresses: &Addresses) -> Result<(), LocalError> {
    let keys = [
        ("kafka", "brokers", addresses.brokers.as_str()),
        ("kafka", "topic", &addresses.topic),
        ("kafka", "dead_letter_topic", &addresses.dead_letter_topic),
        ("milvus", "uri", &addresses.milvus),
        ("nats", "url", &addresses.nats),
    ];
    edit(path, &keys)
}

/// Moves the worker's HTTP endpoint.
pub fn set_http_listen(path: &Path, address: &str) -> Result<(), LocalError> {
    edit(path, &[("http", "listen", address)])
}

/// A string of the configuration, None if it is not there.
pub fn get(path: &Path, table: &str, key: &str) -> Result<Option<String>, LocalError> {
    let (_, document) = read(path)?;
    let value = document.get(table).and_then(|table| table.get(key));
    Ok(value.and_then(Item::as_str).map(str::to_owned))
}

fn edit(path: &Path, keys: &[(&str, &str, &str)]) -> Result<(), LocalError> {
    let (text, mut document) = read(path)?;
    for (table, key, value) in keys {
        set(&mut document, table, key, value)
            .map_err(|reason| LocalError::Config { path: path.to_owned(), reason })?;
    }
    let new = document.to_string();
    if text.as_ref() != Some(&new) {
        // Beside it first: a reader never sees half a file.
        let beside = path.with_added_extension("new");
        fs::write(&beside, new).map_err(LocalError::io("cannot write", &beside))?;
        fs::rename(&beside, path).map_err(LocalError::io("cannot write", path))?;
    }
    Ok(())
}

/// The file's text, None if it is not there, and the document to go on from.
fn read(path: &Path) -> Result<(Option<String>, DocumentMut), LocalError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(LocalError::io("cannot read", path)(error)),
    };
    let document =
        text.as_deref().unwrap_or(TEMPLATE).parse().map_err(|error: toml_edit::TomlError| {
            LocalError::Config {
                path: path.to_owned(),
                reason: error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "),
            }
        })?;
    Ok((text, document))
}

/// Sets a string, with the comments around the old one kept.
fn set(document: &mut DocumentMut, table: &str, key: &str, value: &str) -> Result<(), String> {
    let table = document
        .entry(table)
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or_else(|| format!("{table} is not a table"))?;
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(value);
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(Value::from(value)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn addresses(port: u16) -> Addresses {
        Addresses {
            brokers: format!("127.0.0.1:{port}"),
            topic: "livedex.documents".into(),
            dead_letter_topic: "livedex.documents.dlq".into(),
            milvus: "http://127.0.0.1:19530".into(),
            nats: "nats://127.0.0.1:4222".into(),
        }
    }

    #[test]
    fn a_new_file_is_the_template_with_the_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        write(&path, &addresses(9092)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for line in [
            "brokers = \"127.0.0.1:9092\"",
            "uri = \"http://127.0.0.1:19530\"",
            "fusion = \"mean\"",
            "flush = \"when-idle\"",
            "# The second stage: the same model",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("= \"\""), "an address was left open in\n{text}");
    }

    #[test]
    fn a_second_start_changes_the_addresses_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        write(&path, &addresses(9092)).unwrap();
        let mine = fs::read_to_string(&path)
            .unwrap()
            .replace("group = \"livedex\"", "group = \"mine\" # my own")
            .replace("brokers = \"127.0.0.1:9092\"", "brokers = \"127.0.0.1:9092\" # the broker");
        fs::write(&path, &mine).unwrap();
        write(&path, &addresses(4711)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), mine.replace(":9092", ":4711"));
    }

    #[test]
    fn a_missing_table_is_added_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        fs::write(&path, "[kafka]\ngroup = \"g\"\n").unwrap();
        set_http_listen(&path, "127.0.0.1:1").unwrap();
        assert_eq!(get(&path, "http", "listen").unwrap().as_deref(), Some("127.0.0.1:1"));
        assert_eq!(get(&path, "kafka", "group").unwrap().as_deref(), Some("g"));
        assert_eq!(get(&path, "nats", "url").unwrap(), None);
    }

    #[test]
    fn a_broken_file_is_named_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livedex.toml");
        fs::write(&path, "[kafka\n").unwrap();
        let text = write(&path, &addresses(1)).unwrap_err().to_string();
        assert!(text.contains("livedex.toml") && text.contains("line 1"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        fs::write(&path, "kafka = 3\n").unwrap();
        assert!(write(&path, &addresses(1)).unwrap_err().to_string().contains("not a table"));
    }
}
