//! Milvus' error answers, in front of a Milvus that has none: a gRPC proxy that answers writes in
//! the server's place, or after the server.
//!
//! Milvus Lite knows neither rate limits nor quotas, and never fails after it has applied a
//! request. All other requests pass untouched.

mod answer;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService as _;
use tonic::transport::{Channel, Endpoint};

use answer::{mutation, was_applied};

/// gRPC's codes.
pub use tonic::Code;

/// An RPC that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rpc {
    /// Rows, and entries of the ledger of deletions.
    Upsert,
    /// Rows go.
    Delete,
}

/// How a write that does not reach the server is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Milvus' rate limiter: code 8, which its own clients try again.
    RateLimit,
    /// Writing is denied until somebody makes room: code 9, as when the disk quota is exhausted.
    WritesDenied,
    /// A gRPC status without an answer of Milvus.
    Grpc(Code),
}

/// How a write fails that the server has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is answered with DEADLINE_EXCEEDED.
    Deadline,
    /// Its connection is reset.
    Connection,
}

/// What happens to writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// They pass.
    Forward,
    /// None reaches the server.
    Refuse(Answer),
    /// Those that hold this text somewhere are rejected for good (code 1100, invalid parameter),
    /// as a row would be that does not fit; the others pass.
    Reject(String),
    /// They pass, and of each RPC every n-th that the server applies fails: in turns with
    /// DEADLINE_EXCEEDED and with a reset of its connection.
    LoseAnswers(u64),
}

/// What a proxy has done with one RPC since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The server's own answer was given.
    pub answered: u64,
    /// Answered by [`Rule::Refuse`].
    pub refused: u64,
    /// Answered by [`Rule::Reject`].
    pub rejected: u64,
    /// Applied by the server, and answered with DEADLINE_EXCEEDED.
    pub lost_to_deadline: u64,
    /// Applied by the server, and the connection reset.
    pub lost_with_connection: u64,
}

/// A running proxy. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct MilvusProxy {
    port: u16,
    shared: Arc<Shared>,
    /// Its own, so that a test that blocks does not stop it.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    upstream: Channel,
    rule: Mutex<Rule>,
    counts: Mutex<BTreeMap<Rpc, Counts>>,
}

impl MilvusProxy {
    /// A proxy in front of the Milvus at `uri` (`http`).
    pub fn start(uri: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let entered = runtime.enter();
        let shared = Arc::new(Shared {
            upstream: Endpoint::from_shared(uri.to_owned())?.connect_lazy(),
            rule: Mutex::new(Rule::Forward),
            counts: Mutex::default(),
        });
        let handler = Arc::clone(&shared);
        tokio::spawn(serve(TcpListener::from_std(listener)?, move |request, connection| {
            let shared = Arc::clone(&handler);
            async move { shared.answer(request, connection).await }
        }));
        drop(entered);
        Ok(Self { port, shared, runtime: Some(runtime) })
    }

    /// The URI for clients.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What happens to the writes that come from now on.
    pub fn set(&self, rule: Rule) {
        *lock(&self.shared.rule) = rule;
    }

    /// What it has done with an RPC.
    pub fn counts(&self, rpc: Rpc) -> Counts {
        lock(&self.shared.counts).get(&rpc).copied().unwrap_or_default()
    }
}

impl Drop for MilvusProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may be dropped in asynchronous code only so.
            runtime.shutdown_background();
        }
    }
}

impl Rpc {
    /// By the path of its requests.
    fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next()? {
            "Upsert" => Some(Self::Upsert),
            "Delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Shared {
    /// Answers a request. `connection` is its connection: cancelled, it is reset.
    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: CancellationToken,
    ) -> Result<Response<Body>> {
        let Some(rpc) = Rpc::of(request.uri().path()) else {
            return self.forward(request.map(Body::new)).await;
        };
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let rule = lock(&self.rule).clone();
        match &rule {
            Rule::Refuse(answer) => {
                self.count(rpc, |counts| counts.refused += 1);
                return Ok(answer.response());
            }
            Rule::Reject(marker) if holds(&body, marker.as_bytes()) => {
                self.count(rpc, |counts| counts.rejected += 1);
                return Ok(mutation(1100, 5, "invalid parameter"));
            }
            _ => {}
        }
        let response = self.forward(Request::from_parts(head, Body::new(Full::new(body)))).await?;
        // The whole answer: what it answers is then done.
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let message = body.to_bytes();
        let loss = match rule {
            Rule::LoseAnswers(every)
                if was_applied(trailers.as_ref().unwrap_or(&head.headers), &message) =>
            {
                self.loss(rpc, every)
            }
            _ => None,
        };
        match loss {
            None => {
                self.count(rpc, |counts| counts.answered += 1);
                let trailers = trailers.map(Ok);
                let body = Full::new(message).with_trailers(async { trailers });
                Ok(Response::from_parts(head, Body::new(body)))
            }
            Some(Loss::Deadline) => {
                self.count(rpc, |counts| counts.lost_to_deadline += 1);
                Ok(Status::deadline_exceeded("the answer is lost").into_http())
            }
            Some(Loss::Connection) => {
                self.count(rpc, |counts| counts.lost_with_connection += 1);
                connection.cancel();
                // It ends this too.
                std::future::pending().await
            }
        }
    }

    /// How an applied write fails, if it is its turn.
    fn loss(&self, rpc: Rpc, every: u64) -> Option<Loss> {
        let counts = lock(&self.counts).get(&rpc).copied().unwrap_or_default();
        let lost = counts.lost_to_deadline + counts.lost_with_connection;
        let is_due = (counts.answered + lost + 1).is_multiple_of(every);
        is_due.then_some(if lost % 2 == 0 { Loss::Deadline } else { Loss::Connection })
    }

    async fn forward(&self, request: Request<Body>) -> Result<Response<Body>> {
        let mut upstream = self.upstream.clone();
        std::future::poll_fn(|context| upstream.poll_ready(context)).await?;
        upstream.call(request).await.context("the server did not answer")
    }

    fn count(&self, rpc: Rpc, count: impl FnOnce(&mut Counts)) {
        count(lock(&self.counts).entry(rpc).or_default());
    }
}

/// Answers HTTP/2 requests on every connection. An error resets the stream of its request.
async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>, CancellationToken) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    loop {
        // Out of file descriptors, say: the client's timeout will tell.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let handler = handler.clone();
        tokio::spawn(async move {
            // However it ends: a client that has closed it already notices nothing.
            let _ = stream.set_zero_linger();
            let _ = stream.set_nodelay(true);
            let broken = CancellationToken::new();
            let token = broken.clone();
            let service = service_fn(move |request| handler(request, token.clone()));
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection to the proxy of Milvus ended");
                    }
                }
                () = broken.cancelled() => {}
            }
        });
    }
}

/// Whether `needle` stands somewhere in `bytes`.
fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len().max(1)).any(|window| window == needle)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
