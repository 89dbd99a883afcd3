//! One request, from its bytes to the bytes of its reply.
//!
//! Each is decoded and checked first, which costs microseconds; then it waits for the records that it
//! wants to see, which costs nothing; and only then it takes one of the places.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Message;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use livedex_core::{
    ids::{DocumentKey, Tenant},
    limits::MAX_PAGE_CHUNKS,
    query::{PassageRequest, QueryRequest, Span},
    record::SourcePosition,
    requests::{DocumentRequest, EmbedRequest, RerankRequest, TextKind},
};
use livedex_wire::{
    documents::{self, DocumentReplyV1},
    embed::{self, EmbedReplyV1, EmbedTimings},
    query,
    reply::{Degraded as DegradedV1, Include, millis},
    rerank::{self, RerankReplyV1, RerankResult, RerankTimings},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    admission::{Admission, Place},
    config::QueryConfig,
    deadline::Deadline,
    endpoint::{DEADLINE_HEADER, Endpoint},
    error::QueryError,
    reply::{self, About},
    rerank::Degraded,
    service::{MODEL_RETRY, Searched, Service, embed_error},
    status::Report,
};

/// Chunks of a document in one reply when the request does not say.
const DEFAULT_PAGE: usize = 100;

/// Queries' embeddings that one request has computed at a time.
const EMBEDDED_AT_ONCE: usize = 4;

/// When those who wait may have become fewer: ingesters say every second where they are.
const WAITER_RETRY: Duration = Duration::from_secs(1);

/// Requests that are held at once, for each one that may be in flight; those that wait for their records
/// are counted apart, as many again. What a request holds is its own bytes, at most the server's
/// `max_payload`.
const HELD_PER_PLACE: usize = 4;

/// Requests that are held at once.
pub(crate) fn max_held(config: &QueryConfig) -> usize {
    config.max_in_flight * HELD_PER_PLACE
}

/// A reply's body, and how its request is counted.
pub(crate) type Outcome = (Bytes, &'static str);

/// What handlers work with.
pub(crate) struct Handlers {
    pub(crate) service: Service,
    pub(crate) report: Report,
    pub(crate) admission: Arc<Admission>,
    /// Requests that wait for their records.
    pub(crate) waiters: Arc<Semaphore>,
}

impl Handlers {
    /// Answers what `message` asks. `max_payload` is what the server lets through now; `held` is what lets
    /// the request be held, and becomes a place among those that wait if it has to.
    pub(crate) async fn handle(
        &self,
        endpoint: Endpoint,
        message: &Message,
        received: Instant,
        max_payload: usize,
        held: &mut OwnedSemaphorePermit,
    ) -> Result<Outcome, QueryError> {
        let header = message.headers.as_ref().and_then(|headers| headers.get(DEADLINE_HEADER));
        let timeout = self.service.config.timeout;
        let deadline = Deadline::of_request(received, header.map(|value| value.as_str()), timeout)?;
        if deadline.has_passed() {
            return Err(QueryError::DeadlineExceeded { step: "start" });
        }
        let (json, at) = (&*message.payload, At { received, deadline, max_payload });
        match endpoint {
            Endpoint::Query => self.query(&query::decode(json)?, at, held).await,
            Endpoint::Retrieve => {
                let request = query::decode(json)?;
                self.query(&QueryRequest { rerank: false, ..request }, at, held).await
            }
            Endpoint::Rerank => self.rerank(rerank::decode(json)?, at).await,
            Endpoint::Embed => self.embed(embed::decode(json)?, at).await,
            Endpoint::Documents => self.document(documents::decode(json)?, at, held).await,
            // It has no contract of its own for requests, and another way in.
            Endpoint::Status => Err(QueryError::Internal { what: "status is answered elsewhere" }),
        }
    }

    fn enter(&self) -> Result<Place, QueryError> {
        self.admission.enter(Instant::now()).map_err(|full| QueryError::Overloaded {
            what: "requests in flight",
            limit: full.limit,
            retry_after: full.retry_after,
        })
    }

    /// Waits until the records are there, among those that wait: whoever does not is not kept out.
    async fn wait(
        &self,
        collection: &Searched,
        after: &[SourcePosition],
        at: At,
        held: &mut OwnedSemaphorePermit,
    ) -> Result<Option<Duration>, QueryError> {
        if after.is_empty() {
            return Ok(None);
        }
        let full = |_| QueryError::Overloaded {
            what: "requests waiting for their records",
            limit: max_held(&self.service.config),
            retry_after: WAITER_RETRY,
        };
        *held = self.waiters.clone().try_acquire_owned().map_err(full)?;
        self.service.wait_for(collection, after, at.deadline).await.map(Some)
    }

    async fn query(
        &self,
        request: &QueryRequest,
        at: At,
        held: &mut OwnedSemaphorePermit,
    ) -> Result<Outcome, QueryError> {
        let service = &self.service;
        let collection = service.collection(request.collection.as_deref())?;
        service.check(request, collection)?;
        let wait = self.wait(collection, &request.after, at, held).await?;
        let place = self.enter()?;
        // What is told is told of the moment before the search: the rows may be newer.
        let view = collection.view(&service.watermarks);
        let answer = service.answer(request, collection, at.deadline).await?;
        let outcome = if answer.degraded.is_some() { "degraded" } else { "ok" };
        let about = About {
            collection: &collection.name,
            mode: service.mode(request),
            fusion: service.config.fusion,
            view,
            wait,
            received: at.received,
            report: &self.report,
        };
        let reply = reply::reply(answer, request, about, at.max_payload)?;
        place.answered();
        Ok((reply, outcome))
    }

    async fn rerank(&self, request: RerankRequest, at: At) -> Result<Outcome, QueryError> {
        let model = self.service.reranker.as_ref().ok_or(QueryError::NoReranker)?.info().into();
        let place = self.enter()?;
        let start = Instant::now();
        let texts = request.documents.iter().map(|document| document.text.clone()).collect();
        let instruction = request.instruction.as_deref();
        let scored = self.service.score(&request.query, instruction, texts, at.deadline).await;
        let took = start.elapsed();
        let n_scored = scored.count();
        if let (0, Some(reason)) = (n_scored, scored.degraded) {
            return Err(unscored(reason, self.admission.in_flight()));
        }
        let documents = request.documents.into_iter().zip(scored.scores).enumerate();
        let mut results: Vec<RerankResult> = documents
            .filter_map(|(index, (document, score))| {
                let text = request.include_text.then_some(document.text);
                Some(RerankResult { index, id: document.id, score: score?, text })
            })
            .collect();
        // Stable: equal scores stay in the caller's order.
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        results.truncate(request.top_k.unwrap_or(usize::MAX));
        let reply = RerankReplyV1 {
            results,
            degraded: scored.degraded.map(|reason| DegradedV1 {
                reason: reason.as_str().to_owned(),
                reranked: n_scored,
            }),
            timings_ms: RerankTimings { rerank: millis(took), total: at.total() },
            model,
        };
        let outcome = if reply.degraded.is_some() { "degraded" } else { "ok" };
        let body = reply::within(reply.to_json(), reply::room(at.max_payload), "top_k")?;
        place.answered();
        Ok((body.into(), outcome))
    }

    async fn embed(&self, request: EmbedRequest, at: At) -> Result<Outcome, QueryError> {
        let embedder = &self.service.embedder;
        let place = self.enter()?;
        let start = Instant::now();
        let embeddings: Vec<Vec<f32>> = match request.kind {
            TextKind::Query => {
                let instruction = request.instruction.as_deref();
                // A few at a time: each has a place of its own in the models' lane.
                let texts = request.texts.iter();
                let each = texts.map(|text| self.service.embed(text, instruction, at.deadline));
                let each = stream::iter(each.collect::<Vec<_>>()).buffered(EMBEDDED_AT_ONCE);
                each.map_ok(|(vector, _)| vector.to_vec()).try_collect().await?
            }
            TextKind::Document => {
                let embedded = at.deadline.bound(embedder.embed_documents(request.texts)).await;
                let embedded = embedded
                    .ok_or(QueryError::DeadlineExceeded { step: "embed" })?
                    .map_err(embed_error)?;
                embedded.into_iter().collect::<Result<_, _>>().map_err(embed_error)?
            }
        };
        let reply = EmbedReplyV1 {
            embeddings,
            dimension: embedder.info().dimension,
            timings_ms: EmbedTimings { embed: millis(start.elapsed()), total: at.total() },
            model: embedder.info().into(),
        };
        let body = reply::within(reply.to_json(), reply::room(at.max_payload), "texts")?;
        place.answered();
        Ok((body.into(), "ok"))
    }

    async fn document(
        &self,
        request: DocumentRequest,
        at: At,
        held: &mut OwnedSemaphorePermit,
    ) -> Result<Outcome, QueryError> {
        let service = &self.service;
        let collection = service.collection(request.collection.as_deref())?;
        service.check_tenant(request.tenant.as_ref())?;
        self.wait(collection, &request.after, at, held).await?;
        let place = self.enter()?;
        let limit = request.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE_CHUNKS);
        // One more than is wanted tells whether there is more.
        let last = request.from.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX));
        let tenant: Tenant = request.tenant.clone().unwrap_or_default();
        let passages = PassageRequest {
            spans: vec![Span {
                document: DocumentKey { tenant, id: request.document.clone() },
                ordinals: request.from..=last,
            }],
            consistency: request.consistency(),
            with_vectors: request.include_vectors,
        };
        let mut found = service.passages(collection, &passages, at.deadline, "read").await?;
        let next = found.get(limit).map(|passage| passage.fields.ordinal);
        found.truncate(limit);
        let include = Include::from(&request);
        let name = &collection.name;
        let reply = DocumentReplyV1::new(name, found, next, include, request.consistency());
        let mut reply = reply.ok_or_else(|| QueryError::NotFound {
            id: request.document.to_string(),
            collection: collection.name.clone(),
        })?;
        let view = collection.view(&service.watermarks);
        (reply.watermarks, reply.lag) = (view.watermarks, view.lag);
        let body = reply::document(reply, at.max_payload)?;
        place.answered();
        Ok((body.into(), "ok"))
    }
}

/// When a request came, until when it is answered, and how large its reply may be.
#[derive(Debug, Clone, Copy)]
struct At {
    received: Instant,
    deadline: Deadline,
    max_payload: usize,
}

impl At {
    fn total(self) -> f64 {
        millis(self.received.elapsed())
    }
}

/// A reranking without a single score is no answer.
fn unscored(reason: Degraded, limit: usize) -> QueryError {
    match reason {
        Degraded::Deadline => QueryError::DeadlineExceeded { step: "rerank" },
        Degraded::NoReranker => QueryError::NoReranker,
        Degraded::RerankerOverloaded => QueryError::Overloaded {
            what: "requests waiting for the models",
            limit,
            retry_after: MODEL_RETRY,
        },
        Degraded::RerankerFailed | Degraded::NeighboursFailed => {
            QueryError::Unavailable { what: "the reranker" }
        }
    }
}
