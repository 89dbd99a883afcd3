//! What the worker knows of itself: `/status`.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use livedex_core::record::Depth;
use livedex_ingest::{Depths, Freshness, Summary};
use livedex_kafka::PartitionStatus;
use livedex_model::runtime::QueueMonitor;
use livedex_wire::worker_status as wire;

use crate::{http::Readiness, stream::Stream};

/// Shared by the worker and its HTTP endpoint, which is there first.
#[derive(Clone)]
pub(crate) struct State(Arc<Inner>);

struct Inner {
    started_at: Instant,
    readiness: Readiness,
    /// Set once everything runs.
    running: OnceLock<(QueueMonitor, Vec<Stream>)>,
}

impl State {
    /// Nothing runs yet.
    pub(super) fn new(readiness: Readiness) -> Self {
        let running = OnceLock::new();
        Self(Arc::new(Inner { started_at: Instant::now(), readiness, running }))
    }

    /// Everything runs now.
    pub(super) fn runs(&self, queues: QueueMonitor, streams: Vec<Stream>) {
        let _ = self.0.running.set((queues, streams));
    }

    /// How it is now.
    pub(crate) fn status(&self) -> wire::WorkerStatusV1 {
        let running = self.0.running.get();
        wire::WorkerStatusV1 {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.0.started_at.elapsed().as_secs_f64(),
            ready: self.0.readiness.get(),
            model: running.map(|(queues, _)| wire::ModelQueues {
                query: queues.query() as u64,
                ingest: queues.ingest() as u64,
            }),
            streams: running
                .map(|(_, streams)| streams.iter().map(stream).collect())
                .unwrap_or_default(),
        }
    }
}

fn stream(stream: &Stream) -> wire::StreamStatus {
    let (summary, depths) = (stream.progress.summary(), stream.progress.depths());
    wire::StreamStatus {
        stream: stream.name.clone(),
        topic: stream.topic.clone(),
        group: stream.group.clone(),
        collection: stream.collection.clone(),
        paused: stream.source.is_paused(),
        caught_up: stream.progress.is_caught_up(),
        partitions: stream.source.partitions().iter().map(partition).collect(),
        queues: queues(stream.source.waiting(), &depths),
        freshness: stream.progress.freshness().map(freshness),
        done: done(&summary),
        embeddings_saved: summary.embeddings_saved(),
    }
}

fn partition(status: &PartitionStatus) -> wire::PartitionStatus {
    wire::PartitionStatus {
        partition: status.partition,
        watermark: status.watermark,
        committed: status.committed,
        end: status.end,
        lag: status.lag(),
        in_flight: status.in_flight as u64,
    }
}

fn queues(source: Depth, depths: &Depths) -> wire::Queues {
    let depth =
        |depth: Depth| wire::Depth { records: depth.records as u64, bytes: depth.bytes as u64 };
    wire::Queues {
        source: depth(source),
        pipeline: depth(depths.queue),
        waves: depth(depths.waves),
        waves_in_flight: depths.waves_in_flight as u64,
    }
}

fn freshness(freshness: Freshness) -> wire::Freshness {
    wire::Freshness {
        records: freshness.records as u64,
        p50_seconds: freshness.p50.as_secs_f64(),
        p99_seconds: freshness.p99.as_secs_f64(),
    }
}

fn done(summary: &Summary) -> wire::Done {
    wire::Done {
        records: summary.records,
        documents: summary.documents,
        chunks_embedded: summary.chunks_embedded,
        chunks_unchanged: summary.chunks_unchanged,
        rows_rewritten: summary.rows_rewritten,
        rows_deleted: summary.rows_deleted,
        dead_letters: summary.dead_letters,
        replays: summary.replays,
        tokens_embedded: summary.tokens_embedded,
    }
}
