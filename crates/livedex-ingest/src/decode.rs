//! Records to changes, off the runtime's threads: a value of 10 MB takes a while to parse.

use std::sync::Arc;

use livedex_core::{
    ports::{Decoder, Undecoded},
    record::RawRecord,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Backoff,
    error::IngestError,
    metrics::{self, Outcome, StepTimer},
    queue::Decoded,
    retry::Waiting,
};

/// Decodes records, in order. Where a decoder needs a server that is away, it is waited for: until
/// `shutdown`, from when on the records that are left are given up.
pub(crate) async fn decode(
    decoder: Arc<dyn Decoder>,
    mut records: Vec<RawRecord>,
    backoff: Backoff,
    shutdown: &CancellationToken,
) -> Result<Vec<Decoded>, IngestError> {
    let _timer = StepTimer::start("decode");
    let mut waiting = Waiting::new(backoff, "decode");
    let mut decoded = Vec::with_capacity(records.len());
    loop {
        let decoder = decoder.clone();
        let part = tokio::task::spawn_blocking(move || decode_some(&*decoder, records));
        let part = part.await.map_err(|error| IngestError::Panic(error.to_string()))?;
        decoded.extend(part.decoded);
        let Some(why) = part.why else {
            waiting.over();
            return Ok(decoded);
        };
        records = part.left;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(decoded),
            () = waiting.pause("what is needed to decode records is away", &why) => {}
        }
    }
}

/// What became of some records.
struct Part {
    decoded: Vec<Decoded>,
    /// From the first one on that could not be decoded for now.
    left: Vec<RawRecord>,
    why: Option<String>,
}

fn decode_some(decoder: &dyn Decoder, records: Vec<RawRecord>) -> Part {
    let mut decoded = Vec::with_capacity(records.len());
    let mut records = records.into_iter();
    while let Some(record) = records.next() {
        // One that is another member's by now need not be waited for.
        if !record.lease.is_live() {
            metrics::record(Outcome::Dropped);
            continue;
        }
        let change = match decoder.decode(&record) {
            Ok(change) => Ok(change),
            Err(Undecoded::Never(reason)) => Err(reason),
            Err(Undecoded::NotYet(why)) => {
                let left = std::iter::once(record).chain(records).collect();
                return Part { decoded, left, why: Some(why) };
            }
        };
        decoded.push(Decoded { record, change });
    }
    Part { decoded, left: Vec::new(), why: None }
}
