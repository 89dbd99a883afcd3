//! An embedded Kafka broker: Tansu, inside this process, with its data in one SQLite file.
//!
//! It has threads of its own, so a test on a single-threaded runtime, or one that blocks in a Kafka
//! client, cannot starve it. Known limits (measured with librdkafka): no snappy, no automatic topic
//! creation, no `group.protocol=consumer`; its table of headers has no index, so that a fetch of many
//! records with headers takes quadratic time (3,000 dead letters 7 s, 10,000 more than half a minute).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rama::{Context, Service as _};
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_storage::{BrokerRegistrationRequest, Storage as _, StorageContainer, TopicId, Topition};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::error::LocalError;
use crate::port::{self, Service};

/// Names the data inside the SQLite file: another name would not see the topics of earlier runs.
const CLUSTER: &str = "livedex-local";

/// The id under which clients see this broker.
const NODE: i32 = 1;

/// The file in the broker's folder.
const DATABASE: &str = "broker.db";

/// How often retention and compaction run.
const MAINTENANCE: Duration = Duration::from_mins(10);

/// How long open connections may take to finish at the end.
const GRACE: Duration = Duration::from_secs(2);

/// A running broker on 127.0.0.1. Dropping it ends it; its data stays.
#[derive(Debug)]
pub struct EmbeddedKafka {
    threads: Threads,
    storage: StorageContainer,
    stopping: CancellationToken,
    port: u16,
    // The name by which SQLite reaches the folder must outlive the broker.
    _name: Option<tempfile::TempDir>,
}

impl EmbeddedKafka {
    /// Starts it with its data in `dir`; it accepts clients when this returns. Port 0 takes a free one.
    pub fn start(dir: &Path, port: u16) -> Result<Self, LocalError> {
        port::require_free(Service::Kafka, port)?;
        fs::create_dir_all(dir).map_err(LocalError::io("cannot create", dir))?;
        let (folder, name) = plain_name(dir)?;
        let threads = Threads::start()?;
        let stopping = CancellationToken::new();
        let (storage, port) = threads.block_on(async {
            let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
                .await
                .map_err(|_| LocalError::PortInUse { service: Service::Kafka, port })?;
            let port = listener.local_addr().map_err(|e| broken("no address", &e))?.port();
            let storage = open(&folder.join(DATABASE), port, stopping.clone()).await?;
            let groups = Controller::with_storage(storage.clone())
                .map_err(|error| broken("cannot start the group coordinator", &error))?;
            tokio::spawn(serve(listener, storage.clone(), groups, stopping.clone()));
            Ok::<_, LocalError>((storage, port))
        })?;
        Ok(Self { threads, storage, stopping, port, _name: name })
    }

    /// Creates a topic unless it is there. Returns the number of its partitions, which is the old one
    /// if it was there.
    pub fn ensure_topic(&self, name: &str, partitions: u16) -> Result<u16, LocalError> {
        self.threads.block_on(async {
            if let Some(existing) = partitions_of(&self.storage, name).await? {
                return Ok(existing);
            }
            let topic = CreatableTopic::default()
                .name(name.to_owned())
                .num_partitions(i32::from(partitions))
                .replication_factor(1)
                .assignments(Some(Vec::new()))
                .configs(Some(Vec::new()));
            self.storage
                .create_topic(topic, false)
                .await
                .map_err(|error| broken(&format!("cannot create the topic {name}"), &error))?;
            Ok(partitions)
        })
    }

    /// How many records a topic has taken since it was created.
    pub fn records(&self, topic: &str) -> Result<u64, LocalError> {
        // A group without a name never committed anything.
        self.lag("", topic)
    }

    /// How many records of a topic a consumer group has not committed yet, over all partitions. A
    /// group that never committed has all of them before it.
    pub fn lag(&self, group: &str, topic: &str) -> Result<u64, LocalError> {
        self.threads.block_on(async {
            let asked = |error: tansu_storage::Error| broken("cannot read its offsets", &error);
            let partitions = partitions_of(&self.storage, topic).await?.unwrap_or(0);
            let committed = self.storage.committed_offset_topitions(group).await.map_err(asked)?;
            let mut lag = 0;
            for partition in 0..i32::from(partitions) {
                let place = Topition::new(topic, partition);
                let end = self.storage.offset_stage(&place).await.map_err(asked)?.high_watermark();
                let done = committed.get(&place).copied().unwrap_or(0);
                lag += u64::try_from(end - done).unwrap_or(0);
            }
            Ok(lag)
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bootstrap address for clients.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for EmbeddedKafka {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The broker's own threads. Both using and dropping a runtime block, which is forbidden on another
/// runtime's threads, and a caller may well be on one: so both happen on a thread in between.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self, LocalError> {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kafka")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| broken("cannot start its threads", &error))
    }

    fn block_on<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let Some(runtime) = &self.0 else { unreachable!("only dropping takes it") };
        std::thread::scope(|scope| {
            let work = scope.spawn(|| runtime.block_on(work));
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A panic over there has been reported already.
            let _ = std::thread::spawn(move || runtime.shutdown_timeout(GRACE)).join();
        }
    }
}

async fn open(
    database: &Path,
    port: u16,
    stopping: CancellationToken,
) -> Result<StorageContainer, LocalError> {
    let url = |text: String| Url::parse(&text).map_err(|error| broken(&text, &error));
    let storage = StorageContainer::builder()
        .cluster_id(CLUSTER)
        .node_id(NODE)
        .advertised_listener(url(format!("tcp://127.0.0.1:{port}"))?)
        // The storage engine takes one slash off the path and appends the rest to the working folder:
        // with a second slash that rest is absolute and stands alone.
        .storage(url(format!("sqlite:///{}", database.display()))?)
        .silent(true)
        .cancellation(stopping)
        .build()
        .await
        .map_err(|error| broken(&format!("cannot open {}", database.display()), &error))?;
    let registration = BrokerRegistrationRequest {
        broker_id: NODE,
        cluster_id: CLUSTER.to_owned(),
        incarnation_id: Uuid::nil(),
        rack: None,
    };
    storage
        .register_broker(registration)
        .await
        .map_err(|error| broken(&format!("cannot use {}", database.display()), &error))?;
    Ok(storage)
}

/// Accepts clients until `stopping`. Tansu's own loop is not used: it has no way to be stopped from
/// outside, and it cannot say which free port it got.
async fn serve(
    listener: TcpListener,
    storage: StorageContainer,
    groups: Controller<StorageContainer>,
    stopping: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut maintenance = tokio::time::interval(MAINTENANCE);
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, storage.clone(), groups.clone()));
                }
                // Out of file descriptors, or a client that went away: the next one may be fine.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a Kafka client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = maintenance.tick() => {
                let storage = storage.clone();
                connections.spawn(async move {
                    if let Err(error) = storage.maintain(SystemTime::now()).await {
                        tracing::warn!(%error, "retention and compaction failed");
                    }
                });
            }
            // Only to forget the finished ones.
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    storage: StorageContainer,
    groups: Controller<StorageContainer>,
) {
    // A client that is gone already shows at its first read.
    let _ = stream.set_nodelay(true);
    let service = match tansu_broker::service::services(CLUSTER, groups, storage, None) {
        Ok(service) => service,
        Err(error) => {
            tracing::warn!(%error, "cannot serve a Kafka client");
            return;
        }
    };
    // Most of these are clients that hang up, which is how every Kafka connection ends.
    if let Err(error) = service.serve(Context::default(), stream).await {
        tracing::debug!(%error, "a Kafka connection ended");
    }
}

async fn partitions_of(storage: &StorageContainer, name: &str) -> Result<Option<u16>, LocalError> {
    let topics = [TopicId::Name(name.to_owned())];
    let metadata = storage
        .metadata(Some(&topics))
        .await
        .map_err(|error| broken("cannot list its topics", &error))?;
    let found = metadata
        .topics()
        .iter()
        .find(|topic| topic.error_code == 0 && topic.name.as_deref() == Some(name));
    Ok(found.and_then(|topic| u16::try_from(topic.partitions.as_ref()?.len()).ok()))
}

/// A name for `dir` that a URL carries unchanged, since the storage engine takes the path from a URL
/// without decoding it: a link in the temporary folder where `dir` has spaces, umlauts and the like.
fn plain_name(dir: &Path) -> Result<(PathBuf, Option<tempfile::TempDir>), LocalError> {
    let dir = dir.canonicalize().map_err(LocalError::io("cannot find", dir))?;
    let plain = |path: &Path| {
        path.to_str().is_some_and(|text| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@=,~".contains(&byte))
        })
    };
    if plain(&dir) {
        return Ok((dir, None));
    }
    let temp = tempfile::Builder::new()
        .prefix("livedex-")
        .tempdir()
        .map_err(LocalError::io("cannot create a folder in", std::env::temp_dir()))?;
    let link = temp.path().join("kafka");
    std::os::unix::fs::symlink(&dir, &link).map_err(LocalError::io("cannot link", &link))?;
    Ok((link, Some(temp)))
}

fn broken(what: &str, error: &dyn std::fmt::Display) -> LocalError {
    LocalError::Broker { reason: format!("{what}: {error}") }
}
