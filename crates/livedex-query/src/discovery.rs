//! The protocol of NATS services: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, for all services, for
//! those of a name, and for one instance (ADR-32 of nats-architecture-and-design).
//!
//! Messages are those of async-nats' services framework; why its service is not used, `intake` says.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client,
    service::{Info, PingResponse, endpoint},
};
use futures::{StreamExt, stream::select_all};
use livedex_wire::time::{format_millis, now_millis};
use serde_json::{Value, json};

use crate::{
    config::NatsConfig,
    endpoint::{Endpoint, SERVICE_NAME, VERSION},
    status::Report,
};

const DESCRIPTION: &str = "Two-stage search over Milvus collections kept in step with Kafka";

/// What one endpoint has done.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    /// By outcome, and the last error as `status:code`, which quotes nothing of a request.
    outcomes: Mutex<(BTreeMap<&'static str, u64>, String)>,
}

impl Counters {
    /// A request ended. `error` is its status and code.
    pub(crate) fn count(&self, outcome: &'static str, took: Duration, error: Option<(u16, &str)>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.0.entry(outcome).or_default() += 1;
        if let Some((status, code)) = error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            outcomes.1 = format!("{status}:{code}");
        }
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn last_error(&self) -> String {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// An instance, as it is discovered.
pub(crate) struct Discovery {
    pub(crate) id: String,
    /// When it was started (RFC 3339).
    started: String,
    nats: NatsConfig,
    metadata: std::collections::HashMap<String, String>,
}

impl Discovery {
    pub(crate) fn new(client: &Client, nats: &NatsConfig, report: &Report) -> Self {
        // An inbox is `_INBOX.` and a random name.
        let inbox = client.new_inbox();
        Self {
            id: inbox.rsplit('.').next().unwrap_or(&inbox).to_owned(),
            started: format_millis(now_millis()).unwrap_or_default(),
            nats: nats.clone(),
            metadata: report.metadata(),
        }
    }

    fn queue_group(&self, endpoint: Endpoint) -> String {
        match endpoint {
            // Everybody answers, so that a caller sees all instances.
            Endpoint::Status => format!("{}-{}", self.nats.queue_group, self.id),
            _ => self.nats.queue_group.clone(),
        }
    }

    fn ping(&self) -> Value {
        json!(PingResponse {
            kind: "io.nats.micro.v1.ping_response".to_owned(),
            name: SERVICE_NAME.to_owned(),
            id: self.id.clone(),
            version: VERSION.to_owned(),
            metadata: self.metadata.clone(),
        })
    }

    fn info(&self) -> Value {
        let endpoints = Endpoint::ALL.map(|endpoint| endpoint::Info {
            name: endpoint.name().to_owned(),
            subject: self.nats.subject(endpoint.subject()),
            queue_group: self.queue_group(endpoint),
            metadata: endpoint.contract(),
        });
        json!(Info {
            kind: "io.nats.micro.v1.info_response".to_owned(),
            name: SERVICE_NAME.to_owned(),
            id: self.id.clone(),
            description: DESCRIPTION.to_owned(),
            version: VERSION.to_owned(),
            metadata: self.metadata.clone(),
            endpoints: endpoints.into(),
        })
    }

    /// `data` is what an endpoint tells beside the protocol's own numbers.
    fn stats(&self, numbers: &Numbers<'_>) -> Value {
        let endpoints = Endpoint::ALL.map(|endpoint| {
            let counters = (numbers.counters)(endpoint);
            let requests = counters.requests.load(Ordering::Relaxed);
            let nanoseconds = counters.nanoseconds.load(Ordering::Relaxed);
            json!({
                "name": endpoint.name(),
                "subject": self.nats.subject(endpoint.subject()),
                "queue_group": self.queue_group(endpoint),
                "num_requests": requests,
                "num_errors": counters.errors.load(Ordering::Relaxed),
                "last_error": counters.last_error(),
                "processing_time": nanoseconds,
                "average_processing_time": nanoseconds / requests.max(1),
                "data": (numbers.data)(endpoint),
            })
        });
        json!({
            "type": "io.nats.micro.v1.stats_response",
            "name": SERVICE_NAME,
            "id": self.id,
            "version": VERSION,
            "metadata": self.metadata,
            "started": self.started,
            "endpoints": endpoints,
        })
    }

    /// Subscribes; the future that it returns answers, for ever.
    pub(crate) async fn listen<'a>(
        &'a self,
        client: &'a Client,
        numbers: Numbers<'a>,
    ) -> Result<impl Future<Output = ()> + 'a, async_nats::Error> {
        let mut all = Vec::new();
        for verb in ["PING", "INFO", "STATS"] {
            for scope in ["", ".livedex", &format!(".{SERVICE_NAME}.{}", self.id)] {
                let messages = client.subscribe(format!("$SRV.{verb}{scope}")).await?;
                all.push(messages.map(move |message| (verb, message)));
            }
        }
        Ok(async move {
            let mut all = select_all(all);
            while let Some((verb, message)) = all.next().await {
                let Some(address) = message.reply else { continue };
                let answer = match verb {
                    "PING" => self.ping(),
                    "INFO" => self.info(),
                    _ => self.stats(&numbers),
                };
                // Fails only if the connection is closed.
                let _ = client.publish(address, answer.to_string().into()).await;
            }
        })
    }
}

/// The numbers of an instance's endpoints.
pub(crate) struct Numbers<'a> {
    pub(crate) counters: Box<dyn Fn(Endpoint) -> &'a Counters + Send + Sync + 'a>,
    pub(crate) data: Box<dyn Fn(Endpoint) -> Value + Send + Sync + 'a>,
}
