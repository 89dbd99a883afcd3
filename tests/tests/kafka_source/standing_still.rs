//! A member whose process is stopped and goes on later: a signal here, a paused virtual machine
//! elsewhere. The member is this suite's own binary, started a second time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use livedex_core::ports::{Acknowledger, RecordSource as _, SourceEvent};
use livedex_core::record::RawRecord;
use livedex_kafka::{EndMode, KafkaConfig, KafkaSource};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    PATIENCE, committed, eventually, existing, finish, fresh, publish, read_to_end, total_lag,
};

/// Says to the suite's binary that it is a member: `brokers topic`.
const MEMBER: &str = "LIVEDEX_TEST_MEMBER";

const N: usize = 100;

/// The shortest session that the broker allows, and what it leaves of it: see
/// [`KafkaConfig::write_timeout`].
const SESSION: &str = "6000";
const BEYOND_THE_ROOM: Duration = Duration::from_millis(4200);

fn short_session(mut config: KafkaConfig) -> KafkaConfig {
    config.properties.insert("session.timeout.ms".to_owned(), SESSION.to_owned());
    config
}

/// Another member has got the partition and has gone further. The one that wakes writes nothing
/// and commits nothing, and takes part again.
pub(crate) async fn a_process_stopped_beyond_the_session_keeps_nothing(
    brokers: &str,
) -> Result<()> {
    let config = short_session(fresh(brokers, 1).await?);
    publish(&config, N, 10).await?;
    let stopped = Member::start(&config)?;
    stopped.says("holds 100 from 0").await?;
    stopped.signal(Signal::SIGSTOP)?;

    let mut other = KafkaSource::start(&config, EndMode::Forever)?;
    let (acks, monitor) = (other.acknowledger(), other.monitor());
    let records = read_to_end(&mut other).await?;
    ensure!(records.len() == N);
    for record in &records[..60] {
        finish(&acks, record);
    }
    eventually("the commit", || monitor.partitions()[0].committed == Some(60)).await?;

    stopped.signal(Signal::SIGCONT)?;
    // Before its poll thread has run at all.
    stopped.says("woke with 0 live leases").await?;
    // It has reported all it had as finished. Had it committed that, nothing were left to read.
    other.close(PATIENCE).await?;
    stopped.says("holds 40 from 60").await?;
    stopped.finish_and_leave().await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

/// The coordinator has not noticed, and nobody else has the partition. Some lease may have been
/// found dead all the same, so everything is read again.
pub(crate) async fn a_process_stopped_within_the_session_reads_again(brokers: &str) -> Result<()> {
    let config = short_session(fresh(brokers, 1).await?);
    publish(&config, N, 10).await?;
    let member = Member::start(&config)?;
    member.says("holds 100 from 0").await?;
    member.signal(Signal::SIGSTOP)?;
    tokio::time::sleep(BEYOND_THE_ROOM).await;
    member.signal(Signal::SIGCONT)?;
    member.says("woke with 0 live leases").await?;
    member.says("holds 100 from 0").await?;
    ensure!(committed(&config).await? == [None], "what was given up is committed");
    member.finish_and_leave().await?;
    ensure!(total_lag(&config).await? == 0);
    Ok(())
}

/// The member's process, as the test sees it. Killed on drop.
struct Member {
    process: Mutex<Child>,
    lines: Mutex<mpsc::Receiver<String>>,
}

impl Member {
    fn start(config: &KafkaConfig) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(MEMBER, format!("{} {}", config.brokers, config.topic))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("no output")?;
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        Ok(Self { process: Mutex::new(process), lines: Mutex::new(lines) })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(lock(&self.process).id())?), signal)?)
    }

    /// Waits until it says `expected`, which must be what it says next.
    async fn says(&self, expected: &str) -> Result<()> {
        let mut said = None;
        eventually(expected, || {
            let lines = lock(&self.lines);
            said = lines.try_recv().ok();
            said.is_some()
        })
        .await?;
        ensure!(said.as_deref() == Some(expected), "it says {said:?}, expected is {expected}");
        Ok(())
    }

    async fn finish_and_leave(&self) -> Result<()> {
        // The end of its input tells it to.
        drop(lock(&self.process).stdin.take());
        self.says("left").await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut process = lock(&self.process);
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// The member's own part, if this process is one: holds what it reads, and looks at the leases as
/// soon as it goes on after a stop.
pub(crate) fn member() -> Option<Result<()>> {
    let given = std::env::var(MEMBER).ok()?;
    Some(crate::block_on(async move {
        let Some((brokers, topic)) = given.split_once(' ') else { bail!("`{given}`") };
        let config = short_session(existing(brokers, topic));
        let mut source = KafkaSource::start(&config, EndMode::Forever)?;
        let acks = source.acknowledger();
        let held = Arc::new(Mutex::new(Vec::new()));
        watch(Arc::clone(&held), source.acknowledger());

        // The end of the input is the sign to leave.
        let leave = std::thread::spawn(|| std::io::stdin().lines().count());
        let mut read: Vec<RawRecord> = Vec::new();
        while !leave.is_finished() {
            match tokio::time::timeout(Duration::from_millis(50), source.next()).await {
                Ok(Some(Ok(SourceEvent::Records(records)))) => read.extend(records),
                Ok(Some(Ok(SourceEvent::CaughtUp))) => {
                    if let Some(first) = read.first() {
                        say(&format!("holds {} from {}", read.len(), first.position.offset));
                        *lock(&held) = std::mem::take(&mut read);
                    }
                }
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(None) => bail!("the source ended"),
                Err(_) => {}
            }
        }
        for record in lock(&held).iter() {
            finish(&acks, record);
        }
        source.close(PATIENCE).await?;
        say("left");
        Ok(())
    }))
}

/// Notices a stop as its own clock's jump, looks at the leases, and reports all records as
/// finished, as a pipeline would whose write had come back.
fn watch(held: Arc<Mutex<Vec<RawRecord>>>, acks: Arc<dyn Acknowledger>) {
    std::thread::spawn(move || {
        let mut last = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(1));
            if last.elapsed() > BEYOND_THE_ROOM / 2 {
                let held = lock(&held);
                let n_live = held.iter().filter(|record| record.lease.is_live()).count();
                say(&format!("woke with {n_live} live leases"));
                for record in held.iter() {
                    finish(&acks, record);
                }
            }
            last = Instant::now();
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line, whole and at once.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
