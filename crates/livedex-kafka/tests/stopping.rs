//! A member that stops while its group rebalances, on librdkafka's mock broker: it can be told to
//! refuse commits, and a real one does so only at moments that nobody can name.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;

use livedex_core::ports::{FinishedRecord, RecordSource, SourceEvent};
use livedex_kafka::{Admin, EndMode, KafkaConfig, KafkaSource, Publisher};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn commits_refused_during_a_rebalance_are_made_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        topic: "t".to_owned(),
        group: "g".to_owned(),
        // Only the last commit is made.
        commit_interval: Duration::from_secs(600),
        ..KafkaConfig::default()
    };
    let publisher = Publisher::new(&config).unwrap();
    publisher.publish("key", Some(b"value".to_vec()), Vec::new()).await.unwrap();

    let start = config.clone();
    let source = move || KafkaSource::start(&start, EndMode::UntilCaughtUp);
    let mut source = tokio::task::spawn_blocking(source).await.unwrap().unwrap();
    let acknowledger = source.acknowledger();
    let mut n_records = 0;
    while let Some(event) = source.next().await {
        if let SourceEvent::Records(records) = event.unwrap() {
            n_records += records.len();
            for record in &records {
                acknowledger.finish(&FinishedRecord {
                    position: record.position.clone(),
                    bytes: record.size(),
                    lease: record.lease.clone(),
                });
            }
        }
    }
    assert_eq!(n_records, 1);

    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refused; 5]);
    source.close(PATIENCE).await.unwrap();
    let lag = Admin::new(&config).lag("g", "t").await.unwrap();
    assert_eq!((lag[0].committed, lag[0].lag), (Some(1), 0));
}
