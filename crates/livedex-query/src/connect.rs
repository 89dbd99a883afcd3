//! A connection, or one line that says why there is none.
//!
//! The first connection is tried once and fails within [`NatsConfig::connect_timeout`]: a service
//! that cannot start should say so. A connection that is lost later is looked for again for ever,
//! and the log says so.

use std::{error::Error, path::Path, time::Duration};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};

use crate::{
    config::{NatsConfig, without_user_info},
    metrics,
};

/// Why there is no connection. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// The address cannot be read.
    #[error(
        "nats.url {url:?} is no NATS address ({reason}); write it as nats://host:4222 or tls://host:4222"
    )]
    Url {
        /// The address, without user and password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that the configuration names cannot be used.
    #[error("nats.{key}: cannot use {path}: {reason}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers.
    #[error("no NATS server answers at {url} ({reason}); start one, or set nats.url")]
    Unreachable {
        /// The address, without user and password.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server does not let us in.
    #[error(
        "the NATS server at {url} refuses these credentials; check nats.credentials_file, nats.token, nats.user and nats.password"
    )]
    Refused {
        /// The address, without user and password.
        url: String,
    },
    /// No TLS connection.
    #[error("no TLS connection to the NATS server at {url} ({reason}); check nats.tls")]
    Tls {
        /// The address, without user and password.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The machine is out of threads.
    #[error("cannot start a thread for a NATS connection: {reason}")]
    Thread {
        /// What happened.
        reason: String,
    },
}

/// A connection to a NATS server.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(crate) client: Client,
}

/// What a NATS server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Bytes of one message, headers included.
    pub max_payload: usize,
}

impl Connection {
    /// What the server said when it was connected to last.
    pub fn server_info(&self) -> ServerInfo {
        let info = self.client.server_info();
        ServerInfo { version: info.version, max_payload: info.max_payload }
    }
}

/// Connects, or says within [`NatsConfig::connect_timeout`] why not.
pub async fn connect(config: &NatsConfig) -> Result<Connection, NatsError> {
    Ok(Connection { client: connect_as(config, "livedex").await? })
}

/// Connects. `name` is what the server's list of connections shows.
pub(crate) async fn connect_as(config: &NatsConfig, name: &str) -> Result<Client, NatsError> {
    let url = without_user_info(&config.url);
    let servers = servers(config)?;
    let options = options(config, name).await?;
    // Two TLS backends may be compiled into one program (another crate's dependency), and rustls
    // then refuses to choose. Fails if one is chosen already, which is as good.
    let _ = async_nats::rustls::crypto::ring::default_provider().install_default();
    let connected = tokio::time::timeout(config.connect_timeout, options.connect(servers)).await;
    let error = match connected {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) if error.kind() != ConnectErrorKind::TimedOut => error,
        // The client's own limit is the same, and either may come first.
        _ => {
            let reason = format!("no answer in {} ms", config.connect_timeout.as_millis());
            return Err(NatsError::Unreachable { url, reason });
        }
    };
    let reason = one_line(&error);
    Err(match error.kind() {
        ConnectErrorKind::ServerParse => NatsError::Url { url, reason },
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            NatsError::Refused { url }
        }
        ConnectErrorKind::Tls => NatsError::Tls { url, reason },
        // A failed handshake is an I/O error with the reason inside.
        _ if is_tls(&error) => NatsError::Tls { url, reason },
        _ => NatsError::Unreachable { url, reason },
    })
}

/// Connects as soon as a server answers, however long that takes. An error is one that waiting does not
/// mend: an address that is none, credentials that are refused.
pub(crate) async fn connect_whenever(config: &NatsConfig, name: &str) -> Result<Client, NatsError> {
    let mut attempts = 0;
    loop {
        match connect_as(config, name).await {
            Err(NatsError::Unreachable { url, reason }) => {
                attempts += 1;
                if attempts == 1 {
                    tracing::info!(url, reason, "no NATS server yet; looking for it");
                }
                // Two seconds more at the most, as it is looked for in the background.
                tokio::time::sleep(reconnect_delay(attempts.max(7))).await;
            }
            result => return result,
        }
    }
}

fn servers(config: &NatsConfig) -> Result<Vec<ServerAddr>, NatsError> {
    let parse = |url: &str| {
        let reason = match url.trim().parse::<ServerAddr>() {
            Ok(server) if server.host().is_empty() => "it names no host".to_owned(),
            Ok(server) if ["nats", "tls"].contains(&server.scheme()) => return Ok(server),
            Ok(server) => format!("{} is not supported", server.scheme()),
            Err(error) => error.to_string(),
        };
        Err(NatsError::Url { url: without_user_info(url), reason })
    };
    config.url.split(',').map(parse).collect()
}

async fn options(config: &NatsConfig, name: &str) -> Result<ConnectOptions, NatsError> {
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(config.connect_timeout)
        .require_tls(config.tls_required)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(|event| async move { log(&event) });
    if let Some(path) = &config.credentials_file {
        options = options
            .credentials_file(path)
            .await
            .map_err(|error| file("credentials_file", path, &error))?;
    }
    if let Some(token) = &config.token {
        options = options.token(token.clone());
    }
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(path) = &config.tls_ca_file {
        readable("tls.ca_file", path)?;
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&config.tls_cert_file, &config.tls_key_file) {
        readable("tls.cert_file", cert)?;
        readable("tls.key_file", key)?;
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

/// Up to 3 s, and never the same for two instances that lost the server at the same moment.
fn reconnect_delay(attempts: usize) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(50 << (n - 2).min(6)).mul_f64(rand::random_range(0.5..=1.0)),
    }
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; looking for it"),
        Event::LameDuckMode => tracing::info!("the NATS server is about to shut down"),
        Event::SlowConsumer(_) => {
            metrics::slow_consumer();
            tracing::warn!("a request was dropped before it was read: too many at once");
        }
        // The server's own words about permissions and limits; no document and no query in them.
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server reports an error"),
        Event::ClientError(error) => tracing::debug!(%error, "NATS client error"),
        Event::Draining | Event::Closed => tracing::debug!(%event, "NATS connection"),
    }
}

fn readable(key: &'static str, path: &Path) -> Result<(), NatsError> {
    std::fs::File::open(path).map(drop).map_err(|error| file(key, path, &error))
}

fn file(key: &'static str, path: &Path, error: &dyn Error) -> NatsError {
    NatsError::File { key, path: path.display().to_string(), reason: one_line(error) }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.is::<async_nats::rustls::Error>() {
            return true;
        }
        source = match error.downcast_ref::<std::io::Error>() {
            // An I/O error's own source skips what it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

/// An error as one line: its messages, inner ones last, each once.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !line.contains(&message) {
            line = format!("{line}: {message}");
        }
        source = error.source();
    }
    line.replace(['\n', '\r'], " ")
}
