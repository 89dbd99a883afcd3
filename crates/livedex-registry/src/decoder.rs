//! A decoder in front of another one.

use std::sync::Arc;

use livedex_core::{
    document::Change,
    ports::{Decoder, Undecoded},
    record::{DeadLetterReason, RawRecord, Stage},
};
use livedex_wire::mapping::Encoding;
use tokio::runtime::Handle;

use crate::{Part, Registry, RegistryError};

/// Brings keys and values to JSON and hands them on.
///
/// What comes out of it as a dead letter is the record as it came: only the decoder behind sees
/// JSON.
pub struct RegistryDecoder {
    registry: Arc<Registry>,
    key: Encoding,
    value: Encoding,
    inner: Arc<dyn Decoder>,
    runtime: Handle,
}

impl RegistryDecoder {
    /// A decoder that asks the registry on `runtime`, which must have more than one thread.
    pub fn new(
        registry: Arc<Registry>,
        (key, value): (Encoding, Encoding),
        inner: Arc<dyn Decoder>,
        runtime: Handle,
    ) -> Self {
        Self { registry, key, value, inner, runtime }
    }

    async fn transcoded(&self, record: &RawRecord) -> Result<RawRecord, RegistryError> {
        let key = self.part(record, Part::Key, self.key, record.key.as_deref()).await?;
        let value = self.part(record, Part::Value, self.value, record.value.as_deref()).await?;
        Ok(RawRecord {
            position: record.position.clone(),
            key,
            value,
            headers: record.headers.clone(),
            timestamp_ms: record.timestamp_ms,
            lease: record.lease.clone(),
        })
    }

    async fn part(
        &self,
        record: &RawRecord,
        part: Part,
        encoding: Encoding,
        bytes: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        // An absent key stays absent, and a tombstone a tombstone.
        let Some(bytes) = bytes else { return Ok(None) };
        let header = record.headers.iter().rev().find(|(name, _)| name == part.header());
        let header = header.and_then(|(_, value)| value.as_deref());
        self.registry.to_json(part, encoding, header, bytes).await.map(Some)
    }
}

impl Decoder for RegistryDecoder {
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded> {
        // Decoders are called where blocking is allowed.
        let transcoded =
            tokio::task::block_in_place(|| self.runtime.block_on(self.transcoded(record)));
        match transcoded {
            Ok(record) => self.inner.decode(&record),
            Err(RegistryError::Away(why)) => {
                Err(Undecoded::NotYet(format!("the schema registry does not answer: {why}")))
            }
            Err(error) => Err(Undecoded::Never(DeadLetterReason {
                stage: Stage::Decode,
                class: error.class().to_owned(),
                message: error.to_string(),
            })),
        }
    }
}
