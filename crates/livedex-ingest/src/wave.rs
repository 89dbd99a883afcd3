//! One wave from its records to their acknowledgement.
//!
//! A record is acknowledged when its event is in the collection, when a later event of its
//! document is (both in this wave, or the later one earlier: a replay), or when the dead-letter
//! topic has it. When a document's last event cannot be applied, the one before it is applied
//! instead: it would otherwise be neither in the collection nor in the dead-letter topic.

use std::{collections::VecDeque, sync::Arc};

use livedex_core::{
    diff::is_replay,
    document::Change,
    limits::MAX_WAVE_ROWS,
    record::{DeadLetterReason, RawRecord, Stage},
    row::ChunkRow,
};

use crate::{
    context::Context,
    embed::{Embedded, vectors},
    error::IngestError,
    letters::{bury, finish},
    metrics::{self, Outcome, StepTimer},
    plan::{Plan, PlannedRow, plan},
    progress::Summary,
    queue::{Event, Wave},
    read::{Known, read},
    retry::End,
    write::{Writes, write},
};

/// Works on a wave until each of its records is finished, or its lease is dead.
pub(crate) async fn run(context: Arc<Context>, wave: Wave) -> Result<(), IngestError> {
    let undecoded = async {
        for (record, reason) in &wave.undecoded {
            bury(&context, record, reason).await;
        }
    };
    let events = async {
        let mut events = wave.events;
        while !events.is_empty() {
            events = round(&context, events).await?;
        }
        Ok(())
    };
    // Side by side: a dead-letter topic that is away must not keep documents waiting.
    let ((), result) = futures::join!(undecoded, events);
    result
}

/// Works on at most one event a document. Returns the events that take the place of those that
/// could not be applied.
async fn round(context: &Arc<Context>, events: Vec<Event>) -> Result<Vec<Event>, IngestError> {
    let mut failures = Failures::default();
    let mut waiting = compare(context, events, &mut failures).await;
    while !waiting.is_empty() {
        let jobs;
        (jobs, waiting) = plan_some(context, waiting, &mut failures).await?;
        let jobs = embed(context, jobs, &mut failures).await?;
        apply(context, jobs, &mut failures).await;
    }
    // Last: a dead-letter topic that is away must not keep the others waiting.
    for (record, reason) in &failures.refused {
        bury(context, record, reason).await;
    }
    Ok(failures.instead)
}

/// The events of a round that were not applied.
#[derive(Default)]
struct Failures {
    /// Records that become dead letters.
    refused: Vec<(RawRecord, DeadLetterReason)>,
    /// The events before them, and before those whose lease died.
    instead: Vec<Event>,
}

type Earlier = Vec<(RawRecord, Change)>;

impl Failures {
    /// The event can never be applied.
    fn refuse(&mut self, record: RawRecord, earlier: Earlier, reason: DeadLetterReason) {
        self.refused.push((record, reason));
        self.instead.extend(Event::fall_back(earlier));
    }

    /// The event's lease is dead: nothing may be written for it. Events before it may have come
    /// under another lease.
    fn drop(&mut self, earlier: Earlier) {
        metrics::record(Outcome::Dropped);
        self.instead.extend(Event::fall_back(earlier));
    }
}

/// An event that is being worked on.
struct Job {
    record: RawRecord,
    earlier: Earlier,
    plan: Plan,
}

/// Reads what is stored, finishes replays, and returns the others.
async fn compare(
    context: &Context,
    events: Vec<Event>,
    failures: &mut Failures,
) -> VecDeque<(Event, Known)> {
    let read = read(context, &events).await;
    let mut to_plan = VecDeque::with_capacity(events.len());
    for (event, (end, known)) in events.into_iter().zip(read) {
        match end {
            End::Dropped => failures.drop(event.earlier),
            End::Refused(why) => {
                let reason = store_letter("StoreError.Read", why);
                failures.refuse(event.record, event.earlier, reason);
            }
            End::Done => {
                if is_replay(&known.rows, known.deleted, &event.position()) {
                    // What came before a replay is older still.
                    let replayed = Summary { replays: 1, ..Summary::default() };
                    for (record, _) in &event.earlier {
                        finish(context, record, Outcome::Replay, replayed);
                    }
                    finish(context, &event.record, Outcome::Replay, replayed);
                } else {
                    to_plan.push_back((event, known));
                }
            }
        }
    }
    to_plan
}

/// Plans events until there are [`MAX_WAVE_ROWS`] to write, so that a wave of many short sections
/// does not fill the memory with vectors. Returns what is left.
async fn plan_some(
    context: &Arc<Context>,
    mut waiting: VecDeque<(Event, Known)>,
    failures: &mut Failures,
) -> Result<(Vec<Job>, VecDeque<(Event, Known)>), IngestError> {
    let timer = StepTimer::start("chunk");
    let worker = context.clone();
    let (planned, waiting) = tokio::task::spawn_blocking(move || {
        let fingerprint = &worker.embedder.info().fingerprint;
        let mut planned = Vec::new();
        let mut n_rows = 0;
        while n_rows < MAX_WAVE_ROWS
            && let Some((event, known)) = waiting.pop_front()
        {
            let plan = plan(&event, &known, &worker.chunker, fingerprint);
            n_rows += plan.as_ref().map_or(0, |plan| plan.rows.len());
            planned.push((event.record, event.earlier, plan));
        }
        (planned, waiting)
    })
    .await
    .map_err(|error| IngestError::Panic(error.to_string()))?;
    drop(timer);

    let mut jobs = Vec::with_capacity(planned.len());
    for (record, earlier, plan) in planned {
        match plan {
            Ok(plan) => jobs.push(Job { record, earlier, plan }),
            Err(reason) => failures.refuse(record, earlier, reason),
        }
    }
    Ok((jobs, waiting))
}

/// Finds a vector for every row to write.
async fn embed(
    context: &Context,
    jobs: Vec<Job>,
    failures: &mut Failures,
) -> Result<Vec<(Job, Vec<Vec<f32>>)>, IngestError> {
    let _timer = StepTimer::start("embed");
    let mut live = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.record.lease.is_live() {
            live.push(job);
        } else {
            failures.drop(job.earlier);
        }
    }
    let mut rows: Vec<&mut PlannedRow> =
        live.iter_mut().flat_map(|job| job.plan.rows.iter_mut()).collect();
    let mut found = vectors(context, &mut rows).await?.into_iter();
    let mut embedded = Vec::with_capacity(live.len());
    for job in live {
        // All of the job's are taken, also behind a failure, so that the next job finds its own.
        let own: Vec<Embedded> = found.by_ref().take(job.plan.rows.len()).collect();
        match own.into_iter().collect() {
            Ok(vectors) => embedded.push((job, vectors)),
            Err(message) => {
                let class = "ModelError.Input".into();
                let reason = DeadLetterReason { stage: Stage::Embed, class, message };
                failures.refuse(job.record, job.earlier, reason);
            }
        }
    }
    Ok(embedded)
}

/// Writes, deletes and acknowledges.
async fn apply(context: &Context, jobs: Vec<(Job, Vec<Vec<f32>>)>, failures: &mut Failures) {
    let mut writes = Vec::with_capacity(jobs.len());
    let mut records = Vec::with_capacity(jobs.len());
    for (job, vectors) in jobs {
        let Plan { rows, delete, deletion, n_unchanged } = job.plan;
        let mut done = Summary {
            documents: 1,
            chunks_unchanged: n_unchanged as u64,
            rows_deleted: delete.len() as u64,
            ..Summary::default()
        };
        let mut fresh = Vec::new();
        for row in &rows {
            if row.is_stored {
                done.rows_rewritten += 1;
            } else {
                done.chunks_embedded += 1;
                done.tokens_embedded += row.tokens as u64;
                fresh.push(row.fields.id.clone());
            }
        }
        let rows = rows
            .into_iter()
            .zip(vectors)
            .map(|(row, vector)| ChunkRow { fields: row.fields, vector })
            .collect();
        let lease = job.record.lease.clone();
        writes.push(Writes { lease, rows, delete, deletion, fresh });
        records.push((job.record, job.earlier, done));
    }
    let ends = write(context, writes).await;
    for ((record, earlier, done), end) in records.into_iter().zip(ends) {
        match end {
            End::Dropped => failures.drop(earlier),
            End::Refused(why) => {
                let reason = store_letter("StoreError.Reject", why);
                failures.refuse(record, earlier, reason);
            }
            End::Done => {
                for (record, _) in &earlier {
                    finish(context, record, Outcome::Superseded, Summary::default());
                }
                if let Some(age) = metrics::freshness(&record) {
                    context.progress.fresh(age);
                }
                metrics::chunks("embedded", done.chunks_embedded);
                metrics::chunks("unchanged", done.chunks_unchanged);
                metrics::chunks("rewritten", done.rows_rewritten);
                metrics::chunks("deleted", done.rows_deleted);
                finish(context, &record, Outcome::Applied, done);
            }
        }
    }
}

fn store_letter(class: &str, message: String) -> DeadLetterReason {
    DeadLetterReason { stage: Stage::Write, class: class.into(), message }
}
