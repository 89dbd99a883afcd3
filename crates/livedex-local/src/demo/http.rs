//! Just enough of HTTP to ask the worker how it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The body of a GET that was answered with status 200; None for everything else.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    // HTTP/1.0: the answer ends where the connection ends, and is never chunked.
    // In one piece: a server may answer and close as soon as it has read the first.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    (status == "200").then(|| body.to_owned())
}

/// The sum of a metric in the Prometheus text format, over the samples whose labels contain `label`.
pub(super) fn metric(text: &str, name: &str, label: &str) -> u64 {
    let sample = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let ours = labels.is_empty() || labels.starts_with('{');
        (ours && labels.contains(label)).then(|| value.parse::<f64>().ok()).flatten()
    };
    // Counters are whole and far below 2^53.
    text.lines().filter_map(sample).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn metrics_are_summed_by_label() {
        let text = "# HELP livedex_chunks_total x\n\
                    livedex_chunks_total{action=\"embedded\"} 7\n\
                    livedex_chunks_total{action=\"unchanged\"} 5\n\
                    livedex_chunks_total_more 100\n";
        assert_eq!(metric(text, "livedex_chunks_total", ""), 12);
        assert_eq!(metric(text, "livedex_chunks_total", "action=\"embedded\""), 7);
        assert_eq!(metric(text, "livedex_nothing", ""), 0);
    }

    #[test]
    fn only_a_200_has_a_body() {
        for (status, expected) in [("200 OK", Some("body")), ("503 Service Unavailable", None)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let read = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.0 {status}\r\nX: y\r\n\r\nbody").unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            });
            assert_eq!(get(address, "/metrics").as_deref(), expected);
            assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.0\r\n"));
        }
    }
}
