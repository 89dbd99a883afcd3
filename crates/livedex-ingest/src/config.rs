//! The bounds of a pipeline.

use std::time::Duration;

/// How a pipeline works. [`Default`] is what the binary starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Records of one wave at most. More records a wave fill the model's batches better and
    /// share more round trips; fewer finish sooner.
    pub wave_records: usize,
    /// Bytes of the records of one wave; the record that crosses it is still taken, so that a
    /// larger one gets through alone.
    pub wave_bytes: usize,
    /// Waves in flight at once. With 2 the comparing and chunking of one overlaps the embedding
    /// of the other.
    pub waves_in_flight: usize,
    /// How long the waves in flight may take to finish after a shutdown was asked for. What is
    /// unfinished then is not acknowledged and comes again at the next start.
    pub drain: Duration,
    /// How long to wait between attempts when a server is away.
    pub backoff: Backoff,
    /// End once every assigned partition has been read to its end and all of it is finished.
    pub until_caught_up: bool,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            wave_records: 256,
            wave_bytes: 8 * 1024 * 1024,
            waves_in_flight: 2,
            drain: Duration::from_secs(20),
            backoff: Backoff::default(),
            until_caught_up: false,
        }
    }
}

/// Exponential back-off with jitter: the n-th wait is drawn from the upper half of
/// `initial * 2^n`, never more than `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait, at most.
    pub initial: Duration,
    /// Every wait, at most. It also bounds how late a returned server is noticed.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(5) }
    }
}
