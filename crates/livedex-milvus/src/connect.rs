//! Reaching the server, with one clear line for each way that fails.
//!
//! The SDK waits for a server until its timeout and then says only that it has waited. So the
//! steps are taken one by one before it: the URI is read, a TCP connection is opened, and where
//! TLS is on, a TLS connection as well.

use std::{path::Path, time::Duration};

use milvus::v2::{
    ClientV2,
    error::Error,
    types::{ConnectConfig, RetryConfig, TelemetryConfig},
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Uri};

use crate::{
    classify::{Effect, Failure, Kind},
    client::{Milvus, call, is_lite},
    config::MilvusConfig,
    error::MilvusError,
    ledger,
};

/// The port of Milvus' gRPC service.
const DEFAULT_PORT: u16 = 19530;

/// Pings reveal a server that vanished without closing the connection. Only while an RPC runs:
/// Milvus Lite's gRPC server closes connections that ping more often than every five minutes
/// while idle, which is the SDK's default.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How much longer than our own deadline the SDK's is.
const GRACE: Duration = Duration::from_millis(500);

/// The pause between two attempts while the server says that it is starting.
const STARTING: Duration = Duration::from_millis(200);

impl Milvus {
    /// Connects, checks the token and that the database exists. Ends within about
    /// `config.timeout`.
    pub async fn connect(config: &MilvusConfig) -> Result<Self, MilvusError> {
        let address = Address::parse(config)?;
        check_name("database", &config.database, MAX_NAME)?;
        check_name("collection", &config.collection, MAX_COLLECTION_NAME)?;
        let started = Instant::now();
        address.check_tcp(config).await?;
        if address.tls {
            address.check_tls(config).await?;
        }
        let sdk = sdk_config(config, &address)?;
        let left = |from: Instant| config.timeout.saturating_sub(from.elapsed());
        let client = loop {
            let sdk = sdk.clone().connect_timeout(left(started).max(Duration::from_millis(1)));
            let failure = match ClientV2::new(&sdk).await {
                Ok(client) => break client,
                Err(error) => connect_failure(&error, config)?,
            };
            if failure.kind != Kind::Unavailable || left(started) < STARTING {
                return Err(explain(failure, config));
            }
            sleep(STARTING).await;
        };
        let version = call("get_version", Effect::Read, false, config.timeout, async {
            let request =
                milvus::v2::request::utility::GetServerVersionRequest::builder().build()?;
            Ok(client.server_version(request).await?.version().to_owned())
        })
        .await
        .map_err(|failure| explain(failure, config))?;
        check_database(&client, config, is_lite(&version)).await?;
        Ok(Self::new(client, config.clone(), version))
    }
}

/// Characters of a name (`proxy.maxNameLength` of Milvus).
const MAX_NAME: usize = 255;

/// Characters of a collection's name: its ledger's is longer.
pub const MAX_COLLECTION_NAME: usize = MAX_NAME - ledger::SUFFIX.len();

/// Milvus' rule for names; Milvus Lite takes others as well.
fn check_name(key: &'static str, name: &str, limit: usize) -> Result<(), MilvusError> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if starts && goes_on && name.len() <= limit {
        return Ok(());
    }
    Err(MilvusError::Name { key, name: name.to_owned(), limit })
}

/// A URI taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl Address {
    fn parse(config: &MilvusConfig) -> Result<Self, MilvusError> {
        let wrong = |problem: &str| MilvusError::Address {
            uri: config.uri.clone(),
            problem: problem.to_owned(),
        };
        let uri: Uri = config.uri.parse().map_err(|_| wrong("is not a URI"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("does not start with http:// or https://")),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("holds a user name, which belongs into milvus.token"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has more than host and port"));
        }
        let tls = https || config.tls.ca_file.is_some() || config.tls.domain.is_some();
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(DEFAULT_PORT) })
    }

    fn uri(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let host = &self.host;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }

    async fn check_tcp(&self, config: &MilvusConfig) -> Result<(), MilvusError> {
        let unreachable =
            |reason: String| MilvusError::Unreachable { uri: config.uri.clone(), reason };
        match timeout(config.timeout, TcpStream::connect((self.host.as_str(), self.port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => {
                Err(unreachable(format!("no connection within {} s", config.timeout.as_secs())))
            }
        }
    }

    async fn check_tls(&self, config: &MilvusConfig) -> Result<(), MilvusError> {
        let failed = |reason: String| MilvusError::Tls { uri: config.uri.clone(), reason };
        let mut tls = ClientTlsConfig::new();
        if let Some(domain) = &config.tls.domain {
            tls = tls.domain_name(domain);
        }
        match &config.tls.ca_file {
            Some(path) => {
                let pem = tokio::fs::read(path).await.map_err(|error| {
                    failed(format!("cannot read `{}`: {error}", path.display()))
                })?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            None => tls = tls.with_native_roots(),
        }
        let endpoint = Endpoint::from_shared(self.uri())
            .and_then(|endpoint| endpoint.connect_timeout(config.timeout).tls_config(tls))
            .map_err(|error| failed(innermost(&error)))?;
        match timeout(config.timeout, endpoint.connect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(innermost(&error))),
            Err(_) => Err(failed(format!("no handshake within {} s", config.timeout.as_secs()))),
        }
    }
}

/// The last of an error's sources: what really happened.
fn innermost(error: &tonic::transport::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn sdk_config(config: &MilvusConfig, address: &Address) -> Result<ConnectConfig, MilvusError> {
    let mut sdk = ConnectConfig::new()
        .uri(address.uri())
        .database(&config.database)
        // A little more than our own deadline, which says more clearly that it passed.
        .rpc_timeout(config.timeout + GRACE)
        .keepalive_time(KEEPALIVE)
        .keepalive_while_idle(false)
        // The SDK would try 75 times. Who retries and how long is our caller's decision.
        .retry(RetryConfig::new().max_attempts(1).retry_on_rate_limit(false))
        .telemetry(TelemetryConfig::new().enabled(false));
    if let Some(token) = &config.token {
        sdk = sdk.token(token);
    }
    if let Some(path) = &config.tls.ca_file {
        sdk = sdk.ca_certificate(utf8(path, config)?);
    }
    if let Some(domain) = &config.tls.domain {
        sdk = sdk.tls_server_name(domain);
    }
    Ok(sdk.secure(address.tls))
}

fn utf8<'a>(path: &'a Path, config: &MilvusConfig) -> Result<&'a str, MilvusError> {
    path.to_str().ok_or_else(|| MilvusError::Tls {
        uri: config.uri.clone(),
        reason: format!("the path `{}` is not UTF-8", path.display()),
    })
}

/// Why the SDK's connect failed: an error of the configuration, or a failure to [`explain`].
fn connect_failure(error: &Error, config: &MilvusConfig) -> Result<Failure, MilvusError> {
    tracing::debug!(%error, "connecting to milvus failed");
    match error {
        Error::Validation(invalid) if invalid.parameter() == "token" => Err(unauthorized(config)),
        Error::Validation(invalid) => Err(MilvusError::Address {
            uri: config.uri.clone(),
            problem: format!("cannot be used ({})", invalid.reason()),
        }),
        error => Ok(crate::classify::classify(error, Effect::Read, false)),
    }
}

/// A failure as the line for the operator.
fn explain(failure: Failure, config: &MilvusConfig) -> MilvusError {
    match failure.kind {
        Kind::Unauthenticated | Kind::Forbidden => unauthorized(config),
        Kind::NoDatabase => unknown_database(config),
        _ => MilvusError::NotMilvus { uri: config.uri.clone(), seconds: config.timeout.as_secs() },
    }
}

fn unauthorized(config: &MilvusConfig) -> MilvusError {
    MilvusError::Unauthorized {
        uri: config.uri.clone(),
        token: if config.token.is_some() { "given token" } else { "missing token" },
        database: config.database.clone(),
    }
}

fn unknown_database(config: &MilvusConfig) -> MilvusError {
    MilvusError::UnknownDatabase { uri: config.uri.clone(), database: config.database.clone() }
}

/// Milvus takes the name of a database with every request and complains late or (Lite) creates
/// collections elsewhere; so it is looked up once. A user who may not list databases is let
/// through.
async fn check_database(
    client: &ClientV2,
    config: &MilvusConfig,
    lite: bool,
) -> Result<(), MilvusError> {
    let listed = call("list_databases", Effect::Read, lite, config.timeout, async {
        let request = milvus::v2::request::database::ListDatabasesRequest::builder().build()?;
        client.list_databases(request).await
    })
    .await;
    match listed {
        Ok(response) if response.database_names().contains(&config.database) => Ok(()),
        Ok(_) => Err(unknown_database(config)),
        Err(failure) if failure.kind == Kind::Forbidden => Ok(()),
        Err(failure) => Err(match failure.kind {
            Kind::Unauthenticated => unauthorized(config),
            Kind::NoDatabase => unknown_database(config),
            _ => MilvusError::Service(failure.into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn at(uri: &str) -> MilvusConfig {
        MilvusConfig { uri: uri.to_owned(), ..MilvusConfig::default() }
    }

    #[test]
    fn uris() {
        let parse = |uri: &str| Address::parse(&at(uri)).map(|address| address.uri());
        assert_eq!(parse("http://localhost").unwrap(), "http://localhost:19530");
        assert_eq!(parse("https://db.example:443/").unwrap(), "https://db.example:443");
        assert_eq!(parse("http://[::1]:1").unwrap(), "http://[::1]:1");
        for (uri, problem) in [
            ("localhost:19530", "does not start with"),
            ("ftp://localhost", "does not start with"),
            ("not a uri", "is not a URI"),
            ("http://root:Milvus@localhost", "milvus.token"),
            ("http://localhost/db", "more than host and port"),
        ] {
            let error = parse(uri).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn names() {
        for name in ["livedex", "_a1", "A_b"] {
            assert_eq!(check_name("collection", name, 247), Ok(()));
        }
        assert_eq!(MAX_COLLECTION_NAME, 247);
        for name in ["", "1a", "a b", "a-b", "\u{E4}", &"x".repeat(248)] {
            assert!(check_name("collection", name, MAX_COLLECTION_NAME).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn nothing_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Milvus::connect(&at(&uri)).await.unwrap_err();
        assert!(matches!(error, MilvusError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&uri), "{error}");
    }

    #[tokio::test]
    async fn something_else_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let config = MilvusConfig { timeout: Duration::from_millis(300), ..at(&uri) };
        let error = Milvus::connect(&config).await.unwrap_err();
        assert!(matches!(error, MilvusError::NotMilvus { .. }), "{error}");
        // With TLS on, a silent listener is told apart from a wrong certificate.
        let config = MilvusConfig { uri: uri.replace("http", "https"), ..config };
        let error = Milvus::connect(&config).await.unwrap_err();
        assert!(matches!(error, MilvusError::Tls { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_missing_ca_file_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = at(&format!("https://{}", listener.local_addr().unwrap()));
        config.tls.ca_file = Some("no/such/ca.pem".into());
        let error = Milvus::connect(&config).await.unwrap_err().to_string();
        assert!(error.contains("no/such/ca.pem"), "{error}");
    }

    #[test]
    fn the_token_is_not_shown() {
        let config = MilvusConfig { token: Some("hunter2".to_owned()), ..at("http://a") };
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!unauthorized(&config).to_string().contains("hunter2"));
    }
}
