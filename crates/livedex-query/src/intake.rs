//! The connection that requests come in on, and how it stops without losing one.
//!
//! To stop, a client tells the server UNSUB; requests that the server has sent until it reads that
//! are on their way for one more round trip, and must be answered: no other instance gets them.
//! async-nats 0.51 forgets a subscription too early for that: `unsubscribe` (and with it the
//! framework's `Endpoint::stop` and `Service::stop`) at once, `drain` the next time that its
//! connection task runs, which may be before the round trip is over. The suite `query_service` stops
//! instances under load over a round trip of 20 ms: with `drain` alone each stop loses requests.
//!
//! So the connection has a thread of its own. Draining it sends UNSUB and then holds the thread for
//! two round trips: whatever the server sends in that time waits in the socket, and is read when
//! the connection task runs again, before it forgets the subscription.

use std::{
    future::poll_fn,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use async_nats::Client;
use futures::StreamExt;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    config::NatsConfig,
    connect::{NatsError, connect_as},
};

/// Added to two round trips: a scheduler's time slices.
const MARGIN: Duration = Duration::from_millis(20);

/// The longest hold; a server farther away than this could still lose a request.
const MAX_HOLD: Duration = Duration::from_millis(500);

/// A connection on a thread of its own, which ends with it.
pub(crate) struct Intake {
    pub(crate) client: Client,
    runtime: Handle,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Intake {
    pub(crate) async fn connect(nats: &NatsConfig, name: &'static str) -> Result<Self, NatsError> {
        let (connected, connection) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let nats = nats.clone();
        let no_thread = |reason: String| NatsError::Thread { reason };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| no_thread(error.to_string()))?;
        thread::Builder::new()
            .name("livedex-nats-in".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let client = connect_as(&nats, name).await;
                    if connected.send(client.map(|client| (client, Handle::current()))).is_ok() {
                        // Nothing is ever sent: it ends when the other end is dropped.
                        let _: Result<(), _> = stopped.await;
                    }
                });
            })
            .map_err(|error| no_thread(error.to_string()))?;
        let connected = connection.await.map_err(|error| no_thread(error.to_string()))?;
        let (client, runtime) = connected?;
        Ok(Self { client, runtime, _stop: stop })
    }

    /// Ends all subscriptions and then the connection. Their streams end after the last message
    /// that the server has sent.
    pub(crate) async fn drain(&self) {
        let client = self.client.clone();
        let drained = self.runtime.spawn(async move {
            let hold = (round_trip(&client).await * 2 + MARGIN).min(MAX_HOLD);
            if client.drain().await.is_err() {
                return;
            }
            // The connection task is now in this thread's queue. It runs once, and sends UNSUB,
            // while this task goes to the queue's end.
            let mut is_requeued = false;
            poll_fn(|context| {
                if std::mem::replace(&mut is_requeued, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            // Not an await: the connection task must not run.
            thread::sleep(hold);
        });
        let _ = drained.await;
    }
}

/// How long a message takes to the server and back; [`MAX_HOLD`] if it does not come back.
async fn round_trip(client: &Client) -> Duration {
    let start = Instant::now();
    let inbox = client.new_inbox();
    let Ok(mut echo) = client.subscribe(inbox.clone()).await else { return MAX_HOLD };
    if client.publish(inbox, Default::default()).await.is_err() {
        return MAX_HOLD;
    }
    match tokio::time::timeout(MAX_HOLD, echo.next()).await {
        Ok(Some(_)) => start.elapsed(),
        _ => MAX_HOLD,
    }
}
