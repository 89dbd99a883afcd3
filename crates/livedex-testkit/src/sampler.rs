//! Looks at a case again and again while it runs: no committed offset may ever be beyond an
//! unfinished record, and no document may ever go back, not only at the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::case::{Case, listed};
use crate::history::Seen;

/// The pause between two looks.
const EVERY: Duration = Duration::from_millis(50);

/// A sampler that runs. Dropping it ends it.
pub struct Sampler {
    stop: CancellationToken,
    task: JoinHandle<Samples>,
}

/// What it has seen.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Looks that were whole.
    pub taken: usize,
    /// Looks at which something was committed and something was not.
    pub midway: usize,
    /// Looks that a server did not answer.
    pub failed: usize,
    /// Broken promises, with the number of the look.
    pub violations: Vec<String>,
}

impl Sampler {
    /// Starts looking.
    pub fn start(case: &Case) -> Self {
        let stop = CancellationToken::new();
        let (case, stopped) = (case.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let (mut samples, mut seen) = (Samples::default(), Seen::default());
            while !stopped.is_cancelled() {
                samples.take(&case, &mut seen).await;
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
            samples
        });
        Self { stop, task }
    }

    /// Ends it, and fails if a promise was broken at any look.
    pub async fn finish(mut self) -> Result<Samples> {
        self.stop.cancel();
        let samples = (&mut self.task).await?;
        ensure!(samples.violations.is_empty(), "while it ran: {}", listed(&samples.violations));
        Ok(samples)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Samples {
    async fn take(&mut self, case: &Case, seen: &mut Seen) {
        let records = case.records();
        match case.look(seen).await {
            Ok(look) => {
                self.taken += 1;
                let is_midway = look.committed > 0 && look.committed < records as i64;
                self.midway += usize::from(is_midway);
                let nth = self.taken;
                let named = |violation| format!("look {nth}: {violation}");
                self.violations.extend(look.violations.into_iter().map(named));
            }
            Err(error) => {
                tracing::debug!("a look failed: {error:#}");
                self.failed += 1;
            }
        }
    }
}
