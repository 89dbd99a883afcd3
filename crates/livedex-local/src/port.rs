//! Free ports, ports in use.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::error::LocalError;

/// A server of the local stack, or the worker's own HTTP endpoint, as the owner of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The embedded Kafka broker.
    Kafka,
    /// nats-server.
    Nats,
    /// Milvus Lite.
    Milvus,
}

impl Service {
    /// The port its clients expect.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Kafka => 9092,
            Self::Nats => 4222,
            Self::Milvus => 19530,
        }
    }

    /// The flag of `livedex-local` that moves it.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Kafka => "--kafka-port",
            Self::Nats => "--nats-port",
            Self::Milvus => "--milvus-port",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Nats => "NATS",
            Self::Milvus => "Milvus",
        })
    }
}

/// True if something listens on that port of 127.0.0.1, or on it on all addresses.
pub fn in_use(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Connecting as well as binding: macOS lets a specific address be bound beside a wildcard one,
    // and gRPC servers share ports (SO_REUSEPORT), so each test alone can miss a listener.
    TcpListener::bind(address).is_err()
        || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Refuses a port that is in use; port 0 (any free one) always passes.
pub fn require_free(service: Service, port: u16) -> Result<(), LocalError> {
    if port != 0 && in_use(port) { Err(LocalError::PortInUse { service, port }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn a_listener_makes_its_port_used_and_the_message_names_port_and_flag() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = require_free(Service::Milvus, port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--milvus-port"), "{error}");
        assert!(!error.contains('\n'));
        drop(listener);
        require_free(Service::Milvus, port).unwrap();
    }

    #[test]
    fn a_wildcard_listener_is_seen_too() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        assert!(in_use(listener.local_addr().unwrap().port()));
    }

    #[test]
    fn any_free_port_is_never_in_use() {
        require_free(Service::Kafka, 0).unwrap();
    }
}
