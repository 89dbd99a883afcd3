//! `livedex rerank` and `livedex embed`: the service's models for texts of one's own.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use livedex_core::requests::{EmbedRequest, RerankDocument, RerankRequest};
use livedex_query::QueryClient;
use livedex_wire::rerank::RerankReplyV1;

use super::{answer::snippet, print, refusal};
use crate::{
    cli::{EmbedArgs, RerankArgs},
    config::Config,
};

/// Characters of a text in the list.
const SHOWN_CHARS: usize = 60;

/// Scores texts, and prints them best first.
pub(super) async fn rerank(config: &Config, args: &RerankArgs) -> anyhow::Result<ExitCode> {
    let mut texts = args.texts.clone();
    if let Some(path) = &args.file {
        texts.extend(lines(path)?);
    }
    let documents = texts.iter().map(|text| RerankDocument { id: None, text: text.clone() });
    let request = RerankRequest {
        query: args.query.clone(),
        documents: documents.collect(),
        top_k: args.top_k,
        instruction: args.instruction.clone(),
        // They are here.
        include_text: false,
    };
    let client = QueryClient::connect(&config.nats).await?;
    let timeout = Duration::from_millis(args.call.timeout_ms);
    let reply = client.rerank(&request, timeout).await.map_err(refusal::explain)?;
    match args.call.json {
        true => print(&String::from_utf8_lossy(&reply.to_json())),
        false => print(&render(&reply, &texts)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Embeds texts, and prints the reply as JSON.
pub(super) async fn embed(config: &Config, args: &EmbedArgs) -> anyhow::Result<ExitCode> {
    let request = EmbedRequest {
        texts: args.texts.clone(),
        kind: args.kind.into(),
        instruction: args.instruction.clone(),
    };
    let client = QueryClient::connect(&config.nats).await?;
    let timeout = Duration::from_millis(args.timeout_ms);
    let reply = client.embed(&request, timeout).await.map_err(refusal::explain)?;
    print(&String::from_utf8_lossy(&reply.to_json()));
    Ok(ExitCode::SUCCESS)
}

/// The lines of a file that are not blank.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let failed = || format!("--file: cannot read {}", path.display());
    let input: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(path).with_context(failed)?)),
    };
    let lines = input.lines().filter(|line| line.as_ref().map_or(true, |l| !l.trim().is_empty()));
    lines.collect::<Result<_, _>>().with_context(failed)
}

/// A line each: score, place in the request from 1, text.
fn render(reply: &RerankReplyV1, texts: &[String]) -> String {
    let mut rows: Vec<String> = reply
        .results
        .iter()
        .map(|result| {
            let text = texts.get(result.index).map_or("", String::as_str);
            format!("{:.3}  {:>3}  {}", result.score, result.index + 1, snippet(text, SHOWN_CHARS))
        })
        .collect();
    let t = &reply.timings_ms;
    rows.push(format!("{} texts by {} in {:.0} ms", texts.len(), reply.model.name, t.total));
    if let Some(why) = &reply.degraded {
        let n_texts = texts.len();
        rows.push(format!(
            "DEGRADED ({}): {} of {n_texts} texts were scored: allow more time (--timeout-ms), or send fewer",
            why.reason, why.reranked
        ));
    }
    rows.join("\n")
}
