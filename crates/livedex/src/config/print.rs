//! The effective configuration as TOML, secrets redacted.

use anyhow::Context;

use super::{file, load, one_error, raw::RawConfig};
use crate::cli::GlobalArgs;

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
    raw.nats.url = without_userinfo(&raw.nats.url);
    raw.milvus.uri = without_userinfo(&raw.milvus.uri);
    toml::to_string(&raw).context("cannot print the configuration")
}

/// `nats://user:password@host` without the password.
fn without_userinfo(urls: &str) -> String {
    let one = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}<redacted>{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
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
        raw.hub.token = Some(Secret::new("hunter2"));
        raw.kafka.properties.insert("sasl.password".into(), PropertyValue("hunter2".into()));
        assert!(!format!("{raw:?}").contains("token: Some(\"hunter2\")"));
        let text = render(raw).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("nats://<redacted>@a:4222,nats://b:4222"), "{text}");
    }
}
