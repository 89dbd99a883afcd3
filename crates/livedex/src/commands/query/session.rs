//! `livedex query -i`: one question after the other over one connection, with settings that stay.
//!
//! Without a terminal it is the same without prompts. Ctrl-C during a question gives up that question
//! alone; while a line is awaited it ends the session.

use std::process::ExitCode;

use anyhow::Context;
use livedex_core::{
    ids::{DocumentId, Tenant},
    requests::DocumentRequest,
};
use livedex_query::QueryClient;
use livedex_wire::reply::{Hit, ReplyV1};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    super::{answer, documents, note, print},
    ask,
    command::{self, Action},
    line::Lines,
    settings::Settings,
};

const GREETING: &str = "Each line is a question; :help lists what else there is, Ctrl-D ends.";

struct Session {
    client: QueryClient,
    settings: Settings,
    last: Option<ReplyV1>,
}

/// Whether the session goes on.
enum Next {
    Go,
    End,
}

/// Asks until the lines end. The exit code is 1 if a line of a program failed.
pub(super) async fn run(client: QueryClient, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut lines = Lines::open()?;
    let is_terminal = lines.is_terminal();
    if is_terminal {
        note(GREETING);
    }
    let mut session = Session { client, settings, last: None };
    let mut code = ExitCode::SUCCESS;
    loop {
        let reading = tokio::task::spawn_blocking(move || (lines.read(), lines));
        let (line, back) = tokio::select! {
            read = reading => read.context("the reader of lines has ended")?,
            _ = interrupts.recv() => return Ok(code),
        };
        lines = back;
        let Some(line) = line? else { return Ok(code) };
        match session.handle(line.trim(), &mut interrupts).await {
            Ok(Next::Go) => {}
            Ok(Next::End) => return Ok(code),
            Err(error) => {
                note(&format!("{error:#}"));
                if !is_terminal {
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
}

impl Session {
    async fn handle(&mut self, line: &str, interrupts: &mut Signal) -> anyhow::Result<Next> {
        let Some(command) = line.strip_prefix(':') else {
            if !line.is_empty() {
                self.question(line, interrupts).await?;
            }
            return Ok(Next::Go);
        };
        match command::apply(&mut self.settings, command).map_err(anyhow::Error::msg)? {
            Action::Changed => {}
            Action::List => print(&self.settings.list()),
            Action::Help => print(&command::help()),
            Action::Show(place) => print(&answer::whole(self.hit(place)?)),
            Action::Document(place) => self.document(place, interrupts).await?,
            Action::Quit => return Ok(Next::End),
        }
        Ok(Next::Go)
    }

    async fn question(&mut self, text: &str, interrupts: &mut Signal) -> anyhow::Result<()> {
        let reply = tokio::select! {
            reply = ask(&self.client, &self.settings, text) => reply?,
            _ = interrupts.recv() => anyhow::bail!("given up"),
        };
        print(&self.settings.render(&reply));
        self.last = Some(reply);
        Ok(())
    }

    /// A hit of the last answer, from 1.
    fn hit(&self, place: usize) -> anyhow::Result<&Hit> {
        let reply = self.last.as_ref().context("there is no answer yet: ask something first")?;
        let n_hits = reply.hits.len();
        reply
            .hits
            .get(place - 1)
            .with_context(|| format!("there is no hit {place}: the last answer has {n_hits}"))
    }

    async fn document(&self, place: usize, interrupts: &mut Signal) -> anyhow::Result<()> {
        let hit = self.hit(place)?;
        let id = DocumentId::new(hit.document_id.as_str()).context("the hit's document")?;
        let tenant =
            Tenant::new(hit.tenant.as_deref().unwrap_or_default()).context("its tenant")?;
        let request = DocumentRequest {
            // Where the answer came from, whatever was set since.
            collection: self.last.as_ref().map(|reply| reply.collection.clone()),
            tenant: Some(tenant),
            consistency: self.settings.request.consistency,
            ..DocumentRequest::new(id)
        };
        tokio::select! {
            read = documents::show(
                &self.client, request, None, self.settings.timeout, self.settings.json,
            ) => read,
            _ = interrupts.recv() => anyhow::bail!("given up"),
        }
    }
}
