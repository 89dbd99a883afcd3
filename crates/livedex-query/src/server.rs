//! The service: discovery, admission, handlers, shutdown.
//!
//! Every request that is read ends in a reply or a typed error (promise 4). Beyond
//! [`QueryConfig::max_in_flight`](crate::QueryConfig::max_in_flight) requests the next one is
//! refused in the same moment; nothing queues.
//!
//! # Two connections
//! Requests come in on one connection (`intake`), and while the service runs,
//! replies leave on it, too, as the services framework wants it. At a shutdown that connection is
//! drained, which closes it, so from then on replies leave on the second one.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_nats::{
    Client, HeaderMap,
    service::{Request, Service as NatsService, ServiceExt, endpoint::Endpoint},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use livedex_wire::{query, reply::Models, schemas, status::StatusV1};
use tokio::{
    sync::{RwLock, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::NatsConfig,
    connect::{Connection, NatsError, one_line},
    deadline::{DEADLINE_HEADER, Deadline},
    error::QueryError,
    intake::Intake,
    metrics, reply,
    status::{Counters, Report},
    two_stage::Service,
};

/// The service's name in discovery.
pub const SERVICE_NAME: &str = "livedex";

/// The service's version in discovery.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `status` requests answered at once; each asks the collection for its number of rows.
const MAX_STATUS_IN_FLIGHT: usize = 4;

/// How long a shutdown waits for the last replies to leave.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// How long `status` waits for the number of rows.
const ROWS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a service ended other than by a shutdown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No connection.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The service could not be set up.
    #[error(
        "the service cannot be registered on NATS: {0}; check nats.subject_prefix and the user's permissions"
    )]
    Register(String),
    /// The connection was closed for good.
    #[error("the connection to NATS was closed")]
    Closed,
}

/// A service that listens.
struct Server {
    service: NatsService,
    query: Endpoint,
    status: Endpoint,
    intake: Intake,
    shared: Arc<Shared>,
}

/// What every handler works with.
struct Shared {
    service: Service,
    counters: Counters,
    places: Arc<Semaphore>,
    /// Bounds replies that are being sent: as many again as queries in flight.
    sending: Semaphore,
    status_places: Arc<Semaphore>,
    outgoing: Client,
    /// Whether the intake is being drained, so that replies go out on `outgoing`.
    is_draining: RwLock<bool>,
    /// Cancelled when requests in flight have had their time at a shutdown.
    give_up: CancellationToken,
    report: Report,
    /// Its id in discovery, once it has one.
    id: OnceLock<String>,
}

/// Registers the service on `connection`. Requests are taken from the moment this returns; the
/// future that it returns answers them until `shutdown` is cancelled, and then stops without losing
/// one: no new ones come in, those in flight finish within
/// [`QueryConfig::drain`](crate::QueryConfig::drain), and all replies are on their way when it
/// ends. What is unfinished then gets an error.
pub async fn serve(
    connection: Connection,
    nats: &NatsConfig,
    service: Service,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), ServeError>> + Send + 'static, ServeError> {
    let server = Server::start(connection, nats, service).await?;
    Ok(server.run(shutdown))
}

impl Server {
    async fn start(
        connection: Connection,
        nats: &NatsConfig,
        service: Service,
    ) -> Result<Self, ServeError> {
        let outgoing = connection.client;
        let intake = Intake::connect(nats, "livedex requests").await?;
        let report = Report::new(&service);
        let shared = Arc::new(Shared {
            counters: Counters::default(),
            places: Arc::new(Semaphore::new(service.config.max_in_flight)),
            sending: Semaphore::new(service.config.max_in_flight),
            status_places: Arc::new(Semaphore::new(MAX_STATUS_IN_FLIGHT)),
            outgoing,
            is_draining: RwLock::new(false),
            give_up: CancellationToken::new(),
            report,
            id: OnceLock::new(),
            service,
        });

        let register = |error: async_nats::Error| ServeError::Register(one_line(&*error));
        let stats = shared.clone();
        let service = intake
            .client
            .service_builder()
            .description("Two-stage search over a Milvus collection kept in step with Kafka")
            .metadata(shared.report.metadata())
            .queue_group(&nats.queue_group)
            .stats_handler(move |endpoint, _| stats.stats(&endpoint))
            .start(SERVICE_NAME, VERSION)
            .await
            .map_err(register)?;
        let id = service.info().await.id;
        // Set once, here.
        let _ = shared.id.set(id.clone());
        let query = service
            .endpoint_builder()
            .name("query")
            .metadata(contract(&["query.v1", "reply.v1", "error.v1"]))
            .add(nats.subject("query"))
            .await
            .map_err(register)?;
        // A group of its own: everybody answers, so that a caller sees all instances.
        let status = service
            .endpoint_builder()
            .name("status")
            .metadata(contract(&["status.v1"]))
            .queue_group(format!("{}-{}", nats.queue_group, id))
            .add(nats.subject("status"))
            .await
            .map_err(register)?;
        // A subscription that the user may not have is refused only in the log of the connection;
        // what can be made sure of here is that the server has it.
        let flushed = intake.client.flush().await;
        flushed.map_err(|error| ServeError::Register(one_line(&error)))?;
        tracing::info!(
            subject = nats.subject("query"),
            queue_group = nats.queue_group,
            "answering queries"
        );
        Ok(Self { service, query, status, intake, shared })
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        // The service is held to the end: endpoints unsubscribe when it is dropped.
        let Self { service: _service, mut query, mut status, intake, shared } = self;
        let mut tasks = JoinSet::new();
        let is_shutdown = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break true,
                Some(_) = tasks.join_next() => {}
                request = query.next() => match request {
                    Some(request) => shared.admit_query(request, &mut tasks).await,
                    None => break false,
                },
                request = status.next() => match request {
                    Some(request) => shared.admit_status(request, &mut tasks).await,
                    None => break false,
                },
            }
        };

        let end = Instant::now() + shared.service.config.drain;
        let stop = async {
            shared.drain(&intake).await;
            while let Some(request) = query.next().await {
                shared.admit_query(request, &mut tasks).await;
            }
            while let Some(request) = status.next().await {
                shared.admit_status(request, &mut tasks).await;
            }
            while tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout_at(end.into(), stop).await.is_err() {
            tracing::warn!(requests = tasks.len(), "stopping with requests in flight");
            shared.give_up.cancel();
            // Each has only its error to send now.
            let errors = async { while tasks.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(LAST_REPLIES, errors).await;
        }
        // Returns when the replies are with the operating system.
        let flushed = tokio::time::timeout(LAST_REPLIES, shared.outgoing.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last replies may not have been sent");
        }
        let _ = shared.outgoing.drain().await;
        tracing::info!(outcomes = ?shared.counters.outcomes(), "stopped answering queries");
        if is_shutdown { Ok(()) } else { Err(ServeError::Closed) }
    }
}

/// What INFO says of an endpoint: the names of its messages, and their JSON Schemas.
fn contract(names: &[&str]) -> HashMap<String, String> {
    let schemas = schemas::all();
    names
        .iter()
        .filter_map(|name| schemas.iter().find(|(known, _)| known == name))
        .map(|(name, schema)| ((*name).to_owned(), (*schema).to_owned()))
        .collect()
}

impl Shared {
    /// From now on replies go out on the second connection, and no new requests come in on the
    /// first; those that are on their way still do.
    async fn drain(&self, intake: &Intake) {
        // Waits for replies that are being handed to the first connection.
        *self.is_draining.write().await = true;
        // Draining closes it at once; what was handed to it must be out before.
        let _ = intake.client.flush().await;
        intake.drain().await;
    }

    async fn admit_query(self: &Arc<Self>, request: Request, tasks: &mut JoinSet<()>) {
        let received = Instant::now();
        let limit = self.service.config.max_in_flight;
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let error = QueryError::Overloaded { what: "queries in flight", limit };
            self.count(error.code().as_str(), received);
            return self.send(&request, reply::error(&error)).await;
        };
        metrics::in_flight(limit - self.places.available_permits());
        let shared = self.clone();
        tasks.spawn(async move {
            let result = shared.guard(shared.query(&request, received)).await;
            let (message, outcome) = match result {
                Ok((body, outcome)) => ((body, HeaderMap::new()), outcome),
                Err(error) => (reply::error(&error), error.code().as_str()),
            };
            shared.count(outcome, received);
            // A caller that has its reply may ask again at once: its place is free by then. Replies
            // that wait to be sent are bounded all the same.
            let _sending = shared.sending.acquire().await;
            drop(place);
            metrics::in_flight(limit - shared.places.available_permits());
            shared.send(&request, message).await;
        });
    }

    async fn admit_status(self: &Arc<Self>, request: Request, tasks: &mut JoinSet<()>) {
        let Ok(place) = self.status_places.clone().try_acquire_owned() else {
            let (what, limit) = ("status requests in flight", MAX_STATUS_IN_FLIGHT);
            return self
                .send(&request, reply::error(&QueryError::Overloaded { what, limit }))
                .await;
        };
        let shared = self.clone();
        tasks.spawn(async move {
            let status = async { Ok(shared.status().await) };
            let message = match shared.guard(status).await {
                Ok(body) => (body, HeaderMap::new()),
                Err(error) => reply::error(&error),
            };
            shared.send(&request, message).await;
            drop(place);
        });
    }

    /// Turns a panic, and the end of a shutdown's patience, into an error that the caller gets.
    async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        tokio::select! {
            result = AssertUnwindSafe(work).catch_unwind() => result.unwrap_or_else(|_| {
                tracing::error!("a handler panicked");
                Err(QueryError::Internal { what: "the service hit a bug" })
            }),
            () = self.give_up.cancelled() => {
                Err(QueryError::Unavailable { what: "this instance, which is shutting down," })
            }
        }
    }

    /// The reply's body, and the outcome as it is counted.
    async fn query(
        &self,
        request: &Request,
        received: Instant,
    ) -> Result<(Bytes, &'static str), QueryError> {
        let header = request.message.headers.as_ref().and_then(|h| h.get(DEADLINE_HEADER));
        let timeout = self.service.config.timeout;
        let deadline = Deadline::of_request(received, header.map(|value| value.as_str()), timeout)?;
        let query = query::decode(&request.message.payload).map_err(|error| error.body())?;
        let answer = self.service.answer(&query, deadline).await?;
        let outcome = if answer.degraded.is_some() { "degraded" } else { "ok" };
        let limit = self.outgoing.max_payload();
        let body = reply::reply(answer, &query, &self.report, received.elapsed(), limit)?;
        Ok((body, outcome))
    }

    async fn status(&self) -> Bytes {
        let rows = tokio::time::timeout(ROWS_TIMEOUT, self.service.retriever.rows()).await;
        let Models { embedder, reranker } = self.report.models();
        let status = StatusV1 {
            service_id: self.id.get().cloned().unwrap_or_default(),
            version: VERSION.to_owned(),
            collection: self.service.collection.clone(),
            rows: rows.ok().and_then(Result::ok).flatten(),
            embedder,
            reranker,
            in_flight: self.in_flight() as u64,
            max_in_flight: Some(self.service.config.max_in_flight as u64),
        };
        status.to_json().into()
    }

    fn in_flight(&self) -> usize {
        self.service.config.max_in_flight - self.places.available_permits()
    }

    fn count(&self, outcome: &'static str, received: Instant) {
        self.counters.count(outcome);
        metrics::request(outcome, received.elapsed());
    }

    /// What STATS says of an endpoint beside the framework's own numbers. Errors are counted here:
    /// the framework counts only those that it sends itself, and it sends them without a body.
    fn stats(&self, endpoint: &str) -> serde_json::Value {
        match endpoint {
            "query" => serde_json::json!({
                "in_flight": self.in_flight(),
                "max_in_flight": self.service.config.max_in_flight,
                "outcomes": self.counters.outcomes(),
            }),
            _ => serde_json::Value::Null,
        }
    }

    async fn send(&self, request: &Request, (body, headers): (Bytes, HeaderMap)) {
        let Some(address) = request.message.reply.clone() else {
            tracing::debug!("a request without a reply subject");
            return;
        };
        let is_draining = self.is_draining.read().await;
        let sent = if *is_draining {
            self.outgoing.publish_with_headers(address, headers, body).await
        } else {
            request.respond_with_headers(Ok(body), headers).await
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a reply could not be sent");
        }
    }
}
