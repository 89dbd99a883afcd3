//! What was done, in a line for people or as JSON for scripts.

use std::time::Duration;

use livedex_ingest::Summary;
use serde_json::{Value, json};

use crate::stream::Stream;

/// What a run has done.
pub(super) struct Report {
    streams: Vec<Done>,
    took: Duration,
}

struct Done {
    name: String,
    topic: String,
    has_caught_up: bool,
    summary: Summary,
}

impl Report {
    /// Takes what the streams have done in the time that they took.
    pub(super) fn new(streams: &[Stream], took: Duration) -> Self {
        let done = |stream: &Stream| Done {
            name: stream.name.clone(),
            topic: stream.topic.clone(),
            has_caught_up: stream.progress.is_caught_up(),
            summary: stream.progress.summary(),
        };
        Self { streams: streams.iter().map(done).collect(), took }
    }

    /// Whether every stream has caught up.
    pub(super) fn has_caught_up(&self) -> bool {
        self.streams.iter().all(|done| done.has_caught_up)
    }

    /// Records that became dead letters.
    pub(super) fn dead_letters(&self) -> u64 {
        self.streams.iter().map(|done| done.summary.dead_letters).sum()
    }

    /// A line for each stream; only several are told apart by their names.
    pub(super) fn text(&self) -> String {
        let lines = self.streams.iter().map(|done| {
            let name = match self.streams.len() {
                1 => String::new(),
                _ => format!("{}: ", done.name),
            };
            let how = match done.has_caught_up {
                true => "caught up after",
                false => "not caught up, ended after",
            };
            let Summary {
                records,
                documents,
                chunks_embedded,
                chunks_unchanged,
                rows_rewritten,
                rows_deleted,
                dead_letters,
                replays,
                ..
            } = done.summary;
            format!(
                "{name}{how} {:.1} s: {records} records, {documents} documents, \
                 {chunks_embedded} chunks embedded ({:.0} tokens/s), {chunks_unchanged} unchanged, \
                 {rows_rewritten} rewritten, {rows_deleted} deleted, {dead_letters} dead letters, \
                 {replays} replays",
                self.took.as_secs_f64(),
                self.tokens_per_second(&done.summary),
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Everything, the sums first.
    pub(super) fn json(&self) -> Value {
        let sum = self.streams.iter().fold(Summary::default(), |sum, done| sum + done.summary);
        let mut all = self.counts(&sum);
        all["caught_up"] = json!(self.has_caught_up());
        all["seconds"] = json!(self.took.as_secs_f64());
        let streams = self.streams.iter().map(|done| {
            let mut one = self.counts(&done.summary);
            one["stream"] = json!(done.name);
            one["topic"] = json!(done.topic);
            one["caught_up"] = json!(done.has_caught_up);
            one
        });
        all["streams"] = streams.collect();
        all
    }

    fn counts(&self, summary: &Summary) -> Value {
        json!({
            "records": summary.records,
            "documents": summary.documents,
            "chunks_embedded": summary.chunks_embedded,
            "chunks_unchanged": summary.chunks_unchanged,
            "rows_rewritten": summary.rows_rewritten,
            "rows_deleted": summary.rows_deleted,
            "dead_letters": summary.dead_letters,
            "replays": summary.replays,
            "tokens_embedded": summary.tokens_embedded,
            "tokens_per_second": self.tokens_per_second(summary),
        })
    }

    fn tokens_per_second(&self, summary: &Summary) -> f64 {
        summary.tokens_embedded as f64 / self.took.as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(caught_up: &[bool]) -> Report {
        let summary = Summary {
            received: 12,
            records: 10,
            documents: 8,
            chunks_embedded: 20,
            tokens_embedded: 600,
            chunks_unchanged: 30,
            rows_rewritten: 4,
            rows_deleted: 3,
            dead_letters: 1,
            replays: 2,
        };
        let streams = caught_up.iter().enumerate().map(|(index, &has_caught_up)| Done {
            name: format!("s{index}"),
            topic: format!("t{index}"),
            has_caught_up,
            summary,
        });
        Report { streams: streams.collect(), took: Duration::from_secs(2) }
    }

    #[test]
    fn one_stream_is_one_line_without_a_name() {
        assert_eq!(
            report(&[true]).text(),
            "caught up after 2.0 s: 10 records, 8 documents, 20 chunks embedded (300 tokens/s), \
             30 unchanged, 4 rewritten, 3 deleted, 1 dead letters, 2 replays"
        );
    }

    #[test]
    fn several_streams_are_told_apart_and_summed_up() {
        let report = report(&[true, false]);
        assert!(!report.has_caught_up() && report.dead_letters() == 2);
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("s0: caught up after 2.0 s: 10 records"), "{text}");
        assert!(lines[1].starts_with("s1: not caught up, ended after 2.0 s:"), "{text}");
        let json = report.json();
        assert_eq!(json["records"], 20);
        assert_eq!(
            (&json["caught_up"], &json["streams"][0]["caught_up"]),
            (&json!(false), &json!(true))
        );
        assert_eq!((&json["tokens_per_second"], &json["seconds"]), (&json!(600.0), &json!(2.0)));
        assert_eq!(json["streams"][1]["topic"], "t1");
    }
}
