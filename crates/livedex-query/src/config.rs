//! Where NATS is, and the bounds of the service.

use std::{fmt, path::PathBuf, time::Duration};

use livedex_core::{
    limits::{DEFAULT_CANDIDATES, DEFAULT_TOP_K},
    query::Mode,
    ranking::Fusion,
};

/// Where NATS is and how to get in. Paths are taken as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// One server or several, separated by commas: `nats://host:4222` or `tls://host:4222`.
    pub url: String,
    /// A credentials file (JWT and nkey seed, as `nsc` writes it).
    pub credentials_file: Option<PathBuf>,
    /// A token.
    pub token: Option<String>,
    /// A user; needs `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Refuse a server that offers no TLS.
    pub tls_required: bool,
    /// The certificates to trust, PEM; the platform's if `None`.
    pub tls_ca_file: Option<PathBuf>,
    /// The client's own certificate, PEM; needs `tls_key_file`.
    pub tls_cert_file: Option<PathBuf>,
    /// The key of the client's own certificate, PEM.
    pub tls_key_file: Option<PathBuf>,
    /// What subjects start with: `livedex` gives `livedex.query`.
    pub subject_prefix: String,
    /// Instances of one queue group share the requests.
    pub queue_group: String,
    /// How long the first connection may take, name resolution and TLS included.
    pub connect_timeout: Duration,
}

impl NatsConfig {
    /// A subject of the service.
    pub fn subject(&self, endpoint: &str) -> String {
        format!("{}.{endpoint}", self.subject_prefix)
    }
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials_file: None,
            token: None,
            user: None,
            password: None,
            tls_required: false,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            subject_prefix: "livedex".into(),
            queue_group: "livedex".into(),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Without secrets (INV-7): also a URL may hold a password.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |value: &Option<String>| value.as_ref().map(|_| "[redacted]");
        f.debug_struct("NatsConfig")
            .field("url", &without_user_info(&self.url))
            .field("credentials_file", &self.credentials_file)
            .field("token", &secret(&self.token))
            .field("user", &self.user)
            .field("password", &secret(&self.password))
            .field("tls_required", &self.tls_required)
            .field("tls_ca_file", &self.tls_ca_file)
            .field("tls_cert_file", &self.tls_cert_file)
            .field("tls_key_file", &self.tls_key_file)
            .field("subject_prefix", &self.subject_prefix)
            .field("queue_group", &self.queue_group)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// The URLs as they may be shown: `nats://user:password@host` becomes `nats://host`.
pub(crate) fn without_user_info(urls: &str) -> String {
    replace_user_info(urls, "")
}

/// The URLs, separated by commas, with `with` in place of each `user:password@`.
pub fn replace_user_info(urls: &str, with: &str) -> String {
    let clean = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}{with}{}", &url[..scheme + 3], &url[at + 1..])
        }
        (None, Some(at)) => format!("{with}{}", &url[at + 1..]),
        _ => url.to_owned(),
    };
    urls.split(',').map(|url| clean(url.trim())).collect::<Vec<_>>().join(",")
}

/// How queries are answered. [`Default`] is what the binary starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryConfig {
    /// Candidates of stage 1 when the request does not say.
    pub candidates: usize,
    /// Hits of a reply when the request does not say.
    pub top_k: usize,
    /// How both stages' scores become the final one.
    pub fusion: Fusion,
    /// The deadline of a request that brings none.
    pub timeout: Duration,
    /// Requests being answered at once; the next one is refused at once (429).
    pub max_in_flight: usize,
    /// How many times as long as on an idle service an answer may take; beyond it requests are
    /// refused at once (429). At least 1.
    pub max_slowdown: f64,
    /// How stage 1 searches when the request does not say.
    pub mode: Mode,
    /// Whether requests without a tenant are refused.
    pub require_tenant: bool,
    /// Bytes of the scores that are remembered; 0 remembers none.
    pub rerank_cache_bytes: u64,
    /// Bytes of the queries' embeddings that are remembered; 0 remembers none.
    pub embedding_cache_bytes: u64,
    /// How long requests in flight may take to finish after a shutdown was asked for.
    pub drain: Duration,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            candidates: DEFAULT_CANDIDATES,
            top_k: DEFAULT_TOP_K,
            fusion: Fusion::default(),
            timeout: Duration::from_secs(10),
            max_in_flight: 64,
            max_slowdown: 8.0,
            mode: Mode::default(),
            require_tenant: false,
            // 390,000 pairs: some thousand different queries.
            rerank_cache_bytes: 64 * 1024 * 1024,
            // 3,900 queries at 1,024 numbers.
            embedding_cache_bytes: 16 * 1024 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let config = NatsConfig {
            url: "nats://bob:hunter2@a:4222, tls://b:4222,carol:hunter2@c".into(),
            token: Some("hunter2".into()),
            password: Some("hunter2".into()),
            ..NatsConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("bob"), "{shown}");
        assert!(shown.contains("nats://a:4222,tls://b:4222,c"), "{shown}");
    }
}
