//! The servers that the other suites stand on: started, reached, killed, gone.

use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use livedex_testkit::{Broker, Kafka, MilvusLite, Nats, Need, Suite};

fn main() -> ExitCode {
    Suite::new()
        .test("apache_kafka_survives_a_kill_and_ends_with_its_handle", &[Need::ApacheKafka], || {
            let mut kafka = Kafka::start()?;
            let address = kafka.brokers();
            ensure!(reachable(&address));
            kafka.kill();
            ensure!(!reachable(&address));
            kafka.start_again()?;
            ensure!(kafka.brokers() == address && reachable(&address));
            drop(kafka);
            ensure!(!reachable(&address));
            Ok(())
        })
        .test("a_server_ends_when_its_test_panics", &[Need::ApacheKafka], || {
            let (sender, addresses) = std::sync::mpsc::channel();
            let test = std::thread::spawn(move || {
                let kafka = Kafka::start().map_err(|error| error.to_string());
                sender.send(kafka.as_ref().map(Kafka::brokers).map_err(Clone::clone)).ok();
                std::panic::resume_unwind(Box::new("a failing test"));
            });
            let address = addresses.recv()?.map_err(anyhow::Error::msg)?;
            ensure!(test.join().is_err());
            ensure!(!reachable(&address));
            Ok(())
        })
        .test("the_embedded_broker_ends_with_its_handle", &[], || {
            let broker = Broker::start_embedded()?;
            let address = broker.brokers();
            ensure!(reachable(&address));
            drop(broker);
            eventually("the port is closed", || !reachable(&address))
        })
        .test("nats_and_milvus_lite_end_with_their_handles", &[Need::LocalServers], || {
            let nats = Nats::start()?;
            let milvus = MilvusLite::start()?;
            let addresses = [nats.url(), milvus.uri()]
                .map(|url| url.rsplit('/').next().unwrap_or_default().to_owned());
            ensure!(addresses.iter().all(|address| reachable(address)));
            drop((nats, milvus));
            ensure!(!addresses.iter().any(|address| reachable(address)));
            Ok(())
        })
        .run()
}

fn reachable(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        ensure!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
