//! The whole way: documents onto the topic, `livedex run`, the collection read back whole,
//! questions over NATS meanwhile. On Apache Kafka and on the embedded broker.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_core::{
    dead_letter,
    document::Change,
    filter::{Comparison, Field, Filter, Value},
    query::{Consistency, QueryRequest},
    record::SourcePosition,
};
use livedex_query::{ClientError, NatsConfig, QueryClient};
use livedex_testkit::{
    Broker, Livedex, Need, Stack, Suite,
    binary::Running,
    stack::{header, runtime},
    wait::until,
    workload::Workload,
};
use livedex_wire::{error::ErrorCode, reply::ReplyV1};
use tokio::task::JoinSet;

/// For the whole stream through a debug build on two busy cores; it takes about a tenth of it.
const STREAM: Duration = Duration::from_secs(240);

/// For a worker to connect, load its models and answer.
const START: Duration = Duration::from_secs(60);

/// For one question.
const ANSWER: Duration = Duration::from_secs(20);

/// Questions that are on their way when a worker is told to stop.
const IN_FLIGHT: usize = 24;

/// How often a question is asked meanwhile.
const PACE: Duration = Duration::from_millis(200);

/// For a worker to take over from one that was stopped. Shorter than the session timeout (45 s):
/// one that left the group without a word would keep its partitions from the next for that long.
const TAKE_OVER: Duration = Duration::from_secs(30);

/// For a worker to finish what is in flight.
const STOP: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    Suite::new()
        .test("the_stream_on_apache_kafka", &[Need::ApacheKafka, Need::LocalServers], || {
            the_stream(Broker::start_apache()?)
        })
        .test("the_stream_on_the_embedded_broker", &[Need::LocalServers], || {
            the_stream(Broker::start_embedded()?)
        })
        .run()
}

/// 500 documents, 200 updates (some shorter), 100 deletes, records that are no documents between
/// them; then more updates across a stop and a start.
fn the_stream(broker: Broker) -> Result<()> {
    // Dropped last, outside of the runtime: stopping servers blocks.
    let stack = Stack::start(broker)?;
    let livedex = Livedex::new(&stack.config())?;
    let mut workload = Workload::new(20);
    let created = workload.create(500)?;
    runtime()?.block_on(async {
        // Half of it is there before the worker, half comes while it works.
        let (early, late) = created.split_at(250);
        stack.publish(early).await?;
        let mut worker = livedex.start(&["run"])?;
        let poison = publish_poison(&stack).await?;
        stack.publish(late).await?;
        let client = until_it_answers(&stack, &mut worker).await?;
        let updates = workload.update(200);
        ensure!(updates.len() == 200);
        stack.publish(&updates).await?;
        let deletes = workload.delete(100);
        ensure!(deletes.len() == 100);
        stack.publish(&deletes).await?;
        answered_until(&client, stack.until_committed(STREAM))
            .await
            .with_context(|| log(&worker))?;

        // What is committed is in the collection: it is read once, and not waited for.
        assert_clean(&stack, &workload).await?;
        poison_is_in_the_dead_letter_topic(&stack, &poison).await?;
        answers_follow_the_collection(&client, &workload, &deletes).await?;

        // Stopped in the middle of updates and questions, it finishes what it has begun; the
        // next one goes on from there.
        stack.publish(&workload.update(200)).await?;
        let questions = ask_at_once(&client).await?;
        let finished = tokio::task::spawn_blocking(move || worker.terminate(STOP)).await??;
        let finished = finished.success()?;
        ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        each_question_has_ended(questions).await?;

        let worker = livedex.start(&["ingest"])?;
        stack.until_committed(TAKE_OVER).await.with_context(|| log(&worker))?;
        assert_clean(&stack, &workload).await.context("after a restart")?;
        let finished = tokio::task::spawn_blocking(move || worker.terminate(STOP)).await??;
        ensure!(!finished.success()?.stderr.contains("panicked"));
        // It left nothing behind that it had read.
        ensure!(stack.lag().await? == 0);
        Ok(())
    })
}

/// Asks one question after the other until the stream is read. Each is answered, and the
/// documents show before the stream is at its end.
async fn answered_until(
    client: &QueryClient,
    read: impl Future<Output = Result<()>>,
) -> Result<()> {
    let mut read = std::pin::pin!(read);
    let (mut n_answers, mut n_with_hits) = (0, 0);
    let mut pace = tokio::time::interval(PACE);
    loop {
        let request = QueryRequest::new("which offset is committed");
        tokio::select! {
            read = &mut read => {
                ensure!(n_with_hits > 0, "{n_answers} answers, none with hits");
                return read;
            }
            reply = async { pace.tick().await; client.query(&request, ANSWER).await } => {
                let reply = reply.context("a question while the stream is read")?;
                ensure!(reply.degraded.is_none(), "{reply:?}");
                n_answers += 1;
                n_with_hits += usize::from(!reply.hits.is_empty());
            }
        }
    }
}

async fn assert_clean(stack: &Stack, workload: &Workload) -> Result<()> {
    let report = stack.report(&workload.expected()).await?;
    ensure!(report.is_clean(), "{report}");
    // A collection in which nothing is wrong because nothing is there is not clean.
    ensure!(report.rows > workload.expected().len(), "{report}");
    Ok(())
}

/// What a record was, where it stood.
struct Poison {
    key: Option<&'static str>,
    value: &'static str,
    position: SourcePosition,
}

/// Records that no decoder can read: no JSON, JSON that is no document, a document without an id.
async fn publish_poison(stack: &Stack) -> Result<Vec<Poison>> {
    let records = [
        (Some("broken-1"), "{\"text\": "),
        (Some("broken-2"), "[1, 2, 3]"),
        (Some("broken-3"), "{\"text\": 5}"),
        (None, "{\"text\": \"a document that nobody can name\"}"),
        (Some("broken-4"), "{\"text\": \"x\", \"content_type\": \"application/pdf\"}"),
    ];
    let mut poison = Vec::new();
    for (key, value) in records {
        let position = stack.publish_raw(key.map(str::as_bytes), value.as_bytes()).await?;
        poison.push(Poison { key, value, position });
    }
    Ok(poison)
}

/// Each is there once, as it came, with its own headers, and with the reason in Connect's.
async fn poison_is_in_the_dead_letter_topic(stack: &Stack, poison: &[Poison]) -> Result<()> {
    let letters = stack.dead_letters().await?;
    ensure!(letters.len() == poison.len(), "{} dead letters", letters.len());
    for one in poison {
        let place = (one.position.partition.to_string(), one.position.offset.to_string());
        let mut found = None;
        for letter in &letters {
            let partition = header(letter, dead_letter::PARTITION)?;
            if (partition, header(letter, dead_letter::OFFSET)?) == (&place.0, &place.1) {
                ensure!(found.is_none(), "{} is there twice", one.position);
                found = Some(letter);
            }
        }
        let letter = found.with_context(|| format!("{} is not there", one.position))?;
        ensure!(letter.key.as_deref() == one.key.map(str::as_bytes));
        ensure!(letter.value.as_deref() == Some(one.value.as_bytes()));
        ensure!(header(letter, "origin")? == "test");
        ensure!(header(letter, dead_letter::TOPIC)? == &*one.position.topic);
        ensure!(header(letter, dead_letter::STAGE)? == "DECODE");
        ensure!(!header(letter, dead_letter::EXCEPTION_CLASS_NAME)?.is_empty());
        let message = header(letter, dead_letter::EXCEPTION_MESSAGE)?;
        ensure!(!message.is_empty() && !message.contains("nobody can name"), "{message}");
    }
    Ok(())
}

/// Live documents are found, with both stages' ranks; deleted ones are not.
async fn answers_follow_the_collection(
    client: &QueryClient,
    workload: &Workload,
    deletes: &[Change],
) -> Result<()> {
    let expected = workload.expected();
    let (key, document) = expected.iter().next().context("nothing is live")?;
    let title = document.title.as_deref().context("generated documents have titles")?;
    let reply = about(client, title, key.id.as_str()).await?;
    ensure!(!reply.hits.is_empty(), "{reply:?}");
    for hit in &reply.hits {
        let text = hit.text.as_deref().context("no text")?;
        ensure!(hit.document_id == key.id.as_str() && document.text.contains(text), "{hit:?}");
        ensure!(hit.rerank.is_some(), "{hit:?}");
        ensure!(hit.version == document.version, "{hit:?}");
    }
    for (rank, hit) in reply.hits.iter().enumerate() {
        // The configuration's fusion is the reranker's own order.
        ensure!(hit.rerank.is_some_and(|rerank| rerank.rank == rank + 1), "{reply:?}");
    }

    let deleted = deletes.first().context("nothing was deleted")?.key();
    let reply = about(client, title, deleted.id.as_str()).await?;
    ensure!(reply.hits.is_empty(), "{reply:?}");
    Ok(())
}

/// A question to one document.
async fn about(client: &QueryClient, question: &str, document_id: &str) -> Result<ReplyV1> {
    let id = Value::String(document_id.to_owned());
    let request = QueryRequest {
        filter: Some(Filter::Compare(Field::DocumentId, Comparison::Eq, id)),
        consistency: Some(Consistency::Strong),
        ..QueryRequest::new(question)
    };
    Ok(client.query(&request, ANSWER).await?)
}

/// Sends many questions and returns when the first is answered, while others are in flight.
async fn ask_at_once(client: &QueryClient) -> Result<JoinSet<Result<(), ClientError>>> {
    let mut questions = JoinSet::new();
    for number in 0..IN_FLIGHT {
        let client = client.clone();
        questions.spawn(async move {
            let request = QueryRequest::new(format!("question number {number}"));
            client.query(&request, ANSWER).await.map(|_| ())
        });
    }
    while !is_answered(questions.join_next().await.context("no question was answered")??)? {}
    Ok(questions)
}

/// Whether it was answered, or refused because so many came at once.
fn is_answered(ended: Result<(), ClientError>) -> Result<bool> {
    match ended {
        Ok(()) => Ok(true),
        Err(ClientError::Service(error)) if error.code == ErrorCode::Overloaded => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Each was answered or refused, or came after the service had left; none was left without a word.
async fn each_question_has_ended(mut questions: JoinSet<Result<(), ClientError>>) -> Result<()> {
    while let Some(ended) = questions.join_next().await {
        match ended? {
            Err(ClientError::NoService { .. }) => {}
            ended => drop(is_answered(ended).context("a question in flight at the stop")?),
        }
    }
    Ok(())
}

/// The service is registered once its models are loaded; until then nobody listens.
async fn until_it_answers(stack: &Stack, worker: &mut Running) -> Result<QueryClient> {
    let config = NatsConfig { url: stack.nats_url().to_owned(), ..NatsConfig::default() };
    let client = QueryClient::connect(&config).await?;
    let request = QueryRequest::new("ready?");
    until("an answer", START, || {
        let running = worker.still_runs();
        let (client, request) = (&client, &request);
        async move {
            running?;
            match client.query(request, ANSWER).await {
                Ok(_) => Ok(Ok(())),
                Err(error @ ClientError::NoService { .. }) => Ok(Err(error.to_string())),
                Err(error) => Err(error.into()),
            }
        }
    })
    .await?;
    Ok(client)
}

fn log(worker: &Running) -> String {
    format!("the worker's log:\n{}", worker.stderr().unwrap_or_default())
}
