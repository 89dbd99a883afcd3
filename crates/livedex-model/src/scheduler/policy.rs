//! What the device does next.
//!
//! Pure: queued work, its token counts, arrival times and deadlines, and `now` go in, a
//! [`Step`] comes out. The rules, and what they guarantee:
//!
//! - **Query before ingest.** Whenever a query waits, the next batch is a query batch, unless
//!   ingest is owed one. Query work never lingers.
//! - **Ageing.** Ingest is owed a batch once the query lane has done
//!   [`AGEING_BUDGETS`] ingest batches' worth of work while texts waited. So the wait for an ingest batch is
//!   bounded however busy the query lane is.
//! - **Linger.** An ingest batch goes when it is full, when the lane is full (no more can
//!   come), or when its oldest text has waited for `linger`.
//! - **In the query lane** queries to embed go before rerankings (they are tiny, and their
//!   search is still to come), but not twice while a reranking waits. Rerankings are split at
//!   the token budget, so either lets the other pass between two pieces.
//! - **Among rerankings** each is due at (tokens reranked when it came + its own tokens, shared ones once), the
//!   earliest goes first. Equal ones go in order of arrival; a small one passes a large one
//!   that has just begun; and once as many tokens as it has were reranked, nothing that
//!   comes later passes it.
//! - **Behind a running batch** (only where the device has a queue of its own): queries always, so what
//!   comes next may find two query batches in front of it. Ingest as well, but while queries are
//!   active its batches are half as large, so that a query finds at most one ingest budget's worth
//!   in front of it, as on a device without a queue, or a single sequence that is longer. The
//!   first query after [`QUERIES_ACTIVE`] without one may find two budgets' worth: ingest alone
//!   has the device to itself and uses full batches.
//! - **A batch** is of one kind of work, in queue order, and at most the token budget, except
//!   that a single sequence beyond the budget goes alone. A request's sequences are neighbours in
//!   it, and the tokens that they share are computed, and counted, once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::limits::{AGEING_BUDGETS, AGEING_MIN_CHARGE, QUERIES_ACTIVE};

#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod tests;

/// Names queued work. Never used twice.
pub(crate) type Ticket = u64;

/// The two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Query,
    Ingest,
}

impl Lane {
    /// The label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Ingest => "ingest",
        }
    }
}

/// The kinds of work: a batch holds one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    EmbedQuery,
    Rerank,
    EmbedDocument,
}

impl Work {
    /// Where it queues.
    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::EmbedQuery | Self::Rerank => Lane::Query,
            Self::EmbedDocument => Lane::Ingest,
        }
    }
}

/// Work to be queued.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) work: Work,
    /// Tokens of each of its sequences; one sequence unless it is a reranking.
    pub(crate) tokens: Vec<usize>,
    /// Tokens that each sequence has in common with the others, at most as many as the shortest
    /// has: all that are in a batch cost them once.
    pub(crate) shared: usize,
    pub(crate) arrived: Instant,
    /// Not begun at or after this moment.
    pub(crate) deadline: Option<Instant>,
}

/// One forward pass: the next sequences of each ticket, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) work: Work,
    /// Ticket and how many of its sequences, from the first not yet handed out.
    pub(crate) parts: Vec<(Ticket, usize)>,
    /// Of all sequences together, those that a request shares once.
    pub(crate) tokens: usize,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Run this; the policy has forgotten it.
    Run(Batch),
    /// Nothing before this moment, unless something arrives.
    WaitUntil(Instant),
    /// Nothing is queued.
    Idle,
}

/// Why work left the queue without a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Cancelled,
    Deadline,
}

#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    /// Of the sequences not yet handed out. Never empty.
    tokens: VecDeque<usize>,
    shared: usize,
    arrived: Instant,
    deadline: Option<Instant>,
}

/// The queues and the rules.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Tokens of a query batch.
    budget: usize,
    /// Tokens of an ingest batch, which a query may have to wait for; at most `budget` counts.
    ingest_budget: usize,
    linger: Duration,
    /// Texts that the ingest lane admits.
    ingest_limit: usize,
    queries: VecDeque<Queued>,
    /// By due time and arrival.
    reranks: BTreeMap<(u64, u64), Queued>,
    documents: VecDeque<Queued>,
    document_tokens: usize,
    /// Tokens reranked so far.
    reranked: u64,
    /// Rerankings that came so far: breaks ties of their due times.
    arrivals: u64,
    /// A reranking waited while queries were embedded.
    rerank_is_next: bool,
    /// Query work since the last ingest batch, in tokens, while texts waited.
    query_charge: usize,
    /// A batch may go behind one that runs.
    overlaps: bool,
    /// When the last query came.
    last_query: Option<Instant>,
}

impl Policy {
    pub(crate) fn new(
        budget: usize,
        ingest_budget: usize,
        linger: Duration,
        ingest_limit: usize,
    ) -> Self {
        Self {
            budget,
            ingest_budget,
            linger,
            ingest_limit,
            queries: VecDeque::new(),
            reranks: BTreeMap::new(),
            documents: VecDeque::new(),
            document_tokens: 0,
            reranked: 0,
            arrivals: 0,
            rerank_is_next: false,
            query_charge: 0,
            overlaps: false,
            last_query: None,
        }
    }

    /// For a device that has a queue of its own.
    pub(crate) fn overlapping(self) -> Self {
        Self { overlaps: true, ..self }
    }

    /// The most tokens of a batch that this lane has, in the long run.
    pub(crate) fn lane_budget(&self, lane: Lane) -> usize {
        match lane {
            Lane::Query => self.budget,
            Lane::Ingest => self.ingest_budget(),
        }
    }

    /// Tokens of a batch from now on, in either lane.
    pub(crate) fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// Queues work. Work without sequences is none and is not queued.
    pub(crate) fn push(&mut self, entry: Entry) {
        let Entry { ticket, work, tokens, shared, arrived, deadline } = entry;
        if tokens.is_empty() {
            return;
        }
        let total = tokens.iter().sum::<usize>() - shared * (tokens.len() - 1);
        let queued = Queued { ticket, tokens: tokens.into(), shared, arrived, deadline };
        if work.lane() == Lane::Query {
            self.last_query = self.last_query.max(Some(arrived));
        }
        match work {
            Work::EmbedQuery => self.queries.push_back(queued),
            Work::Rerank => {
                self.reranks.insert((self.reranked + total as u64, self.arrivals), queued);
                self.arrivals += 1;
            }
            Work::EmbedDocument => {
                self.document_tokens += total;
                self.documents.push_back(queued);
            }
        }
    }

    /// Forgets what is left of a ticket.
    pub(crate) fn remove(&mut self, ticket: Ticket) {
        self.retain(|queued| queued.ticket != ticket);
    }

    /// Forgets work whose caller is gone or whose deadline is not after `now`.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        cancelled: impl Fn(Ticket) -> bool,
    ) -> Vec<(Ticket, Dropped)> {
        let mut dropped = Vec::new();
        self.retain(|queued| {
            let reason = if queued.deadline.is_some_and(|deadline| deadline <= now) {
                Dropped::Deadline
            } else if cancelled(queued.ticket) {
                Dropped::Cancelled
            } else {
                return true;
            };
            dropped.push((queued.ticket, reason));
            false
        });
        dropped
    }

    fn retain(&mut self, mut keep: impl FnMut(&Queued) -> bool) {
        self.queries.retain(&mut keep);
        self.reranks.retain(|_, queued| keep(queued));
        self.documents.retain(keep);
        self.document_tokens = self.documents.iter().flat_map(|queued| &queued.tokens).sum();
    }

    /// Decides what to do at `now` with a device that has a batch, or none, and room for one behind it.
    /// `ahead`: tokens of that batch if it is of the ingest lane, else 0. Idle is also what cannot
    /// go before the batch has ended. Call [`Policy::sweep`] first.
    pub(crate) fn next(&mut self, now: Instant, ahead: usize) -> Step {
        if self.documents.is_empty() {
            self.query_charge = 0;
        }
        let limit = self.ingest_tokens(now);
        let oldest = self.documents.front().filter(|oldest| {
            // What is taken is at most the limit, or the first text alone.
            let first = oldest.tokens.front().copied().unwrap_or(0).max(limit);
            ahead == 0 || limit == self.ingest_budget() || ahead + first <= self.ingest_budget()
        });
        let ingest_ready_at = oldest.map(|oldest| {
            let complete =
                self.document_tokens >= limit || self.documents.len() >= self.ingest_limit;
            if complete { now } else { oldest.arrived + self.linger }
        });
        let ingest_ready = ingest_ready_at.is_some_and(|ready| ready <= now);
        let owed = self.query_charge >= AGEING_BUDGETS * limit;
        if self.query_waits() && !(ingest_ready && owed) {
            Step::Run(self.take_query())
        } else if ingest_ready {
            Step::Run(self.take_ingest(limit))
        } else {
            ingest_ready_at.map_or(Step::Idle, Step::WaitUntil)
        }
    }

    fn query_waits(&self) -> bool {
        !self.queries.is_empty() || !self.reranks.is_empty()
    }

    fn ingest_budget(&self) -> usize {
        self.ingest_budget.min(self.budget)
    }

    /// Tokens of an ingest batch at `now`.
    fn ingest_tokens(&self, now: Instant) -> usize {
        let came_lately = |last| now.saturating_duration_since(last) < QUERIES_ACTIVE;
        let is_active = self.query_waits() || self.last_query.is_some_and(came_lately);
        let parts = if self.overlaps && is_active { 2 } else { 1 };
        self.ingest_budget() / parts
    }

    fn take_query(&mut self) -> Batch {
        let rerank_waits = !self.reranks.is_empty();
        let batch = if self.queries.is_empty() || (rerank_waits && self.rerank_is_next) {
            self.rerank_is_next = false;
            let batch = self.take_rerank();
            self.reranked += batch.tokens as u64;
            batch
        } else {
            self.rerank_is_next = rerank_waits;
            take_whole(Work::EmbedQuery, &mut self.queries, self.budget)
        };
        self.query_charge += batch.tokens.max(self.ingest_budget() / AGEING_MIN_CHARGE);
        batch
    }

    fn take_ingest(&mut self, budget: usize) -> Batch {
        self.query_charge = 0;
        let batch = take_whole(Work::EmbedDocument, &mut self.documents, budget);
        self.document_tokens -= batch.tokens;
        batch
    }

    fn take_rerank(&mut self) -> Batch {
        let mut draft = Draft::new(Work::Rerank, self.budget);
        while let Some(mut first) = self.reranks.first_entry() {
            if !draft.take(first.get_mut()) {
                break;
            }
            first.remove();
        }
        draft.batch
    }
}

/// Fills a batch from the front of a queue.
fn take_whole(work: Work, queue: &mut VecDeque<Queued>, budget: usize) -> Batch {
    let mut draft = Draft::new(work, budget);
    while let Some(front) = queue.front_mut() {
        if !draft.take(front) {
            break;
        }
        queue.pop_front();
    }
    draft.batch
}

/// A batch being filled.
struct Draft {
    batch: Batch,
    budget: usize,
}

impl Draft {
    fn new(work: Work, budget: usize) -> Self {
        Self { batch: Batch { work, parts: Vec::new(), tokens: 0 }, budget }
    }

    /// Takes as many sequences as fit; at least one if the batch is empty. True if none is
    /// left.
    fn take(&mut self, queued: &mut Queued) -> bool {
        let mut taken = 0;
        while let Some(&tokens) = queued.tokens.front() {
            let empty = self.batch.parts.is_empty() && taken == 0;
            let cost = if taken == 0 { tokens } else { tokens - queued.shared };
            if !empty && self.batch.tokens + cost > self.budget {
                break;
            }
            queued.tokens.pop_front();
            self.batch.tokens += cost;
            taken += 1;
        }
        if taken > 0 {
            self.batch.parts.push((queued.ticket, taken));
        }
        queued.tokens.is_empty()
    }
}
