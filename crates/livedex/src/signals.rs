//! SIGTERM and Ctrl-C: the first asks for a clean stop, the second ends the process at once.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit codes of a process that a signal ended, as shells count them: 128 and its number.
const TERMINATED: u8 = 128 + 15;
const INTERRUPTED: u8 = 128 + 2;

/// Whether the process was told to stop, and by what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    code: Arc<OnceLock<u8>>,
}

impl Signals {
    /// Cancels `shutdown` at the first signal from now on.
    pub(crate) fn listen(shutdown: CancellationToken) -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let signals = Self::default();
        let code = signals.code.clone();
        tokio::spawn(async move {
            for is_first in [true, false] {
                let by = tokio::select! {
                    _ = terminate.recv() => TERMINATED,
                    _ = interrupt.recv() => INTERRUPTED,
                };
                if !is_first {
                    std::process::exit(i32::from(by));
                }
                let _ = code.set(by);
                shutdown.cancel();
            }
        });
        Ok(signals)
    }

    /// The exit code of a process that had not done yet what it was started for when the signal
    /// came; `None` if there was none.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.code.get().copied()
    }
}
