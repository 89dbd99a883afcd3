//! Records that can never be processed.
//!
//! A record is acknowledged only after the dead-letter topic has it. The topic being away, or
//! refusing it, is waited out for ever: dropping the record would lose it.

use livedex_core::{
    ports::{FinishedRecord, ServiceError},
    record::{DeadLetterReason, RawRecord},
};

use crate::{
    context::Context,
    metrics::{self, Outcome},
    progress::Summary,
    retry::Waiting,
};

/// Sends a record to the dead-letter topic and acknowledges it. Returns without either once the
/// record's lease is dead.
pub(crate) async fn bury(context: &Context, record: &RawRecord, reason: &DeadLetterReason) {
    tracing::warn!(
        position = %record.position,
        stage = reason.stage.as_str(),
        class = reason.class,
        "record becomes a dead letter"
    );
    let mut waiting = Waiting::new(context.backoff, "dead_letter");
    loop {
        if !record.lease.is_live() {
            metrics::record(Outcome::Dropped);
            return;
        }
        match context.dead_letters.send(record, reason).await {
            Ok(()) => break,
            Err(ServiceError::Reject(why)) => {
                waiting.pause("the dead-letter topic refuses the record", &why).await;
            }
            Err(ServiceError::Retry(why) | ServiceError::Unknown(why)) => {
                waiting.pause("the dead-letter topic is away", &why).await;
            }
        }
    }
    waiting.over();
    let done = Summary { dead_letters: 1, ..Summary::default() };
    finish(context, record, Outcome::DeadLetter, done);
}

/// Acknowledges a record and counts what it did, unless its lease is dead (INV-4).
pub(crate) fn finish(context: &Context, record: &RawRecord, outcome: Outcome, done: Summary) {
    if !record.lease.is_live() {
        metrics::record(Outcome::Dropped);
        return;
    }
    context.acknowledger.finish(&FinishedRecord {
        position: record.position.clone(),
        bytes: record.size(),
        lease: record.lease.clone(),
    });
    metrics::record(outcome);
    context.progress.add(&Summary { records: 1, ..done });
}
