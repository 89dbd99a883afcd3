//! Messages that are durable once sent: acks=all, idempotent, bounded in bytes.

use std::time::{Duration, Instant};

use livedex_core::record::Header;
use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::KafkaError as RdError,
    message::Message,
    producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use tokio::sync::{Semaphore, oneshot};

use crate::{client::SEND_BUFFER_KIB, diagnostics::Diagnostics, record};

/// How long to wait before librdkafka's full queue is tried again, and for how long in all.
const QUEUE_RETRY: Duration = Duration::from_millis(20);
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// librdkafka's default `batch.size`: a larger message is in a batch of its own.
const BATCH_BYTES: usize = 1_000_000;

/// Where a message ended up: partition and offset.
type Delivered = Result<(i32, i64), RDKafkaErrorCode>;

/// A message to send.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    /// `None`: by the key's hash, as Java's producer does.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

impl Outgoing<'_> {
    /// Bytes of key, value and headers.
    pub(crate) fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len))
            .sum();
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }
}

/// A producer whose messages are awaited one by one and sent in batches.
pub(crate) struct Producer {
    inner: ThreadedProducer<Context>,
    /// One permit a KiB that may wait for delivery.
    room: Semaphore,
}

impl Producer {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, RdError> {
        let inner = config.create_with_context(Context::default())?;
        Ok(Self { inner, room: Semaphore::new(SEND_BUFFER_KIB) })
    }

    /// Sends `message` and returns where it is once all in-sync replicas have it. Where the order
    /// of two messages matters, the first is awaited before the second is sent.
    pub(crate) async fn send(&self, message: &Outgoing<'_>) -> Delivered {
        let kib = (message.size() / 1024 + 1).min(SEND_BUFFER_KIB);
        let result = self.send_with(kib, message).await;
        // The broker judges whole batches, and librdkafka does not split them: on a topic whose
        // max.message.bytes is below our batch size a batch is refused for no message's fault.
        // Alone, with nothing else on its way, each is judged for itself.
        if result == Err(RDKafkaErrorCode::MessageSizeTooLarge) && message.size() <= BATCH_BYTES {
            return self.send_with(SEND_BUFFER_KIB, message).await;
        }
        result
    }

    async fn send_with(&self, kib: usize, message: &Outgoing<'_>) -> Delivered {
        let permits = u32::try_from(kib).unwrap_or(u32::MAX);
        // Never closed.
        let _room = self.room.acquire_many(permits).await.map_err(|_| RDKafkaErrorCode::Fail)?;
        let (sender, delivered) = oneshot::channel();
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(message.topic, Box::new(sender));
        record.key = message.key;
        record.payload = message.value;
        record.partition = message.partition;
        if !message.headers.is_empty() {
            record.headers = Some(record::to_native(message.headers));
        }
        let start = Instant::now();
        loop {
            match self.inner.send(record) {
                Ok(()) => break,
                Err((RdError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if start.elapsed() < QUEUE_TIMEOUT =>
                {
                    record = back;
                    tokio::time::sleep(QUEUE_RETRY).await;
                }
                Err((error, _)) => return Err(code(&error)),
            }
        }
        // Dropped only with the producer, which `self` keeps alive.
        delivered.await.unwrap_or(Err(RDKafkaErrorCode::Fail))
    }
}

fn code(error: &RdError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

#[derive(Default)]
struct Context {
    diagnostics: Diagnostics,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.diagnostics.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: RdError, reason: &str) {
        self.diagnostics.warn(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(code(error)),
        };
        // Whoever waited may have given up.
        let _ = sender.send(delivered);
    }
}
