//! How far was replayed: the mark moves with a replay of everything, and with no other.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use livedex_core::record::Stage;
use livedex_kafka::{Admin, TopicSpec, replay_group};
use livedex_testkit::wait::until;

use crate::support::{Case, SOON, keys, sorted_keys};

/// The committed offset of each partition of the dead-letter topic.
async fn marks(case: &Case) -> Result<Vec<Option<i64>>> {
    let group = replay_group(&case.kafka);
    let lags = Admin::new(&case.kafka).lag(&group, &case.kafka.dead_letter_topic).await?;
    Ok(lags.into_iter().map(|lag| lag.committed).collect())
}

/// Letters behind the marks.
async fn n_left(case: &Case) -> Result<i64> {
    let group = replay_group(&case.kafka);
    let lags = Admin::new(&case.kafka).lag(&group, &case.kafka.dead_letter_topic).await?;
    Ok(lags.into_iter().map(|lag| lag.lag).sum())
}

pub(crate) async fn a_replay_goes_on_where_the_last_one_ended(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    ensure!(case.dlq(&["replay"])?.success()?.stdout == "replayed 0\n");
    case.bury_keys(&["a", "b", "c", "d", "e"]).await?;
    case.dlq(&["replay"])?.success()?;
    ensure!(sorted_keys(&case.source().await?) == ["a", "b", "c", "d", "e"]);
    ensure!(n_left(&case).await? == 0);

    let again = case.dlq(&["replay"])?.success()?.stdout;
    ensure!(again.contains("replayed 0\n5 before the mark"), "{again}");
    ensure!(case.source().await?.len() == 5);

    case.bury_keys(&["f", "g"]).await?;
    ensure!(case.dlq(&["replay"])?.success()?.stdout.starts_with("replayed 2 to "));
    ensure!(sorted_keys(&case.source().await?) == ["a", "b", "c", "d", "e", "f", "g"]);

    // All of them once more, and the mark does not go back.
    let marks_before = marks(&case).await?;
    ensure!(
        case.dlq(&["replay", "--all", "--limit", "3"])?.success()?.stdout.contains("replayed 3")
    );
    ensure!(case.source().await?.len() == 10);
    ensure!(marks(&case).await? == marks_before);

    // In portions, each once.
    let more = ["h", "i", "j", "k", "l"];
    case.bury_keys(&more).await?;
    for portion in [2, 2, 1, 0] {
        let finished = case.dlq(&["replay", "--limit", "2"])?.success()?;
        let expected = format!("replayed {portion}");
        ensure!(finished.stdout.starts_with(&expected), "{}", finished.stdout);
    }
    let found = keys(&case.source().await?);
    for key in more {
        ensure!(found.iter().filter(|found| *found == key).count() == 1, "{key}: {found:?}");
    }
    Ok(())
}

pub(crate) async fn a_narrowed_replay_leaves_the_mark_alone(brokers: &str) -> Result<()> {
    let case = Case::new(brokers).await?;
    let other = format!("{}.other", case.kafka.topic);
    Admin::new(&case.kafka).ensure_topics(&[TopicSpec::new(&other, 1)]).await?;
    case.bury_keys(&["a", "b", "a"]).await?;
    let record = case.record(Some(b"c"), None);
    case.bury(&record, Stage::Write, "StoreError.Reject").await?;
    let letters = case.listed(&["--key", "b"])?;
    let at = letters[0].letter.as_ref().context("no place")?;
    let place = format!("{}:{}", at.partition, at.offset);

    for (arguments, n) in [
        (&["--key", "a"][..], 2),
        (&["--stage", "write"], 1),
        (&["--reason", "DecodeError", "--limit", "1"], 1),
        (&["--since", "1h"], 4),
        (&["--until", "1h"], 0),
        (&[&place], 1),
        (&[&place, &place], 2),
        (&["--to", &other], 4),
        (&["--dry-run"], 4),
    ] {
        let finished = case.dlq(&[&["replay"], arguments].concat())?.success()?;
        let words = format!("replay{} {n}", if arguments == ["--dry-run"] { "" } else { "ed" });
        ensure!(finished.stdout.contains(&words), "{arguments:?}: {}", finished.stdout);
        ensure!(marks(&case).await?.iter().all(Option::is_none), "{arguments:?}");
    }
    ensure!(case.source().await?.len() == 2 + 1 + 1 + 4 + 1 + 2);
    // So the next replay of everything has everything.
    ensure!(case.dlq(&["replay"])?.success()?.stdout.starts_with("replayed 4 to "));

    let nowhere = case.dlq(&["replay", "0:4711"])?;
    ensure!(nowhere.status.code() == Some(3), "{}", nowhere.status);
    ensure!(nowhere.stdout.contains("nothing is there; the first is 0:4711"), "{}", nowhere.stdout);
    ensure!(case.dlq(&["replay", &place, "--all"])?.status.code() == Some(2));
    Ok(())
}

pub(crate) async fn the_mark_stays_before_what_could_still_be_replayed(
    brokers: &str,
) -> Result<()> {
    let case = Case::new(brokers).await?;
    let late = format!("{}.late", case.kafka.topic);
    // One key, so that all lie in one partition of the dead-letter topic.
    case.bury_keys(&["k"]).await?;
    let mut record = case.record(Some(b"k"), Some(b"late"));
    record.position.topic = late.as_str().into();
    case.bury(&record, Stage::Decode, "DecodeError.Json").await?;
    case.bury_keys(&["k"]).await?;

    let finished = case.dlq(&["replay"])?;
    ensure!(finished.status.code() == Some(3) && finished.stdout.starts_with("replayed 2"));
    ensure!(n_left(&case).await? >= 2, "{:?}", marks(&case).await?);
    ensure!(marks(&case).await?.contains(&Some(1)), "{:?}", marks(&case).await?);

    // Once its topic is there it goes, and what came behind it a second time.
    Admin::new(&case.kafka).ensure_topics(&[TopicSpec::new(&late, 1)]).await?;
    let finished = case.dlq(&["replay"])?.success()?;
    ensure!(finished.stdout.contains(&format!("1 to {late}")), "{}", finished.stdout);
    ensure!(case.source().await?.len() == 3);
    ensure!(case.dlq(&["replay"])?.success()?.stdout.starts_with("replayed 0\n3 before the mark"));
    Ok(())
}

pub(crate) async fn a_replay_that_is_killed_leaves_nothing_out(brokers: &str) -> Result<()> {
    const LETTERS: usize = 700;
    const BATCH: i64 = 500;
    let case = Case::new(brokers).await?;
    let names: Vec<String> = (0..LETTERS).map(|n| format!("k{n:03}")).collect();
    for names in names.chunks(100) {
        let one = |name: &String| case.record(Some(name.as_bytes()), Some(b"{}"));
        let records: Vec<_> = names.iter().map(one).collect();
        let sends = records.iter().map(|r| case.bury(r, Stage::Decode, "DecodeError.Json"));
        futures::future::try_join_all(sends).await?;
    }
    // Each record waits before it goes, and all are of one source partition: some seconds in all.
    let config = std::fs::read_to_string(case.livedex.config())?;
    let slow = format!("{config}[kafka.properties]\n\"linger.ms\" = \"10\"\n");
    std::fs::write(case.livedex.config(), slow)?;

    // In its first batch, and behind it.
    for (n_sent, n_marked) in [(1, 0), (BATCH + 1, BATCH)] {
        let before = case.end_of_source().await?;
        let mut replay = case.livedex.start(&["dlq", "replay"])?;
        until("records are sent", SOON, || {
            let running = replay.still_runs();
            let case = &case;
            async move {
                running?;
                let sent = case.end_of_source().await? - before;
                Ok(if sent >= n_sent { Ok(()) } else { Err(format!("{sent} so far")) })
            }
        })
        .await?;
        replay.kill();
        let left = n_left(&case).await?;
        ensure!(left == i64::try_from(LETTERS)? - n_marked, "{left} left, {n_marked} marked");
        let n_sent = case.end_of_source().await? - before;
        ensure!(n_sent < i64::try_from(LETTERS)?, "all were sent before it was killed");
    }

    std::fs::write(case.livedex.config(), config)?;
    let finished = case.dlq(&["replay"])?.success()?;
    let expected = format!("replayed {} to ", i64::try_from(LETTERS)? - BATCH);
    ensure!(finished.stdout.starts_with(&expected), "{}", finished.stdout);
    let found: BTreeSet<String> = keys(&case.source().await?).into_iter().collect();
    ensure!(found == names.into_iter().collect(), "{} of {LETTERS}", found.len());
    ensure!(n_left(&case).await? == 0);
    Ok(())
}
