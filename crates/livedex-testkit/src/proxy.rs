//! A TCP proxy on 127.0.0.1 that makes a network bad: slow, silent, or broken in the middle of an
//! answer. It sees bytes, not requests, and counts what it did, so that a test can prove its fault.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Bytes that are moved, delayed or held in one piece.
const CHUNK: usize = 64 * 1024;

/// What happens to bytes, both ways, and to the ends of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// They pass.
    Pass,
    /// Each chunk waits for a random time within these bounds.
    Delay {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// Nothing passes. Connections stay open and new ones are accepted. As in a network whose
    /// hosts send again what was not confirmed, what was held comes late: when traffic is
    /// something else.
    Hold,
}

/// What a proxy has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Bytes that were delayed.
    pub delayed_bytes: u64,
    /// Bytes that were read and held. More wait in the buffers of the kernel.
    pub held_bytes: u64,
    /// Connections that were reset.
    pub resets: u64,
    /// Answers that were cut by [`TcpProxy::cut_next_answer`].
    pub cut_answers: u64,
}

/// A running proxy. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    shared: Arc<Shared>,
    /// Its own, so that a test that blocks does not stop it.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<Option<SocketAddr>>,
    traffic: watch::Sender<Traffic>,
    /// Raised to reset all connections.
    resets: watch::Sender<u64>,
    cut: Mutex<Cut>,
    counts: Mutex<Counts>,
}

/// The answer that is to be cut.
#[derive(Debug, Default)]
struct Cut {
    /// Bytes of it that pass; `None` if none is to be cut.
    keep: Option<usize>,
    /// How often one was asked for. Only bytes that came to the server since then are a request
    /// whose answer is meant.
    round: u64,
}

impl TcpProxy {
    /// A proxy that forwards nowhere yet: connections wait.
    pub fn bind() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(None),
            traffic: watch::Sender::new(Traffic::Pass),
            resets: watch::Sender::new(0),
            cut: Mutex::default(),
            counts: Mutex::default(),
        });
        let entered = runtime.enter();
        tokio::spawn(accept(TcpListener::from_std(listener)?, Arc::clone(&shared)));
        drop(entered);
        Ok(Self { port, shared, runtime: Some(runtime) })
    }

    /// Its port, for as long as it lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where new connections lead from now on.
    pub fn forward_to(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = Some(upstream);
        // Those that wait for it look again.
        self.shared.traffic.send_modify(|_| {});
    }

    /// What happens to bytes from now on.
    pub fn set(&self, traffic: Traffic) {
        self.shared.traffic.send_replace(traffic);
    }

    /// Resets all connections (RST).
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Resets all connections in the middle of the next answer: a request that comes from now on
    /// passes, at most `keep` bytes of what the server says next on its connection do, and then
    /// everything breaks. Once; [`Counts::cut_answers`] says when.
    pub fn cut_next_answer(&self, keep: usize) {
        let mut cut = lock(&self.shared.cut);
        cut.keep = Some(keep);
        cut.round += 1;
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may be dropped in asynchronous code only so.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn reset(&self) {
        self.resets.send_modify(|n| *n += 1);
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut lock(&self.counts));
    }

    /// Connects, once it is known where, and nothing is held.
    async fn dial(&self) -> io::Result<TcpStream> {
        let mut traffic = self.traffic.subscribe();
        loop {
            let upstream = *lock(&self.upstream);
            let is_held = *traffic.borrow_and_update() == Traffic::Hold;
            match upstream {
                Some(upstream) if !is_held => return TcpStream::connect(upstream).await,
                _ => traffic.changed().await.map_err(io::Error::other)?,
            }
        }
    }

    /// Returns when `bytes`, or the end of a connection, may pass.
    async fn pass(&self, bytes: usize) {
        let mut traffic = self.traffic.subscribe();
        if *traffic.borrow() == Traffic::Hold {
            self.count(|counts| counts.held_bytes += bytes as u64);
            // It ends with the proxy, and then so does this task.
            let _ = traffic.wait_for(|traffic| *traffic != Traffic::Hold).await;
        }
        let now = *traffic.borrow();
        if let Traffic::Delay { min, max } = now {
            self.count(|counts| counts.delayed_bytes += bytes as u64);
            tokio::time::sleep(rand::random_range(min..=max)).await;
        }
    }

    /// How much of the answer to a request of round `asked` passes, if it is the one to be cut.
    fn take_cut(&self, asked: u64) -> Option<usize> {
        let mut cut = lock(&self.cut);
        if cut.round == asked { cut.keep.take() } else { None }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Out of file descriptors, say: the client's timeout will tell.
        let Ok((client, _)) = listener.accept().await else { continue };
        shared.count(|counts| counts.connections += 1);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = connection(&shared, client).await {
                tracing::debug!(%error, "a connection through the proxy ended");
            }
        });
    }
}

async fn connection(shared: &Shared, mut client: TcpStream) -> io::Result<()> {
    let mut resets = shared.resets.subscribe();
    let mut server = tokio::select! {
        server = shared.dial() => server?,
        _ = resets.changed() => return reset(shared, &[&client]),
    };
    // Small packets of a request shall not wait for each other here too.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let asked = AtomicU64::new(0);
        let both = async {
            let requests = requests(shared, &asked, from_client, to_server);
            let answers = answers(shared, &asked, from_server, to_client);
            tokio::try_join!(requests, answers)
        };
        tokio::select! {
            ended = both => return ended.map(|_| ()),
            _ = resets.changed() => {}
        }
    }
    reset(shared, &[&client, &server])
}

/// Makes dropping these streams an RST.
fn reset(shared: &Shared, streams: &[&TcpStream]) -> io::Result<()> {
    shared.count(|counts| counts.resets += 1);
    streams.iter().try_for_each(|stream| stream.set_zero_linger())
}

async fn requests(
    shared: &Shared,
    asked: &AtomicU64,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = from.read(&mut buffer).await?;
        // Before it waits: what is under way when a cut is asked for is not meant.
        let round = lock(&shared.cut).round;
        shared.pass(n).await;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
        asked.store(round, Ordering::Relaxed);
    }
}

async fn answers(
    shared: &Shared,
    asked: &AtomicU64,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = from.read(&mut buffer).await?;
        shared.pass(n).await;
        if n == 0 {
            return to.shutdown().await;
        }
        match shared.take_cut(asked.load(Ordering::Relaxed)) {
            None => to.write_all(&buffer[..n]).await?,
            Some(keep) => {
                to.write_all(&buffer[..n.min(keep)]).await?;
                shared.count(|counts| counts.cut_answers += 1);
                shared.reset();
                // The reset ends this connection too.
                pending::<()>().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
