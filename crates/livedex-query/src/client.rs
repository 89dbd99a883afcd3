//! Asking a service.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_nats::{
    Client, HeaderMap, Message, Request, RequestErrorKind, StatusCode,
    service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, PingResponse},
};
use futures::StreamExt;
use livedex_core::{
    query::QueryRequest,
    requests::{DocumentRequest, EmbedRequest, RerankRequest},
};
use livedex_wire::{
    documents::{self, DocumentReplyV1},
    embed::{self, EmbedReplyV1},
    error::{ErrorBody, ErrorCode},
    query,
    reply::{MalformedReply, ReplyV1},
    rerank::{self, RerankReplyV1},
    status::StatusV1,
};

use crate::{
    config::NatsConfig,
    connect::{Connection, NatsError, connect, one_line},
    endpoint::{DEADLINE_HEADER, Endpoint, SERVICE_NAME},
};

/// How long to wait for a further instance after one has answered.
const QUIET: Duration = Duration::from_millis(300);

/// Why a request got no reply. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// Nobody listens.
    #[error("no livedex service listens on {subject}; start `livedex serve`")]
    NoService {
        /// The subject that was asked.
        subject: String,
    },
    /// Nobody answered in time.
    #[error("{subject} did not answer within {} ms", .waited.as_millis())]
    Timeout {
        /// The subject that was asked.
        subject: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The service refuses the request.
    #[error("the service answers {} ({}): {}", .0.code.status(), .0.code.as_str(), .0.message)]
    Service(ErrorBody),
    /// The request is larger than the server lets through.
    #[error("the request has {bytes} bytes, the NATS server takes {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The answer is not what the contract says.
    #[error(
        "the answer from {subject} cannot be read ({reason}); do client and service have the same version?"
    )]
    Contract {
        /// The subject that was asked.
        subject: String,
        /// What is wrong with it.
        reason: MalformedReply,
    },
    /// The connection failed.
    #[error("the request to {subject} failed: {reason}")]
    Failed {
        /// The subject that was asked.
        subject: String,
        /// What happened.
        reason: String,
    },
}

/// An instance of the service, as discovery shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id in discovery.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What it says about itself: collection, models and their fingerprints.
    pub metadata: BTreeMap<String, String>,
}

/// Asks the services of one subject prefix.
#[derive(Debug, Clone)]
pub struct QueryClient {
    client: Client,
    nats: NatsConfig,
}

impl QueryClient {
    /// Connects, or says within [`NatsConfig::connect_timeout`] why not.
    pub async fn connect(nats: &NatsConfig) -> Result<Self, NatsError> {
        Ok(Self::new(connect(nats).await?, nats))
    }

    /// Asks over a connection that is there.
    pub fn new(connection: Connection, nats: &NatsConfig) -> Self {
        Self { client: connection.client, nats: nats.clone() }
    }

    /// Sends a query and waits for its reply, for `timeout` at most; the service knows of it.
    pub async fn query(
        &self,
        request: &QueryRequest,
        timeout: Duration,
    ) -> Result<ReplyV1, ClientError> {
        self.ask(Endpoint::Query, query::encode(request), timeout, ReplyV1::from_json).await
    }

    /// The same with stage 1 alone.
    pub async fn retrieve(
        &self,
        request: &QueryRequest,
        timeout: Duration,
    ) -> Result<ReplyV1, ClientError> {
        self.ask(Endpoint::Retrieve, query::encode(request), timeout, ReplyV1::from_json).await
    }

    /// Has texts scored.
    pub async fn rerank(
        &self,
        request: &RerankRequest,
        timeout: Duration,
    ) -> Result<RerankReplyV1, ClientError> {
        let body = rerank::encode(request);
        self.ask(Endpoint::Rerank, body, timeout, RerankReplyV1::from_json).await
    }

    /// Has texts embedded.
    pub async fn embed(
        &self,
        request: &EmbedRequest,
        timeout: Duration,
    ) -> Result<EmbedReplyV1, ClientError> {
        self.ask(Endpoint::Embed, embed::encode(request), timeout, EmbedReplyV1::from_json).await
    }

    /// Reads a document.
    pub async fn document(
        &self,
        request: &DocumentRequest,
        timeout: Duration,
    ) -> Result<DocumentReplyV1, ClientError> {
        let body = documents::encode(request);
        self.ask(Endpoint::Documents, body, timeout, DocumentReplyV1::from_json).await
    }

    async fn ask<T>(
        &self,
        endpoint: Endpoint,
        body: Vec<u8>,
        timeout: Duration,
        read: fn(&[u8]) -> Result<T, MalformedReply>,
    ) -> Result<T, ClientError> {
        let subject = self.nats.subject(endpoint.subject());
        let mut headers = HeaderMap::new();
        headers.insert(DEADLINE_HEADER, timeout.as_millis().to_string());
        let bytes = body.len();
        let request = Request::new().headers(headers).payload(body.into()).timeout(Some(timeout));
        let answer = self.client.send_request(subject.clone(), request).await;
        let message = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => ClientError::NoService { subject: subject.clone() },
            RequestErrorKind::TimedOut => {
                ClientError::Timeout { subject: subject.clone(), waited: timeout }
            }
            RequestErrorKind::MaxPayloadExceeded => {
                ClientError::TooLarge { bytes, limit: self.client.max_payload() }
            }
            _ => ClientError::Failed { subject: subject.clone(), reason: one_line(&error) },
        })?;
        if let Some(error) = service_error(&message) {
            return Err(ClientError::Service(error));
        }
        read(&message.payload).map_err(|reason| ClientError::Contract { subject, reason })
    }

    /// Returns once the server has answered: how far away it is.
    pub async fn round_trip(&self) -> Result<(), ClientError> {
        let failed = |reason| ClientError::Failed { subject: "an inbox".to_owned(), reason };
        let inbox = self.client.new_inbox();
        let echo = self.client.subscribe(inbox.clone()).await;
        let mut echo = echo.map_err(|error| failed(one_line(&error)))?;
        let sent = self.client.publish(inbox, Default::default()).await;
        sent.map_err(|error| failed(one_line(&error)))?;
        echo.next().await.map(drop).ok_or_else(|| failed("the connection was closed".to_owned()))
    }

    /// What every instance says about itself. Returns once no further one has answered for a
    /// moment, after `timeout` at most.
    pub async fn status(&self, timeout: Duration) -> Result<Vec<StatusV1>, ClientError> {
        let subject = self.nats.subject(Endpoint::Status.subject());
        let mut found = Vec::new();
        for message in self.gather(&subject, timeout).await? {
            if let Some(error) = service_error(&message) {
                return Err(ClientError::Service(error));
            }
            let status = StatusV1::from_json(&message.payload)
                .map_err(|reason| ClientError::Contract { subject: subject.clone(), reason })?;
            found.push(status);
        }
        Ok(found)
    }

    /// The instances that discovery finds (`$SRV.PING.livedex`), whatever their subject prefix.
    pub async fn ping(&self, timeout: Duration) -> Result<Vec<Instance>, ClientError> {
        let subject = format!("$SRV.PING.{SERVICE_NAME}");
        let messages = self.gather(&subject, timeout).await?;
        let instance = |message: &Message| {
            // Another service may have taken the name; what is no PING response is none of ours.
            let pong: PingResponse = serde_json::from_slice(&message.payload).ok()?;
            let PingResponse { id, version, metadata, .. } = pong;
            Some(Instance { id, version, metadata: metadata.into_iter().collect() })
        };
        Ok(messages.iter().filter_map(instance).collect())
    }

    /// Asks everybody who listens.
    async fn gather(&self, subject: &str, timeout: Duration) -> Result<Vec<Message>, ClientError> {
        let failed = |reason| ClientError::Failed { subject: subject.to_owned(), reason };
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(|error| failed(one_line(&error)))?;
        let published =
            self.client.publish_with_reply(subject.to_owned(), inbox, Default::default()).await;
        published.map_err(|error| failed(one_line(&error)))?;
        let deadline = Instant::now() + timeout;
        let mut found = Vec::new();
        loop {
            let until = match found.is_empty() {
                true => deadline,
                false => deadline.min(Instant::now() + QUIET),
            };
            match tokio::time::timeout_at(until.into(), answers.next()).await {
                Ok(Some(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                    return Err(ClientError::NoService { subject: subject.to_owned() });
                }
                Ok(Some(message)) => found.push(message),
                Ok(None) => return Err(failed("the connection was closed".to_owned())),
                Err(_) if found.is_empty() => {
                    let subject = subject.to_owned();
                    return Err(ClientError::Timeout { subject, waited: timeout });
                }
                Err(_) => return Ok(found),
            }
        }
    }
}

/// The error that a message is, if it is one. The headers decide; a body that cannot be read (a
/// service of another version) is made up from them.
fn service_error(message: &Message) -> Option<ErrorBody> {
    let headers = message.headers.as_ref()?;
    let code = headers.get(NATS_SERVICE_ERROR_CODE)?;
    Some(ErrorBody::from_json(&message.payload).unwrap_or_else(|_| {
        let text = headers.get(NATS_SERVICE_ERROR).map_or("", |text| text.as_str());
        ErrorBody::new(ErrorCode::Internal, format!("{code} {text}"))
    }))
}
