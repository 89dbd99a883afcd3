//! How far the streams of a worker are, for query workers.

use livedex_query::watermarks::Look;
use livedex_wire::watermarks::{PartitionWatermark, WatermarksV1};

use crate::stream::Stream;

/// Looks at the streams' sources, time after time.
pub(super) fn look(streams: &[Stream]) -> Look {
    let streams = streams.to_vec();
    Box::new(move || streams.iter().map(of).collect())
}

/// The worker and the time are filled in where it is sent.
fn of(stream: &Stream) -> WatermarksV1 {
    let partitions = match stream.last.get() {
        Some(last) => last.clone(),
        None => stream.source.partitions(),
    };
    WatermarksV1 {
        worker: String::new(),
        collection: stream.collection.clone(),
        // One that was made before there were identities is known by its name.
        identity: match stream.identity.as_str() {
            "" => stream.collection.clone(),
            identity => identity.to_owned(),
        },
        topic: stream.topic.clone(),
        partitions: partitions
            .iter()
            .filter_map(|status| {
                // Before the first record: where it begins to read, behind what is committed. A topic that
                // was made again ends before that.
                let end = status.end.unwrap_or(i64::MAX);
                let start = status.span.map(|span| span.start.min(end));
                let watermark = status.watermark.or(status.committed).or(start)?;
                Some(PartitionWatermark { partition: status.partition, watermark, end: status.end })
            })
            .collect(),
        at: 0,
    }
}
