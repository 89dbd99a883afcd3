//! The decoder of a stream: its mapping, behind a schema registry where its records have schemas.

use std::sync::Arc;

use livedex_core::ports::Decoder;
use livedex_registry::{Registry, RegistryDecoder};
use livedex_wire::mapping::Encoding;
use tokio::runtime::Handle;

use crate::config::StreamConfig;

/// Must be called in the runtime, which has to have more than one thread.
pub(crate) fn decoder(config: &StreamConfig) -> anyhow::Result<Arc<dyn Decoder>> {
    let mapping = Arc::new(config.mapping.decoder(config.max_document_bytes));
    let encodings = config.mapping.encodings();
    Ok(match &config.schema_registry {
        Some(registry) if encodings != (Encoding::Plain, Encoding::Plain) => {
            let registry = Arc::new(Registry::new(registry)?);
            Arc::new(RegistryDecoder::new(registry, encodings, mapping, Handle::current()))
        }
        _ => mapping,
    })
}
