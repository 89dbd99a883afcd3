//! The service: listening, admission, shutdown.
//!
//! Every request that is read ends in a reply or a typed error (promise 4). Beyond a bound, which is
//! measured ([`admission`](crate::admission)), the next one is refused in the same moment; nothing queues.
//!
//! # Two connections
//! Requests come in on one connection (`intake`), whose thread stands still for a moment whenever the
//! queue group is left. Replies, discovery and everything else have the other.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, Bounds},
    config::NatsConfig,
    connect::{Connection, NatsError, one_line},
    discovery::{Counters, Discovery, Numbers},
    endpoint::Endpoint,
    error::QueryError,
    handlers::{Handlers, Outcome, max_held},
    intake::{Intake, Joined},
    membership::Membership,
    metrics, reply,
    service::{MODEL_RETRY, Service},
    status::{Report, status},
    watermarks,
};

/// `status` requests answered at once; each asks the collections for their numbers of rows.
const MAX_STATUS_IN_FLIGHT: usize = 4;

/// How long leaving the queue group may take: two round trips, and many times that.
const LEAVE: Duration = Duration::from_secs(3);

/// How long a shutdown waits for the last replies to leave.
const LAST_REPLIES: Duration = Duration::from_secs(1);

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
    /// The connection was closed.
    #[error("the connection to NATS was closed")]
    Closed,
}

/// A service that listens.
struct Server {
    joined: Joined,
    intake: Intake,
    nats: NatsConfig,
    shared: Arc<Shared>,
}

/// What every request works with.
struct Shared {
    handlers: Handlers,
    counters: HashMap<Endpoint, Counters>,
    /// Requests that are held.
    held: Arc<Semaphore>,
    status_places: Arc<Semaphore>,
    client: Client,
    discovery: Discovery,
    membership: Membership,
    is_member: AtomicBool,
    tasks: TaskTracker,
    /// Cancelled when requests in flight have had their time at a shutdown.
    give_up: CancellationToken,
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
        let client = connection.client;
        let intake = Intake::connect(nats, "livedex requests").await?;
        let report = Report::new(&service);
        let discovery = Discovery::new(&client, nats, &report);
        let config = service.config;
        let admission = Admission::new(Bounds {
            max_in_flight: config.max_in_flight,
            max_slowdown: config.max_slowdown,
        });
        let joined = intake.join(nats).await;
        let joined = joined.map_err(|error| ServeError::Register(one_line(&*error)))?;
        let shared = Arc::new(Shared {
            counters: Endpoint::ALL.map(|endpoint| (endpoint, Counters::default())).into(),
            held: Arc::new(Semaphore::new(max_held(&config))),
            status_places: Arc::new(Semaphore::new(MAX_STATUS_IN_FLIGHT)),
            membership: Membership::new(&discovery.id, client.clone(), nats, admission.clone()),
            is_member: AtomicBool::new(true),
            tasks: TaskTracker::new(),
            give_up: CancellationToken::new(),
            handlers: Handlers {
                waiters: Arc::new(Semaphore::new(max_held(&config))),
                service,
                report,
                admission,
            },
            client,
            discovery,
        });
        tracing::info!(
            subject = nats.subject("query"),
            queue_group = nats.queue_group,
            "answering queries"
        );
        Ok(Self { joined, intake, nats: nats.clone(), shared })
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let Self { joined, intake, nats, shared } = self;
        let drain = shared.handlers.service.config.drain;
        let outcome = {
            let (client, service) = (shared.client.clone(), &shared.handlers.service);
            let heard = service.watermarks.clone();
            let side = async {
                tokio::join!(
                    shared.be_discovered(),
                    shared.answer_status(&nats),
                    shared.membership.listen(),
                    watermarks::listen(client, nats.clone(), heard),
                );
                // None of them ends while the connection is there.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcome = shared.answer(joined, &intake, &nats, &shutdown, drain) => outcome,
                () = side => Err(ServeError::Closed),
            }
        };
        // Returns when the replies are with the operating system.
        let flushed = tokio::time::timeout(LAST_REPLIES, shared.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last replies may not have been sent");
        }
        let _ = tokio::time::timeout(LAST_REPLIES, shared.client.drain()).await;
        let outcomes = shared.counters[&Endpoint::Query].outcomes();
        tracing::info!(?outcomes, "stopped answering queries");
        outcome
    }
}

impl Shared {
    /// Takes requests while there is room, until the shutdown and the end of what is in flight.
    async fn answer(
        self: &Arc<Self>,
        mut joined: Joined,
        intake: &Intake,
        nats: &NatsConfig,
        shutdown: &CancellationToken,
        drain: Duration,
    ) -> Result<(), ServeError> {
        loop {
            let is_shutdown = self.take(&mut joined, shutdown).await?;
            let leaving = async {
                intake.leave(&mut joined).await;
                // Those that were on their way.
                while let Some((endpoint, message)) = joined.next().await {
                    self.admit(endpoint, message).await;
                }
            };
            // Without a server nobody answers, and nothing is on its way.
            if tokio::time::timeout(LEAVE, leaving).await.is_err() {
                tracing::warn!("the queue group was left without the server's answer");
            }
            if is_shutdown {
                break;
            }
            self.is_member.store(false, Ordering::Relaxed);
            tokio::select! {
                () = self.membership.until_room() => {}
                () = shutdown.cancelled() => break,
            }
            joined =
                intake.join(nats).await.map_err(|error| ServeError::Register(one_line(&*error)))?;
            self.is_member.store(true, Ordering::Relaxed);
        }
        let _ = tokio::time::timeout(LAST_REPLIES, self.membership.leave()).await;
        self.finish(drain).await;
        Ok(())
    }

    /// Takes requests until this instance is full, or is to stop: true.
    async fn take(
        self: &Arc<Self>,
        joined: &mut Joined,
        shutdown: &CancellationToken,
    ) -> Result<bool, ServeError> {
        let full = self.membership.until_full();
        tokio::pin!(full);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(true),
                // Before the requests: while too many come there is always one.
                () = &mut full => return Ok(false),
                request = joined.next() => match request {
                    Some((endpoint, message)) => self.admit(endpoint, message).await,
                    None => return Err(ServeError::Closed),
                },
            }
        }
    }

    /// Gives what is in flight its time, and then an error.
    async fn finish(&self, drain: Duration) {
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            tracing::warn!(requests = self.tasks.len(), "stopping with requests in flight");
            self.give_up.cancel();
            // Each has only its error to send now.
            let _ = tokio::time::timeout(LAST_REPLIES, self.tasks.wait()).await;
        }
    }

    async fn admit(self: &Arc<Self>, endpoint: Endpoint, message: Message) {
        let received = Instant::now();
        let Ok(mut held) = self.held.clone().try_acquire_owned() else {
            let limit = max_held(&self.handlers.service.config);
            let (what, retry_after) = ("requests held", MODEL_RETRY);
            let error = QueryError::Overloaded { what, limit, retry_after };
            let answer = self.count(endpoint, received, Err(error));
            return self.send(&message, answer).await;
        };
        let shared = self.clone();
        self.tasks.spawn(async move {
            let max_payload = shared.client.max_payload();
            let work = shared.handlers.handle(endpoint, &message, received, max_payload, &mut held);
            let result = shared.guard(work).await;
            let answer = shared.count(endpoint, received, result);
            shared.send(&message, answer).await;
            drop(held);
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

    /// Counts how a request ended, and makes its message.
    fn count(
        &self,
        endpoint: Endpoint,
        received: Instant,
        result: Result<Outcome, QueryError>,
    ) -> (Bytes, HeaderMap) {
        let took = received.elapsed();
        let (message, outcome, error) = match result {
            Ok((body, outcome)) => ((body, HeaderMap::new()), outcome, None),
            Err(error) => {
                let code = error.code();
                (reply::error(&error), code.as_str(), Some((code.status(), code.as_str())))
            }
        };
        self.counters[&endpoint].count(outcome, took, error);
        metrics::request(endpoint.name(), outcome, took);
        metrics::in_flight(self.handlers.admission.in_flight());
        message
    }

    /// Answers discovery, for ever.
    async fn be_discovered(&self) {
        let numbers = Numbers {
            counters: Box::new(|endpoint| &self.counters[&endpoint]),
            data: Box::new(|endpoint| self.data(endpoint)),
        };
        match self.discovery.listen(&self.client, numbers).await {
            Ok(answering) => answering.await,
            Err(error) => tracing::warn!(error = one_line(&*error), "not to be discovered"),
        }
    }

    /// What STATS says of an endpoint beside the protocol's own numbers.
    fn data(&self, endpoint: Endpoint) -> Value {
        let outcomes = self.counters[&endpoint].outcomes();
        if endpoint != Endpoint::Query {
            return json!({ "outcomes": outcomes });
        }
        let Handlers { service, report, admission, .. } = &self.handlers;
        let lag = |name: &str| service.collection(Some(name)).ok()?.view(&service.watermarks).lag;
        let lags: HashMap<&str, Option<u64>> =
            report.collections.iter().map(|name| (name.as_str(), lag(name))).collect();
        let (query_lane, ingest_lane) = service.lanes.as_ref().map_or((0, 0), |lanes| lanes());
        json!({
            "outcomes": outcomes,
            "in_flight": admission.in_flight(),
            "max_in_flight": admission.limit(),
            "wait_ms": u64::try_from(admission.wait().as_millis()).unwrap_or(u64::MAX),
            "member": self.is_member.load(Ordering::Relaxed),
            "model_queues": { "query": query_lane, "ingest": ingest_lane },
            "lag": lags,
            "embedder": report.embedder.fingerprint,
            "reranker": report.reranker.as_ref().map(|model| &model.fingerprint),
        })
    }

    /// Answers `status`, for ever.
    async fn answer_status(self: &Arc<Self>, nats: &NatsConfig) {
        let subject = nats.subject(Endpoint::Status.subject());
        let Ok(mut messages) = self.client.subscribe(subject).await else { return };
        while let Some(message) = messages.next().await {
            let received = Instant::now();
            let Ok(place) = self.status_places.clone().try_acquire_owned() else {
                let (what, limit) = ("status requests in flight", MAX_STATUS_IN_FLIGHT);
                let error = QueryError::Overloaded { what, limit, retry_after: MODEL_RETRY };
                let answer = self.count(Endpoint::Status, received, Err(error));
                self.send(&message, answer).await;
                continue;
            };
            let shared = self.clone();
            self.tasks.spawn(async move {
                let is_member = shared.is_member.load(Ordering::Relaxed);
                let Handlers { service, report, admission, .. } = &shared.handlers;
                let id = &shared.discovery.id;
                let status = async {
                    let status = status(id, is_member, service, report, admission).await;
                    Ok((status.to_json().into(), "ok"))
                };
                let result = shared.guard(status).await;
                let answer = shared.count(Endpoint::Status, received, result);
                shared.send(&message, answer).await;
                drop(place);
            });
        }
    }

    async fn send(&self, request: &Message, (body, headers): (Bytes, HeaderMap)) {
        let Some(address) = request.reply.clone() else {
            tracing::debug!("a request without a reply subject");
            return;
        };
        if let Err(error) = self.client.publish_with_headers(address, headers, body).await {
            tracing::warn!(%error, "a reply could not be sent");
        }
    }
}
