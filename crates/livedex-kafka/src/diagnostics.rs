//! librdkafka's log lines and errors: kept for the typed error of a failed start, logged at
//! debug, and summed up in a rare warning without the server's words (INV-7).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError as RdError, types::RDKafkaErrorCode,
};

use crate::limiter::Limiter;

/// Locks `mutex`; a thread that panicked while it held the lock does not stop the others, since
/// every change under these locks is complete at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What librdkafka complained about.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) reason: String,
}

impl Trouble {
    /// Whether trying again is pointless until somebody changes the configuration.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL
        )
    }
}

/// Collects the complaints of one client.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    /// The most telling complaint so far: a refused login says more than "all brokers down".
    trouble: Mutex<Option<Trouble>>,
    limiter: Mutex<Limiter>,
}

impl Diagnostics {
    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Below warning it is for people who look for it; above, `error` brings the code as well.
        tracing::debug!(target: "librdkafka", ?level, facility, line);
    }

    /// Keeps a complaint for the error of what is being tried.
    pub(crate) fn note(&self, error: &RdError, reason: &str) -> RDKafkaErrorCode {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        tracing::debug!(target: "librdkafka", ?code, reason);
        let trouble = Trouble { code, reason: reason.replace(['\n', '\r'], " ") };
        let mut kept = lock(&self.trouble);
        let is_vague = trouble.code == RDKafkaErrorCode::AllBrokersDown;
        if kept.as_ref().is_none_or(|kept| !is_vague && !kept.is_refusal()) {
            *kept = Some(trouble);
        }
        code
    }

    /// Keeps a complaint and says it, rarely.
    pub(crate) fn warn(&self, error: &RdError, reason: &str) {
        let code = self.note(error, reason);
        if let Some(n_more) = lock(&self.limiter).pass(Instant::now()) {
            tracing::warn!(%code, n_more, "trouble with Kafka; librdkafka keeps trying (details at debug level)");
        }
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        lock(&self.trouble).clone()
    }
}

/// The context of clients that do not consume in a group. Its complaints are returned as the
/// error of what was asked, so they are not logged above debug.
#[derive(Debug, Default)]
pub(crate) struct QuietContext {
    pub(crate) diagnostics: Diagnostics,
}

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.diagnostics.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: RdError, reason: &str) {
        self.diagnostics.note(&error, reason);
    }
}

impl ConsumerContext for QuietContext {}
