//! The status for scripts.

use serde_json::{Value, json};

use super::{Answer, Status, StreamStatus, total_lag, worker::Worker};

impl Status {
    /// One object; whoever did not answer is an object with `error` alone.
    pub(super) fn json(&self) -> Value {
        json!({
            "streams": self.streams.iter().map(StreamStatus::json).collect::<Vec<_>>(),
            "services": or_error(&self.services, |services| json!(services)),
            "workers": self.workers.iter().map(Worker::json).collect::<Vec<_>>(),
        })
    }
}

fn or_error<T>(answer: &Answer<T>, value: impl FnOnce(&T) -> Value) -> Value {
    match answer {
        Ok(answer) => value(answer),
        Err(error) => json!({ "error": error }),
    }
}

impl StreamStatus {
    fn json(&self) -> Value {
        json!({
            "stream": self.name,
            "topic": self.topic,
            "group": self.group,
            "collection": self.collection,
            "kafka": or_error(&self.kafka, |partitions| json!({
                "lag": total_lag(partitions),
                "partitions": partitions.iter().map(|p| json!({
                    "partition": p.partition,
                    "watermark": p.committed,
                    "low": p.low,
                    "end": p.high,
                    "lag": p.lag,
                })).collect::<Vec<_>>(),
            })),
            "milvus": or_error(&self.milvus, |found| match found {
                Some((info, rows)) => json!({
                    "rows": rows,
                    "dimension": info.dimension,
                    "model": info.model,
                    "fingerprint": info.fingerprint,
                }),
                None => Value::Null,
            }),
        })
    }
}

impl Worker {
    fn json(&self) -> Value {
        json!({
            "url": self.url,
            "status": or_error(&self.answer, |status| json!(status)),
        })
    }
}
