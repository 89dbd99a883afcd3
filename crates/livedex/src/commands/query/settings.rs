//! What is in force for the next question, and how it is shown.

use std::time::Duration;

use livedex_core::{
    ids::Tenant,
    query::{Mode, QueryRequest},
};
use livedex_wire::{filter, query::mode_name, request::consistency_name};

/// What is in force.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The request, without its question.
    pub(super) request: QueryRequest,
    /// Whether stage 1 is asked on its own subject.
    pub(super) stage_1: bool,
    /// Whether answers are printed as JSON.
    pub(super) json: bool,
    /// How long an answer is waited for.
    pub(super) timeout: Duration,
    /// Whether the table shows metadata.
    pub(super) shows_metadata: bool,
}

/// What a setting is that nobody has set.
const SERVICE: &str = "(the service's)";

impl Settings {
    /// Each setting on a line, as it is typed.
    pub(super) fn list(&self) -> String {
        let request = &self.request;
        let number = |n: Option<usize>| n.map_or_else(|| SERVICE.to_owned(), |n| n.to_string());
        let text = |text: Option<&str>, without: &str| text.unwrap_or(without).to_owned();
        let filter = request.filter.as_ref().map(filter::print);
        let after: Vec<String> = request.after.iter().map(ToString::to_string).collect();
        let tenant = match request.tenant.as_ref().map(Tenant::as_str) {
            None => "(all)".to_owned(),
            Some("") => "\"\" (the default tenant)".to_owned(),
            Some(name) => name.to_owned(),
        };
        let mode: Option<Mode> = request.mode;
        let lines = [
            ("k", number(request.top_k)),
            ("candidates", number(request.candidates)),
            ("mode", text(mode.map(mode_name), SERVICE)),
            ("also", none_or(request.also.join(" | "))),
            ("rerank", on(request.rerank)),
            ("stage-1", on(self.stage_1)),
            ("filter", text(filter.as_deref(), "(none)")),
            ("tenant", tenant),
            ("collection", text(request.collection.as_deref(), SERVICE)),
            ("instruction", text(request.instruction.as_deref(), "(the model's)")),
            ("group", on(request.group_by_document)),
            ("neighbours", request.neighbours.to_string()),
            ("min-score", none_or(request.min_score.map_or(String::new(), |x| x.to_string()))),
            ("consistency", consistency_name(request.consistency()).to_owned()),
            ("after", none_or(after.join(" "))),
            ("include", self.included()),
            ("explain", on(request.explain)),
            ("json", on(self.json)),
            ("timeout", format!("{} ms", self.timeout.as_millis())),
        ];
        let lines: Vec<String> =
            lines.iter().map(|(name, value)| format!("  :{name:<12} {value}")).collect();
        lines.join("\n")
    }

    fn included(&self) -> String {
        let request = &self.request;
        let parts = [
            (request.include_text, "text"),
            (request.include_metadata, "metadata"),
            (request.include_vectors, "vectors"),
        ];
        let names: Vec<&str> =
            parts.iter().filter(|(is_in, _)| *is_in).map(|(_, name)| *name).collect();
        none_or(names.join(","))
    }
}

fn on(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

fn none_or(text: String) -> String {
    if text.is_empty() { "(none)".to_owned() } else { text }
}
