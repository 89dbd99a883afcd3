//! Waits for a condition with a deadline: tests never sleep for a fixed time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Calls `probe` until it gives a value. `what` names the condition in the error, which also
/// holds the last reason that `probe` gave for not being done.
pub async fn until<T, F, P>(what: &str, timeout: Duration, mut probe: P) -> Result<T>
where
    P: FnMut() -> F,
    F: Future<Output = Result<Result<T, String>>>,
{
    let deadline = Instant::now() + timeout;
    loop {
        match probe().await? {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                bail!("{what}: not within {} s: {reason}", timeout.as_secs_f32())
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}
