//! Ctrl-C, SIGTERM and a closed terminal become the stop flag.

use anyhow::Context as _;
use livedex_local::Stop;
use tokio::signal::unix::{SignalKind, signal};

/// Sets `stop` at the first of these signals, from a thread of its own.
pub(crate) fn forward_to(stop: &Stop) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start the thread for signals")?;
    // Registered before this returns, so that no signal takes its default way any more.
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    let stop = stop.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        stop.set();
    });
    Ok(())
}
