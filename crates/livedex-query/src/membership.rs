//! Whether this instance takes requests from the queue group.
//!
//! A NATS queue group hands requests out at random, also to an instance that is full while its
//! neighbour is idle (nats-server issue 878). So a full instance leaves the group until it has room. It
//! leaves only where another member says that it has room: a group that everybody has left answers
//! nobody, and a refusal (429) with a hint when to come back is better than silence.
//!
//! Instances tell each other on `<prefix>.room.<queue group>`, at every change and several times a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::Client;
use futures::StreamExt;
use livedex_wire::room::RoomV1;

use crate::{admission::Admission, config::NatsConfig, metrics};

/// How often an instance looks at itself.
const LOOK: Duration = Duration::from_millis(20);

/// How often it tells the others in any case.
const REPEAT: Duration = Duration::from_millis(200);

/// After what time the word of another counts no more: three were lost.
const STALE: Duration = Duration::from_millis(700);

/// How long it must be full before it leaves: leaving costs two round trips, and a burst is no load.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long it stays once it has come back.
const STAY: Duration = Duration::from_millis(500);

/// Others that are listened to: more than a queue group has members.
const MAX_PEERS: usize = 1024;

/// What the others say.
#[derive(Debug, Default)]
struct Peers(HashMap<String, (Instant, RoomV1)>);

/// This instance among the others.
pub(crate) struct Membership {
    id: String,
    client: Client,
    subject: String,
    admission: Arc<Admission>,
    peers: Mutex<Peers>,
}

impl Membership {
    pub(crate) fn new(
        id: &str,
        client: Client,
        nats: &NatsConfig,
        admission: Arc<Admission>,
    ) -> Self {
        let subject = nats.subject(&format!("room.{}", nats.queue_group));
        Self { id: id.to_owned(), client, subject, admission, peers: Mutex::default() }
    }

    /// Hears what the others say, for ever.
    pub(crate) async fn listen(&self) {
        let Ok(mut messages) = self.client.subscribe(self.subject.clone()).await else { return };
        while let Some(message) = messages.next().await {
            match RoomV1::from_json(&message.payload) {
                Ok(room) if room.id != self.id => self.peers().hear(room, Instant::now()),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a message on the room's subject"),
            }
        }
    }

    /// Tells the others, until this instance is to leave.
    pub(crate) async fn until_full(&self) {
        metrics::member(true);
        let came = Instant::now();
        let mut full_since = None;
        self.tell_until(true, |now| {
            if self.has_room(1.0) {
                full_since = None;
                return false;
            }
            let since = *full_since.get_or_insert(now);
            now - since >= PATIENCE && now - came >= STAY && self.peers().has_room(now)
        })
        .await;
        tracing::debug!(in_flight = self.admission.in_flight(), "full: leaving the queue group");
    }

    /// Tells the others, until this instance is to come back.
    pub(crate) async fn until_room(&self) {
        metrics::member(false);
        self.tell_until(false, |now| self.has_room(0.5) || !self.peers().has_member(now)).await;
        tracing::debug!(in_flight = self.admission.in_flight(), "joining the queue group again");
    }

    async fn tell_until(&self, is_member: bool, mut is_over: impl FnMut(Instant) -> bool) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut said: Option<(Instant, bool)> = None;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if is_over(now) {
                return self.tell(!is_member, !is_member).await;
            }
            let has_room = is_member && self.has_room(0.75);
            if said.is_none_or(|(at, had_room)| had_room != has_room || now - at >= REPEAT) {
                self.tell(is_member, has_room).await;
                said = Some((now, has_room));
            }
        }
    }

    /// Says that it is gone.
    pub(crate) async fn leave(&self) {
        self.tell(false, false).await;
    }

    async fn tell(&self, is_member: bool, has_room: bool) {
        let room = RoomV1 { id: self.id.clone(), is_member, has_room };
        // Fails only if the connection is closed.
        let _ = self.client.publish(self.subject.clone(), room.to_json().into()).await;
    }

    /// Whether less than this part of the places is taken.
    fn has_room(&self, part: f64) -> bool {
        (self.admission.in_flight() as f64) < part * self.admission.limit() as f64
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    fn hear(&mut self, room: RoomV1, now: Instant) {
        self.0.retain(|_, (at, _)| now.saturating_duration_since(*at) < STALE);
        if self.0.len() < MAX_PEERS || self.0.contains_key(&room.id) {
            self.0.insert(room.id.clone(), (now, room));
        }
    }

    fn fresh(&self, now: Instant) -> impl Iterator<Item = &RoomV1> {
        let is_fresh = move |at: &Instant| now.saturating_duration_since(*at) < STALE;
        self.0.values().filter(move |(at, _)| is_fresh(at)).map(|(_, room)| room)
    }

    fn has_member(&self, now: Instant) -> bool {
        self.fresh(now).any(|room| room.is_member)
    }

    fn has_room(&self, now: Instant) -> bool {
        self.fresh(now).any(|room| room.is_member && room.has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fresh_word_of_a_member_counts() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let room = |is_member, has_room| RoomV1 { id: "a".to_owned(), is_member, has_room };
        assert!(!peers.has_member(now));
        peers.hear(room(true, false), now);
        assert!(peers.has_member(now) && !peers.has_room(now));
        peers.hear(room(true, true), now);
        assert!(peers.has_room(now));
        assert!(!peers.has_member(now + STALE));
        peers.hear(room(false, true), now);
        assert!(!peers.has_member(now) && !peers.has_room(now));
    }
}
