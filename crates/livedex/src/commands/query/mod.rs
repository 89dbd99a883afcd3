//! `livedex query`: a question over NATS, and its answer as a table or as JSON; with `-i` one
//! question after the other.

use std::{process::ExitCode, time::Duration};

use livedex_core::query::QueryRequest;
use livedex_query::QueryClient;
use livedex_wire::reply::ReplyV1;

use super::{
    answer::{self, Asked},
    print, refusal,
};
use crate::{cli::QueryArgs, config::Config};

mod command;
mod line;
mod request;
mod session;
mod settings;

pub(super) use request::Read;
use settings::Settings;

/// Asks, and prints the answer.
pub(super) async fn run(config: &Config, args: &QueryArgs) -> anyhow::Result<ExitCode> {
    if args.interactive && request::is_stdin(args.read.after_file.as_deref()) {
        anyhow::bail!("--after-file - reads standard input, and so does -i: name a file instead");
    }
    let settings = Settings::new(args)?;
    let client = QueryClient::connect(&config.nats).await?;
    match &args.text {
        Some(text) => {
            print(&settings.render(&ask(&client, &settings, text).await?));
            Ok(ExitCode::SUCCESS)
        }
        None => session::run(client, settings).await,
    }
}

/// Asks one question with what is in force.
async fn ask(client: &QueryClient, settings: &Settings, text: &str) -> anyhow::Result<ReplyV1> {
    let request = QueryRequest { query: text.to_owned(), ..settings.request.clone() };
    let reply = match settings.stage_1 {
        true => client.retrieve(&request, settings.timeout).await,
        false => client.query(&request, settings.timeout).await,
    };
    reply.map_err(refusal::explain)
}

impl Settings {
    fn new(args: &QueryArgs) -> anyhow::Result<Self> {
        let read = Read::new(&args.read)?;
        Ok(Self {
            shows_metadata: read.names_metadata,
            request: request::request(&args.search, read)?,
            stage_1: args.search.stage_1,
            json: args.call.json,
            timeout: Duration::from_millis(args.call.timeout_ms),
        })
    }

    /// An answer as it was asked for.
    fn render(&self, reply: &ReplyV1) -> String {
        if self.json {
            return String::from_utf8_lossy(&reply.to_json()).into_owned();
        }
        let asked = Asked { text: self.request.include_text, metadata: self.shows_metadata };
        answer::render(reply, asked, answer::width())
    }
}
