//! A worker's own word, from `/status` of its HTTP endpoint.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use livedex_wire::worker_status::WorkerStatusV1;

use super::Answer;
use crate::config::Config;

/// How long to wait for a worker.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of an answer: thousands of partitions.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A worker that was asked.
pub(super) struct Worker {
    pub(super) url: String,
    pub(super) answer: Answer<WorkerStatusV1>,
}

/// Asks these workers, or the one that the configuration has on this machine.
pub(super) async fn ask_all(config: &Config, urls: &[String]) -> Vec<Worker> {
    let urls: Vec<String> = match urls {
        [] => config.http.map(on_this_machine).into_iter().collect(),
        urls => urls.iter().map(|url| with_scheme(url)).collect(),
    };
    futures::future::join_all(urls.into_iter().map(|url| async {
        let answer = ask(format!("{}/status", url.trim_end_matches('/'))).await;
        Worker { url, answer }
    }))
    .await
}

/// Where a worker that listens on `listen` is reached from here.
fn on_this_machine(mut listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{listen}")
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

async fn ask(url: String) -> Answer<WorkerStatusV1> {
    let asked = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_global(Some(TIMEOUT))
                // Workers are asked directly: a proxy of the environment is for the world outside.
                .proxy(None)
                .build(),
        );
        let mut answer = agent.get(&url).call()?;
        answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec()
    });
    match asked.await {
        Ok(Ok(json)) => WorkerStatusV1::from_json(&json).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(format!("no worker answers here ({error})")),
        Err(panic) => Err(panic.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_becomes_one_to_ask() {
        for (listen, url) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("0.0.0.0:9464", "http://127.0.0.1:9464"),
            ("[::]:80", "http://[::1]:80"),
            ("10.1.2.3:80", "http://10.1.2.3:80"),
        ] {
            assert_eq!(on_this_machine(listen.parse().unwrap()), url);
        }
        assert_eq!(with_scheme("w:9464"), "http://w:9464");
        assert_eq!(with_scheme("https://w/x"), "https://w/x");
    }

    #[tokio::test]
    async fn where_nobody_listens_that_is_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = ask(format!("{url}/status")).await.unwrap_err();
        assert!(error.starts_with("no worker answers here"), "{error}");
    }
}
