//! Random event streams against a model: in the end the collection holds the last version of each
//! document and nothing else, whatever the waves looked like and whatever was away in between.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::Ordering,
};

use livedex_core::{
    document::Change,
    ids::ChunkId,
    lease::Lease,
    ports::{Decoder, ServiceError},
    record::RawRecord,
    row::{ChunkFields, prepare},
};
use livedex_ingest::PipelineConfig;
use proptest::prelude::*;

use crate::{fakes::*, rig::*};

#[derive(Debug, Clone)]
enum Op {
    Upsert { document: usize, label: u8, sections: Vec<u8> },
    Delete { document: usize },
    Poison { document: usize },
    Unspeakable { document: usize },
}

#[derive(Debug, Clone)]
struct Case {
    ops: Vec<Op>,
    batch: usize,
    wave_records: usize,
    waves_in_flight: usize,
    /// Every n-th request to the store fails for now.
    fail_every: usize,
    /// Where the second run starts, as a fraction of each partition.
    resume: f64,
}

const N_PARTITIONS: usize = 2;

fn op() -> impl Strategy<Value = Op> {
    let document = 0..5usize;
    prop_oneof![
        8 => (document.clone(), 0..3u8, proptest::collection::vec(0..8u8, 0..6))
            .prop_map(|(document, label, sections)| Op::Upsert { document, label, sections }),
        2 => document.clone().prop_map(|document| Op::Delete { document }),
        1 => document.clone().prop_map(|document| Op::Poison { document }),
        1 => document.prop_map(|document| Op::Unspeakable { document }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let ops = proptest::collection::vec(op(), 1..40);
    (ops, 1..10usize, 1..12usize, 1..4usize, 2..9usize, 0.0..1.0f64).prop_map(
        |(ops, batch, wave_records, waves_in_flight, fail_every, resume)| Case {
            ops,
            batch,
            wave_records,
            waves_in_flight,
            fail_every,
            resume,
        },
    )
}

fn records(ops: &[Op], leases: &[Lease]) -> Vec<RawRecord> {
    let mut next_offset = [0; N_PARTITIONS];
    let world = World::new();
    ops.iter()
        .map(|op| {
            let (document, value) = match op {
                Op::Upsert { document, label, sections } => {
                    let names: Vec<String> = sections.iter().map(|n| format!("s{n}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    (document, Some(value(&label.to_string(), &names)))
                }
                Op::Delete { document } => (document, None),
                Op::Poison { document } => (document, Some("!".to_owned())),
                Op::Unspeakable { document } => (document, Some(value("u", &["UNSPEAKABLE"]))),
            };
            let partition = document % N_PARTITIONS;
            let mut record =
                world.record(next_offset[partition], &format!("d{document}"), value.as_deref());
            record.position.partition = partition as i32;
            record.lease = leases[partition].clone();
            next_offset[partition] += 1;
            record
        })
        .collect()
}

/// What the collection must hold: id to fields, without the position.
fn expected(records: &[RawRecord]) -> BTreeMap<ChunkId, ChunkFields> {
    let chunker = World::chunker();
    let mut last: BTreeMap<String, Vec<ChunkFields>> = BTreeMap::new();
    for record in records {
        match TestDecoder::default().decode(record) {
            Ok(Change::Upsert(document)) if !document.text.contains("UNSPEAKABLE") => {
                let chunked = chunker.chunk(&document).unwrap();
                let rows = prepare(&document, chunked, "f", &record.position);
                last.insert(
                    document.key.to_string(),
                    rows.into_iter().map(|row| row.fields).collect(),
                );
            }
            Ok(Change::Delete(key)) => {
                last.remove(&key.to_string());
            }
            _ => {}
        }
    }
    last.into_values().flatten().map(|fields| (fields.id.clone(), fields)).collect()
}

fn check(world: &World, records: &[RawRecord]) {
    let expected = expected(records);
    let rows = world.store.rows.lock().unwrap();
    let ids: Vec<&ChunkId> = rows.keys().collect();
    assert_eq!(ids, expected.keys().collect::<Vec<_>>());
    for (id, row) in rows.iter() {
        let position = row.fields.position.clone();
        let fields = ChunkFields { position, ..expected[id].clone() };
        assert_eq!(row.fields, fields);
        let text = livedex_core::chunk::embed_text(&fields.title, &fields.heading, &fields.text);
        assert_eq!(row.vector, vector(&text));
    }
}

async fn run(world: &World, case: &Case, records: &[RawRecord]) {
    let running = world.start(PipelineConfig {
        wave_records: case.wave_records,
        waves_in_flight: case.waves_in_flight,
        ..config()
    });
    for records in records.chunks(case.batch) {
        running.send(records.to_vec());
    }
    let summary = running.finish().await.unwrap();
    assert_eq!(summary.records as usize, records.len());
}

fn fail_every<T>(n: usize) -> Option<Switch<T>> {
    let mut calls = 0;
    Some(Box::new(move |_| {
        calls += 1;
        (calls % n == 0).then(|| ServiceError::Unknown("no answer".into()))
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_collection_ends_as_the_last_version_of_each_document(case in case()) {
        block_on(async {
            let world = World::new();
            *world.store.read_fault.lock().unwrap() = fail_every(case.fail_every);
            *world.store.upsert_fault.lock().unwrap() = fail_every(case.fail_every + 1);
            *world.store.delete_fault.lock().unwrap() = fail_every(case.fail_every + 2);
            *world.store.entry_fault.lock().unwrap() = fail_every(case.fail_every);
            let leases = [Lease::new(), Lease::new()];
            let records = records(&case.ops, &leases);
            run(&world, &case, &records).await;
            check(&world, &records);

            let acked: HashSet<_> = world.acks.0.lock().unwrap().iter().cloned().collect();
            assert_eq!(acked.len(), records.len(), "each record is acknowledged");
            // A document that cannot be embedded is a dead letter unless a later one of its wave
            // took its place.
            let n_of = |wanted: fn(&Op) -> bool| case.ops.iter().filter(|op| wanted(op)).count();
            let n_poison = n_of(|op| matches!(op, Op::Poison { .. }));
            let n_unspeakable = n_of(|op| matches!(op, Op::Unspeakable { .. }));
            let n_letters = world.letters.letters.lock().unwrap().len();
            assert!((n_poison..=n_poison + n_unspeakable).contains(&n_letters));

            // A document that is never deleted nor emptied is never absent once it is there.
            for document in 0..5 {
                let vanishes = case.ops.iter().any(|op| match op {
                    Op::Delete { document: d } => *d == document,
                    Op::Upsert { document: d, sections, .. } => {
                        *d == document && sections.is_empty()
                    }
                    _ => false,
                });
                let id = key(&format!("d{document}"));
                assert!(vanishes || !world.store.absent.lock().unwrap().contains(&id));
            }

            // The same stream again from somewhere, as after a crash.
            let embedded = world.embedder.texts.load(Ordering::SeqCst);
            let writes = world.store.writes.load(Ordering::SeqCst);
            let mut left = [0; N_PARTITIONS];
            for record in &records {
                left[record.position.partition as usize] += 1;
            }
            let resumed: Vec<RawRecord> = records
                .iter()
                .filter(|record| {
                    let n = left[record.position.partition as usize];
                    record.position.offset >= (f64::from(n) * case.resume) as i64
                })
                .cloned()
                .collect();
            run(&world, &case, &resumed).await;
            check(&world, &records);
            // What was refused may be tried again; everything else leaves no trace.
            if n_unspeakable == 0 {
                let again = world.embedder.texts.load(Ordering::SeqCst) - embedded;
                assert_eq!(again, 0, "a replay embeds nothing");
                let again = world.store.writes.load(Ordering::SeqCst) - writes;
                assert_eq!(again, 0, "a replay writes nothing");
            }
        });
    }
}
