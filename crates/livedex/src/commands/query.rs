//! `livedex query`: a question over NATS, and its answer as a table or as JSON.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use livedex_core::{
    ids::Tenant,
    query::{Consistency, QueryRequest},
};
use livedex_query::QueryClient;
use livedex_wire::filter;

use super::{print, table};
use crate::{cli::QueryArgs, config::Config};

/// Asks, and prints the answer.
pub(super) async fn run(config: &Config, args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let request = request(args)?;
    let client = QueryClient::connect(&config.nats).await?;
    let reply = client.query(&request, Duration::from_millis(args.timeout_ms)).await?;
    match args.json {
        true => print(&String::from_utf8_lossy(&reply.to_json())),
        false => print(&table::render(&reply)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the flags say. Limits are the service's to check: it answers with a typed error.
fn request(args: &QueryArgs) -> anyhow::Result<QueryRequest> {
    let tenant = args.tenant.as_deref().map(Tenant::new).transpose().context("--tenant")?;
    let filter = args.filter.as_deref().map(filter::parse).transpose().context("--filter")?;
    Ok(QueryRequest {
        top_k: args.top_k,
        candidates: args.candidates,
        filter,
        tenant,
        instruction: args.instruction.clone(),
        rerank: !args.no_rerank,
        consistency: args.strong.then_some(Consistency::Strong),
        ..QueryRequest::new(args.text.as_str())
    })
}
