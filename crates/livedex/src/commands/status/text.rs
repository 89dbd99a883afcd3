//! The status for people.

use std::time::Duration;

use indicatif::{FormattedDuration, HumanBytes};
use livedex_wire::worker_status::{Depth, StreamStatus as WorkerStream, WorkerStatusV1};

use super::{Status, StreamStatus, total_lag, worker::Worker};

impl Status {
    /// A few lines for everybody who was asked.
    pub(super) fn text(&self, subject_prefix: &str) -> String {
        let mut lines = Vec::new();
        for stream in &self.streams {
            if self.streams.len() > 1 {
                lines.push(format!("stream {}", stream.name));
            }
            stream.lines(&mut lines);
        }
        lines.push(format!("service {subject_prefix}.query"));
        match &self.services {
            Ok(services) => lines.extend(services.iter().map(|service| {
                let reranker = service.reranker.as_ref().map_or("none", |model| &model.name);
                format!(
                    "  {} {}: {} in flight, embedder {}, reranker {reranker}",
                    service.service_id, service.version, service.in_flight, service.embedder.name
                )
            })),
            Err(error) => lines.push(format!("  {error}")),
        }
        if self.workers.is_empty() {
            lines.push("no worker asked: http.listen is \"\"; name one with --worker".to_owned());
        }
        for worker in &self.workers {
            worker.lines(&mut lines);
        }
        lines.join("\n")
    }
}

impl StreamStatus {
    fn lines(&self, lines: &mut Vec<String>) {
        lines.push(format!("topic {}, group {}", self.topic, self.group));
        match &self.kafka {
            Ok(partitions) => {
                lines.extend(partitions.iter().map(|p| {
                    let watermark = p.committed.map_or("none".to_owned(), |at| at.to_string());
                    format!(
                        "  partition {:<3} watermark {watermark:>8}  end {:>8}  lag {:>8}",
                        p.partition, p.high, p.lag
                    )
                }));
                lines.push(format!("  lag in all {}", total_lag(partitions)));
            }
            Err(error) => lines.push(format!("  {error}")),
        }
        lines.push(format!("collection {}", self.collection));
        lines.push(match &self.milvus {
            Ok(Some((info, rows))) => {
                format!("  {rows} rows of {} dimensions, model {}", info.dimension, info.model)
            }
            Ok(None) => "  does not exist yet; the first worker creates it".to_owned(),
            Err(error) => format!("  {error}"),
        });
    }
}

impl Worker {
    fn lines(&self, lines: &mut Vec<String>) {
        lines.push(format!("worker {}", self.url));
        match &self.answer {
            Ok(status) => worker(status, lines),
            Err(error) => lines.push(format!(
                "  {error}; without it queue depths, freshness and saved embeddings are not known"
            )),
        }
    }
}

fn worker(status: &WorkerStatusV1, lines: &mut Vec<String>) {
    let up = Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or_default();
    let ready = if status.ready { "ready" } else { "not ready" };
    let mut line = format!("  {}, up {}, {ready}", status.version, FormattedDuration(up));
    if let Some(model) = &status.model {
        line += &format!("; model: {} queries, {} texts waiting", model.query, model.ingest);
    }
    lines.push(line);
    lines.extend(status.streams.iter().flat_map(stream));
}

fn stream(stream: &WorkerStream) -> [String; 4] {
    let reading = match (stream.paused, stream.caught_up) {
        (true, _) => "paused",
        (false, true) => "caught up",
        (false, false) => "reading",
    };
    let depth = |depth: &Depth| format!("{} ({})", depth.records, HumanBytes(depth.bytes));
    let queues = &stream.queues;
    let fresh = stream.freshness.map_or("nothing made searchable yet".to_owned(), |fresh| {
        format!(
            "searchable after {:.2} s (p50), {:.2} s (p99) of the last {} records",
            fresh.p50_seconds, fresh.p99_seconds, fresh.records
        )
    });
    let done = &stream.done;
    let saved = stream.embeddings_saved.map_or("none".to_owned(), |share| {
        format!(
            "{:.1} %: {} embedded, {} unchanged, {} rewritten",
            share * 100.0,
            done.chunks_embedded,
            done.chunks_unchanged,
            done.rows_rewritten
        )
    });
    [
        format!(
            "  stream {}: {reading}, {} partitions, {} records finished, {} dead letters",
            stream.stream,
            stream.partitions.len(),
            done.records,
            done.dead_letters
        ),
        format!(
            "    records waiting: source {}, pipeline {}, {} waves with {}",
            depth(&queues.source),
            depth(&queues.pipeline),
            queues.waves_in_flight,
            depth(&queues.waves)
        ),
        format!("    {fresh}"),
        format!("    embeddings saved {saved}"),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_shown_with_what_only_it_knows() {
        let example = include_bytes!("../../../../../schemas/examples/worker_status.v1/full.json");
        let (url, answer) = ("http://w:1".into(), WorkerStatusV1::from_json(example));
        let mut lines = Vec::new();
        Worker { url, answer: Ok(answer.unwrap()) }.lines(&mut lines);
        assert_eq!(
            lines,
            [
                "worker http://w:1",
                "  0.1.0, up 1d 00:00:12, ready; model: 1 queries, 96 texts waiting",
                "  stream docs: reading, 2 partitions, 1204 records finished, 2 dead letters",
                "    records waiting: source 44 (176.00 KiB), pipeline 36 (144.00 KiB), \
                 2 waves with 16 (64.00 KiB)",
                "    searchable after 0.41 s (p50), 2.75 s (p99) of the last 1024 records",
                "    embeddings saved 74.4 %: 2585 embedded, 7400 unchanged, 120 rewritten",
            ]
        );
        let mut lines = Vec::new();
        Worker { url: "http://w:2".into(), answer: Err("nobody".into()) }.lines(&mut lines);
        assert!(lines[1].starts_with("  nobody; without it"), "{lines:?}");
    }
}
