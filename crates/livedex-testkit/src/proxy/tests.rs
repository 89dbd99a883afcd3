//! The proxy between a client and a server that says everything back.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::ErrorKind;
use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(20);

/// So long that a byte on this machine would have come.
const SILENCE: Duration = Duration::from_millis(300);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn through() -> (TcpProxy, TcpStream) {
    let proxy = TcpProxy::bind().unwrap();
    // Before it is known where it leads.
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.forward_to(echo().await);
    (proxy, client)
}

async fn says(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(client: &mut TcpStream, text: &str) {
    let mut answer = vec![0; text.len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, text.as_bytes());
}

#[tokio::test]
async fn bytes_and_ends_pass() {
    let (proxy, mut client) = through().await;
    says(&mut client, "one").await;
    hears(&mut client, "one").await;
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(proxy.counts(), Counts { connections: 1, ..Counts::default() });
}

#[tokio::test]
async fn chunks_are_delayed_both_ways() {
    let (proxy, mut client) = through().await;
    let (min, max) = (Duration::from_millis(60), Duration::from_millis(90));
    proxy.set(Traffic::Delay { min, max });
    let started = Instant::now();
    says(&mut client, "slow").await;
    hears(&mut client, "slow").await;
    assert!(started.elapsed() >= 2 * min, "{:?}", started.elapsed());
    assert_eq!(proxy.counts().delayed_bytes, 8);
}

#[tokio::test]
async fn what_is_held_comes_late() {
    let (proxy, mut client) = through().await;
    says(&mut client, "before").await;
    hears(&mut client, "before").await;
    proxy.set(Traffic::Hold);
    says(&mut client, "held").await;
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut late, "late").await;
    assert!(timeout(SILENCE, client.read(&mut [0])).await.is_err());
    assert!(timeout(SILENCE, late.read(&mut [0])).await.is_err());
    assert_eq!(proxy.counts().held_bytes, 4, "the other has no connection to send on");
    proxy.set(Traffic::Pass);
    hears(&mut client, "held").await;
    hears(&mut late, "late").await;
}

#[tokio::test]
async fn all_connections_are_reset() {
    let (proxy, mut client) = through().await;
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    for client in [&mut client, &mut other] {
        says(client, "here").await;
        hears(client, "here").await;
    }
    proxy.reset();
    for client in [&mut client, &mut other] {
        let error = timeout(PATIENCE, client.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    until("both are counted", PATIENCE, || async {
        Ok(if proxy.counts().resets == 2 { Ok(()) } else { Err(format!("{proxy:?}")) })
    })
    .await
    .unwrap();
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut again, "again").await;
    hears(&mut again, "again").await;
}

#[tokio::test]
async fn an_answer_is_cut_once() {
    let (proxy, mut client) = through().await;
    says(&mut client, "whole").await;
    hears(&mut client, "whole").await;
    proxy.cut_next_answer(3);
    says(&mut client, "broken").await;
    // The reset may be faster than what was let through.
    let mut heard = Vec::new();
    let error = timeout(PATIENCE, client.read_to_end(&mut heard)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(b"bro".starts_with(&heard), "{heard:?}");
    assert_eq!(proxy.counts().cut_answers, 1);
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut again, "whole again").await;
    hears(&mut again, "whole again").await;
    assert_eq!(proxy.counts().cut_answers, 1);
}
