//! The connection that requests come in on, and how it leaves the queue group without losing one.
//!
//! To leave, a client tells the server UNSUB; requests that the server has sent until it reads that
//! are on their way for one more round trip, and must be answered: no other instance gets them.
//! async-nats 0.51 forgets a subscription too early for that: `unsubscribe` (and with it the services
//! framework's `Endpoint::stop` and `Service::stop`) at once, `drain` the next time that its
//! connection task runs, which may be before the round trip is over. The suite `query_service` stops
//! instances under load over a round trip of 20 ms: with `drain` alone each stop loses requests.
//!
//! So the connection has a thread of its own. Draining sends UNSUB and then holds the thread for
//! two round trips: whatever the server sends in that time waits in the socket, and is read when
//! the connection task runs again, before it forgets the subscriptions.
//!
//! The framework's endpoints do not let their subscriptions be drained one by one, so that an instance
//! could only leave by closing its connection, and would come back under another id. That is why
//! subscriptions are made here, and the framework's protocol is spoken in [`discovery`](crate::discovery).

use std::{
    future::poll_fn,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subscriber};
use futures::{Stream, StreamExt};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    config::NatsConfig,
    connect::{NatsError, connect_as},
    endpoint::Endpoint,
};

/// Added to two round trips: a scheduler's time slices.
const MARGIN: Duration = Duration::from_millis(20);

/// The longest hold; a server farther away than this could still lose a request.
const MAX_HOLD: Duration = Duration::from_millis(500);

/// A connection on a thread of its own, which ends with it.
pub(crate) struct Intake {
    client: Client,
    runtime: Handle,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

/// A membership in the queue group: requests, as they come.
pub(crate) struct Joined {
    subscribers: Vec<(Endpoint, Subscriber)>,
    /// The one that is looked at first next time, so that none starves.
    next: usize,
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

    /// Joins the queue group of each endpoint that it shares. A subscription that the user may not have
    /// is refused only in the log of the connection.
    pub(crate) async fn join(&self, nats: &NatsConfig) -> Result<Joined, async_nats::Error> {
        let mut subscribers = Vec::new();
        for endpoint in Endpoint::SHARED {
            let (subject, group) = (nats.subject(endpoint.subject()), nats.queue_group.clone());
            subscribers.push((endpoint, self.client.queue_subscribe(subject, group).await?));
        }
        self.client.flush().await?;
        Ok(Joined { subscribers, next: 0 })
    }

    /// Leaves it. What the server has sent until then still comes out of [`Joined::next`], and then
    /// its end.
    pub(crate) async fn leave(&self, joined: &mut Joined) {
        let client = self.client.clone();
        let mut subscribers = std::mem::take(&mut joined.subscribers);
        let left = self.runtime.spawn(async move {
            let hold = (round_trip(&client).await * 2 + MARGIN).min(MAX_HOLD);
            for (_, subscriber) in &mut subscribers {
                // Fails only if the connection is closed.
                let _ = subscriber.drain().await;
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
            subscribers
        });
        // The task does not panic, and its runtime lives as long as this.
        joined.subscribers = left.await.unwrap_or_default();
    }
}

impl Joined {
    /// The next request; `None` once it has left and everything has come.
    pub(crate) async fn next(&mut self) -> Option<(Endpoint, Message)> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(Endpoint, Message)>> {
        let mut n_looked_at = 0;
        while n_looked_at < self.subscribers.len() {
            let at = self.next % self.subscribers.len();
            let (endpoint, subscriber) = &mut self.subscribers[at];
            match std::pin::Pin::new(subscriber).poll_next(context) {
                Poll::Ready(Some(message)) => {
                    let endpoint = *endpoint;
                    self.next = at + 1;
                    return Poll::Ready(Some((endpoint, message)));
                }
                Poll::Ready(None) => {
                    self.subscribers.remove(at);
                    n_looked_at = 0;
                }
                Poll::Pending => {
                    self.next = at + 1;
                    n_looked_at += 1;
                }
            }
        }
        if self.subscribers.is_empty() { Poll::Ready(None) } else { Poll::Pending }
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
