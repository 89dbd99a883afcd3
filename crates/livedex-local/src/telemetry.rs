//! The embedded broker's messages go to a log file like those of the other servers.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Sends everything that is logged from now on to `kafka.log` in that folder. `RUST_LOG` chooses what,
/// default `warn`: at debug the broker logs records.
pub(crate) fn to_file(logs: &Path) -> anyhow::Result<()> {
    let path = logs.join("kafka.log");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let filter = EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .init();
    Ok(())
}
