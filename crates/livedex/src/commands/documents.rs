//! `livedex documents get`: a document's chunks in their order.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use livedex_core::{ids::DocumentId, requests::DocumentRequest};
use livedex_query::{ClientError, QueryClient};
use livedex_wire::{documents::DocumentReplyV1, error::ErrorCode, reply::Chunk};

use super::{print, query::Read, refusal};
use crate::{cli::DocumentsGetArgs, config::Config};

/// Reads it and prints it.
pub(super) async fn get(config: &Config, args: &DocumentsGetArgs) -> anyhow::Result<ExitCode> {
    let read = Read::new(&args.read)?;
    let request = DocumentRequest {
        collection: read.collection,
        document: DocumentId::new(args.id.as_str()).context("the document's id")?,
        tenant: read.tenant,
        from: args.from,
        limit: args.limit,
        consistency: read.consistency,
        after: read.after,
        include_text: read.parts.text,
        include_metadata: read.parts.metadata,
        include_vectors: read.parts.vectors,
    };
    let client = QueryClient::connect(&config.nats).await?;
    let timeout = Duration::from_millis(args.call.timeout_ms);
    show(&client, request, args.limit, timeout, args.call.json).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a document, at most `limit` chunks of it. `timeout` is for each page.
pub(super) async fn show(
    client: &QueryClient,
    request: DocumentRequest,
    limit: Option<usize>,
    timeout: Duration,
    json: bool,
) -> anyhow::Result<()> {
    let reply = read(client, request, limit, timeout).await.map_err(refusal::explain)?;
    match json {
        true => print(&String::from_utf8_lossy(&reply.to_json())),
        false => print(&render(&reply)),
    }
    Ok(())
}

/// Reads pages until the document or the limit ends, as one reply. Each page shows the document as it
/// was when that page was read.
async fn read(
    client: &QueryClient,
    mut request: DocumentRequest,
    limit: Option<usize>,
    timeout: Duration,
) -> Result<DocumentReplyV1, ClientError> {
    let mut reply = client.document(&request, timeout).await?;
    while let Some(next) = reply.next {
        let left = limit.map(|limit| limit.saturating_sub(reply.chunks.len()));
        // A service that leads in a circle is not followed.
        if left == Some(0) || next <= request.from {
            break;
        }
        (request.from, request.limit) = (next, left);
        let page = match client.document(&request, timeout).await {
            Ok(page) => page,
            // It has become shorter meanwhile.
            Err(ClientError::Service(body)) if body.code == ErrorCode::NotFound => {
                reply.next = None;
                break;
            }
            Err(error) => return Err(error),
        };
        append(&mut reply, page);
    }
    Ok(reply)
}

/// What is said of the document is what the newest record says.
fn append(reply: &mut DocumentReplyV1, mut page: DocumentReplyV1) {
    let mut chunks = std::mem::take(&mut reply.chunks);
    chunks.append(&mut page.chunks);
    let next = page.next;
    if page.source.offset >= reply.source.offset {
        *reply = page;
    }
    (reply.chunks, reply.next) = (chunks, next);
}

/// The document for people: what is known of it, and its chunks below their headings.
fn render(reply: &DocumentReplyV1) -> String {
    let source = &reply.source;
    let fields = [
        ("title", reply.title.clone()),
        ("url", reply.url.clone()),
        ("tenant", reply.tenant.clone()),
        ("version", reply.version.clone()),
        ("updated", reply.updated_at.clone()),
        (
            "metadata",
            reply
                .metadata
                .as_ref()
                .filter(|m| !m.is_empty())
                .and_then(|metadata| serde_json::to_string(metadata).ok()),
        ),
        ("record", Some(format!("{}[{}]@{}", source.topic, source.partition, source.offset))),
    ];
    let mut text = reply.document_id.clone();
    for (name, value) in fields {
        if let Some(value) = value {
            text += &format!("\n{name}: {value}");
        }
    }
    let mut heading = None;
    for chunk in &reply.chunks {
        text += &format!("\n\n{}", one(chunk, heading));
        heading = chunk.heading.as_deref();
    }
    if let Some(next) = reply.next {
        text += &format!("\n\nThere is more: --from {next}");
    }
    text
}

fn one(chunk: &Chunk, heading_before: Option<&str>) -> String {
    let heading = match chunk.heading.as_deref() {
        Some(heading) if Some(heading) != heading_before => format!(" {heading}"),
        _ => String::new(),
    };
    let text = chunk.text.as_deref().unwrap_or("(without text)");
    format!("[{}]{heading}\n{text}", chunk.ordinal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn page(json: &str) -> DocumentReplyV1 {
        DocumentReplyV1::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn pages_become_one_document() {
        let mut reply = page(
            r#"{"collection": "c", "document_id": "a.md", "title": "Old", "source": {"topic": "t",
            "partition": 0, "offset": 3}, "chunks": [{"chunk_id": "1", "ordinal": 0, "heading": "A",
            "text": "one"}], "next": 1, "consistency": "bounded"}"#,
        );
        let second = page(
            r#"{"collection": "c", "document_id": "a.md", "title": "New", "source": {"topic": "t",
            "partition": 0, "offset": 4}, "chunks": [{"chunk_id": "2", "ordinal": 1, "heading": "A",
            "text": "two"}], "next": 2, "consistency": "bounded"}"#,
        );
        append(&mut reply, second);
        assert_eq!(reply.chunks.len(), 2);
        assert_eq!(
            render(&reply),
            "a.md\ntitle: New\nrecord: t[0]@4\n\n[0] A\none\n\n[1]\ntwo\n\nThere is more: --from 2"
        );
    }
}
