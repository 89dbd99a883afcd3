//! An edit and a deletion on the topic, and how long until answers follow.
//!
//! What is measured is what a user of the service sees: from the end of `livedex publish`, which waits
//! until the broker has the record, to the arrival of the first answer that shows the change. Both
//! steps first make sure that the answer was another one before.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use livedex_local::{LocalError, Stop};
use livedex_wire::reply::ReplyV1;

use super::input::Page;
use super::livedex::Livedex;
use crate::console;

/// The section that is added. The name is in no book.
const HEADING: &str = "The keeper of the lighthouse";
const SENTENCE: &str = "The keeper of the lighthouse is a heron called Quillon.";
const NAME: &str = "Quillon";
const QUESTION: &str = "Who is the keeper of the lighthouse?";

/// Few candidates: the change is seen as soon as it is there, not after fifty passages are reranked.
const QUICK: [&str; 4] = ["--candidates", "5", "--top-k", "5"];

/// How long answers may take to follow before the demo calls it a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long it took until answers showed a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Searchable(Duration);

impl Searchable {
    /// In words.
    pub(super) fn text(self) -> String {
        format!("{:.1} s after Kafka had it", self.0.as_secs_f64())
    }
}

/// Adds a section to a document, and shows the answer before and after. The changed copy lies in
/// `copies`, so that the command can be typed again.
pub(super) fn edit(
    livedex: &Livedex,
    page: &Page,
    copies: &Path,
    stop: &Stop,
) -> anyhow::Result<Searchable> {
    let answered = |reply: &ReplyV1| {
        reply.hits.iter().any(|hit| hit.text.as_deref().is_some_and(|text| text.contains(NAME)))
    };
    if answered(&livedex.reply(QUESTION, &QUICK, stop)?) {
        bail!("an answer about {NAME} is there already: the collection holds an older edit");
    }
    console::line("  Nothing in it answers this yet:\n");
    table(livedex, QUESTION, stop)?;
    let Page { id, path } = page;
    if copies.exists() {
        fs::remove_dir_all(copies).map_err(|error| failed(copies, error))?;
    }
    let copy = copies.join(id);
    fs::create_dir_all(copy.parent().unwrap_or(copies)).map_err(|error| failed(&copy, error))?;
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    fs::write(&copy, with_section(&text, path)).map_err(|error| failed(&copy, error))?;
    console::line(&format!("  A copy of {id} gets one more section: \"{SENTENCE}\"\n"));
    publish(livedex, &[console::short(copies)], stop)?;
    let time = follow(livedex, QUESTION, answered, stop)?;
    console::line(&format!("\n  {}, it is the answer:\n", Searchable(time).text()));
    table(livedex, QUESTION, stop)?;
    Ok(Searchable(time))
}

/// Deletes the document that answers a question (if possible not the one that was changed), and
/// shows that it is gone from the answers.
pub(super) fn delete(
    livedex: &Livedex,
    question: &str,
    changed: &Page,
    stop: &Stop,
) -> anyhow::Result<Searchable> {
    let before = livedex.reply(question, &QUICK, stop)?;
    let other = before.hits.iter().find(|hit| hit.document_id != changed.id);
    let Some(answer) = other.or(before.hits.first()) else {
        bail!("nothing answers \"{question}\"");
    };
    let id = &answer.document_id;
    console::line(&format!("  \"{question}\" was answered from {id}.\n"));
    publish(livedex, &["--delete".to_owned(), id.clone()], stop)?;
    // Other answers must be there: an empty reply would only show that something is broken.
    let gone = |reply: &ReplyV1| {
        !reply.hits.is_empty() && reply.hits.iter().all(|hit| hit.document_id != *id)
    };
    let time = follow(livedex, question, gone, stop)?;
    console::line(&format!("\n  {}, the answers do without it:\n", Searchable(time).text()));
    table(livedex, question, stop)?;
    Ok(Searchable(time))
}

fn publish(livedex: &Livedex, what: &[String], stop: &Stop) -> anyhow::Result<()> {
    let mut args = vec!["publish".to_owned()];
    args.extend_from_slice(what);
    livedex.show(&args, &args, stop)
}

fn table(livedex: &Livedex, question: &str, stop: &Stop) -> anyhow::Result<()> {
    livedex.ask(question, &["--top-k", "3"], stop)
}

/// Asks until the answer is as wanted; returns how long that took.
fn follow(
    livedex: &Livedex,
    question: &str,
    wanted: impl Fn(&ReplyV1) -> bool,
    stop: &Stop,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        if wanted(&livedex.reply(question, &QUICK, stop)?) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > DEADLINE {
            bail!("the answers did not follow within {} s", DEADLINE.as_secs());
        }
        if stop.wait(Duration::from_millis(20)) {
            return Err(LocalError::Stopped.into());
        }
    }
}

/// The text with one more section at its end.
fn with_section(text: &str, path: &Path) -> String {
    let html = path.extension().is_some_and(|ending| {
        ending.eq_ignore_ascii_case("html") || ending.eq_ignore_ascii_case("htm")
    });
    if !html {
        return format!("{}\n\n## {HEADING}\n\n{SENTENCE}\n", text.trim_end());
    }
    let section = format!("<h2>{HEADING}</h2>\n<p>{SENTENCE}</p>\n");
    let end = ["</main>", "</article>", "</body>"].iter().find_map(|end| text.rfind(end));
    let (before, after) = text.split_at(end.unwrap_or(text.len()));
    format!("{before}{section}{after}")
}

fn failed(path: &Path, error: std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot copy {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_added_inside_the_main_content() {
        let html = "<html><body><main><p>Text.</p></main><nav>x</nav></body></html>";
        let changed = with_section(html, Path::new("a.html"));
        let (before, after) = changed.split_once("</main>").unwrap_or_default();
        assert!(before.contains(SENTENCE) && before.starts_with("<html><body><main><p>Text."));
        assert_eq!(after, "<nav>x</nav></body></html>");
    }

    #[test]
    fn markdown_and_bare_html_get_it_at_the_end() {
        let changed = with_section("# A\n\nText.\n", Path::new("a.md"));
        assert_eq!(changed, format!("# A\n\nText.\n\n## {HEADING}\n\n{SENTENCE}\n"));
        assert!(with_section("<p>x", Path::new("a.HTM")).ends_with(&format!("{SENTENCE}</p>\n")));
    }
}
