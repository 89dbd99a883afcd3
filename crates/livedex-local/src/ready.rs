//! Waits for a condition with a deadline.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::error::LocalError;
use crate::stop::Stop;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// How long one probe may wait for bytes from a server.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a server may take until it answers. Milvus Lite's Python imports take 1 s from a warm disk
/// and have been seen to take 15 s from a cold one on a busy machine.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `probe` gives a value. Ends early, with an error, when the child ends or `stop` is set.
pub(crate) fn until_child_answers<T>(
    child: &mut Child,
    stop: &Stop,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, LocalError> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if let Some(error) = child.ended() {
            return Err(error);
        }
        if let Some(value) = probe() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(LocalError::NotReady {
                name: child.name(),
                seconds: START_DEADLINE.as_secs(),
                log: child.log().to_owned(),
            });
        }
        if stop.wait(EVERY) {
            return Err(LocalError::Stopped);
        }
    }
}

/// A connection to a port of this machine with short timeouts, for a probe.
pub(crate) fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT)).ok()?;
    Some(stream)
}
