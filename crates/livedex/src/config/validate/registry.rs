//! The schema registry, and who needs one.

use livedex_registry::{Authorization, RegistryConfig};
use livedex_wire::mapping::{Encoding, MappingSpec};

use super::Check;
use crate::config::raw::RawSchemaRegistry;

impl Check<'_> {
    /// Where the registry is; `None` if none is configured.
    pub(super) fn schema_registry(&mut self, raw: &RawSchemaRegistry) -> Option<RegistryConfig> {
        let key = |name: &str| format!("schema_registry.{name}");
        let token = self.secret(&key("token"), raw.token.as_ref(), raw.token_file.as_ref());
        let password =
            self.secret(&key("password"), raw.password.as_ref(), raw.password_file.as_ref());
        let timeout = self.millis(&key("timeout_ms"), raw.timeout_ms);
        let authorization = match (raw.user.clone(), password, token) {
            (None, None, None) => Authorization::None,
            (Some(user), Some(password), None) => Authorization::Basic { user, password },
            (None, None, Some(token)) => Authorization::Token(token),
            (_, _, Some(_)) => {
                self.wrong(&key("token"), "is set beside a user or a password; keep one of them");
                Authorization::None
            }
            (_, _, None) => {
                let message = "and schema_registry.password belong together; set both or none";
                self.wrong(&key("user"), message);
                Authorization::None
            }
        };
        let urls: Vec<String> =
            raw.url.as_ref()?.split(',').map(|url| url.trim().to_owned()).collect();
        for url in &urls {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                let message = format!("is \"{url}\"; write http://host:port or https://host:port");
                self.wrong(&key("url"), message);
            }
        }
        Some(RegistryConfig { urls, authorization, timeout })
    }

    /// Encodings that need a registry need its address.
    pub(super) fn encodings(&mut self, prefix: &str, raw: &MappingSpec, has_registry: bool) {
        let encodings =
            [("key_encoding", raw.key_encoding), ("value_encoding", raw.value_encoding)];
        for (key, encoding) in encodings {
            if encoding != Encoding::Plain && !has_registry {
                self.wrong(
                    &format!("{prefix}.{key}"),
                    format!(
                        "is \"{}\", whose schemas are in a schema registry; set schema_registry.url",
                        encoding.as_str()
                    ),
                );
            }
        }
    }
}
