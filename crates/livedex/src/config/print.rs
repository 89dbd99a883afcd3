//! The effective configuration as TOML, secrets redacted.

use anyhow::Context;
use livedex_query::config::replace_user_info;

use super::{file, load, one_error, raw::RawConfig};
use crate::cli::GlobalArgs;

/// What stands in a URL in place of `user:password@`.
const REDACTED_USER: &str = "<redacted>@";

/// What is in force, as TOML.
pub(crate) fn effective(args: &GlobalArgs) -> anyhow::Result<String> {
    let path = file(args);
    let loaded = load::load(path.as_deref(), &args.overrides.given())
        .map_err(|problems| one_error(&problems))?;
    if !loaded.problems.is_empty() {
        return Err(one_error(&loaded.problems));
    }
    let source = path.map_or_else(
        || "# no file: defaults, environment and flags\n".to_owned(),
        |path| format!("# {}, environment and flags\n", path.display()),
    );
    render(loaded.raw).map(|text| source + &text)
}

fn render(mut raw: RawConfig) -> anyhow::Result<String> {
    for (name, value) in &mut raw.kafka.properties {
        if livedex_kafka::is_secret_property(&name.replace('_', ".")) {
            value.0 = "<redacted>".to_owned();
        }
    }
    raw.nats.url = replace_user_info(&raw.nats.url, REDACTED_USER);
    raw.milvus.uri = replace_user_info(&raw.milvus.uri, REDACTED_USER);
    toml::to_string(&raw).context("cannot print the configuration")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::config::secret::{PropertyValue, Secret};

    #[test]
    fn no_secret_is_printed() {
        let mut raw = RawConfig::default();
        raw.milvus.token = Some(Secret::new("hunter2"));
        raw.nats.password = Some(Secret::new("hunter2"));
        raw.nats.url = "nats://me:hunter2@a:4222,nats://b:4222".into();
        raw.milvus.uri = "me:hunter2@host:19530".into();
        raw.hub.token = Some(Secret::new("hunter2"));
        raw.kafka.properties.insert("sasl.password".into(), PropertyValue("hunter2".into()));
        assert!(!format!("{raw:?}").contains("token: Some(\"hunter2\")"));
        let text = render(raw).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("nats://<redacted>@a:4222,nats://b:4222"), "{text}");
    }
}
