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
    let partitions = stream.source.partitions();
    WatermarksV1 {
        worker: String::new(),
        collection: stream.collection.clone(),
        identity: stream.identity.clone(),
        topic: stream.topic.clone(),
        partitions: partitions
            .iter()
            .filter_map(|status| {
                // Before the first record: where it begins to read, behind what is committed.
                let start = status.span.map(|span| span.start);
                let watermark = status.watermark.or(status.committed).or(start)?;
                Some(PartitionWatermark { partition: status.partition, watermark, end: status.end })
            })
            .collect(),
        at: 0,
    }
}
