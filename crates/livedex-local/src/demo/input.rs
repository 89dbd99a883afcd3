//! What is published, asked, changed and deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::console;

/// Asked of The Rust Programming Language.
const BOOK_QUESTIONS: [&str; 3] = [
    "How do I share data between threads safely?",
    "What does the question mark operator do?",
    "When should I use Box instead of a reference?",
];

/// The page that is changed.
const BOOK_CHANGED: &str = "ch16-03-shared-state.html";

/// Folders of the book's old editions, of which only notices are left.
const OLD_EDITIONS: &str = "/*-edition/";

/// Asked of the project's own documentation.
const OWN_QUESTIONS: [&str; 3] = [
    "What happens to a record that cannot be decoded?",
    "When is an offset committed?",
    "How do I use another embedding model?",
];

/// The project's own documentation, as far as it is there.
const OWN: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs"];

/// Endings that `livedex publish` takes.
const ENDINGS: [&str; 6] = ["md", "markdown", "txt", "text", "html", "htm"];

/// What the demo works on.
#[derive(Debug)]
pub(super) struct Input {
    /// For a person.
    pub(super) name: String,
    /// One or more; what answers the last one is deleted later.
    pub(super) questions: Vec<String>,
    /// Why these questions, if that needs to be said.
    pub(super) about_questions: Option<String>,
    /// The document that is changed.
    pub(super) changed: Page,
    paths: Vec<PathBuf>,
    exclude: Option<&'static str>,
}

/// A document's file and the id that it is published under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

impl Input {
    /// A person's own folder; without one the Rust book, where rustup has put it; without that the
    /// project's own documentation.
    pub(super) fn choose(own: Option<&Path>, ask: &[String]) -> anyhow::Result<Self> {
        let mut input = match own {
            Some(path) => Self::of_path(path)?,
            None => match book() {
                Some(folder) => Self::of_book(folder),
                None => Self::of_project()?,
            },
        };
        if !ask.is_empty() {
            input.questions = ask.to_vec();
            input.about_questions = None;
        }
        Ok(input)
    }

    fn of_book(folder: PathBuf) -> Self {
        Self {
            name: "The Rust Programming Language, the book that comes with rustup".to_owned(),
            questions: BOOK_QUESTIONS.map(str::to_owned).to_vec(),
            about_questions: None,
            changed: Page { id: BOOK_CHANGED.to_owned(), path: folder.join(BOOK_CHANGED) },
            exclude: Some(OLD_EDITIONS),
            paths: vec![folder],
        }
    }

    fn of_project() -> anyhow::Result<Self> {
        let paths: Vec<PathBuf> =
            OWN.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        let Some(first) = paths.iter().find(|path| path.is_file()) else {
            bail!(
                "no rust-docs here (rustup component add rust-docs) and no documentation in this folder: name a folder with --input"
            );
        };
        Ok(Self {
            name: "its own documentation (no rust-docs here: rustup component add rust-docs)"
                .to_owned(),
            questions: OWN_QUESTIONS.map(str::to_owned).to_vec(),
            about_questions: None,
            changed: Page { id: first.display().to_string(), path: first.clone() },
            exclude: None,
            paths,
        })
    }

    fn of_path(path: &Path) -> anyhow::Result<Self> {
        let mut pages = Vec::new();
        let base = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        find(base, path, &mut pages).with_context(|| {
            format!("cannot read {}: name a folder with --input", path.display())
        })?;
        pages.sort_by(|a, b| a.id.cmp(&b.id));
        if pages.len() < 2 {
            bail!(
                "{} holds {} documents, the demo needs 2 or more (endings {})",
                path.display(),
                pages.len(),
                ENDINGS.join(", ")
            );
        }
        // Spread over the folder, so that they differ.
        let picked: Vec<&Page> =
            [1, 3, 5].iter().map(|sixth| &pages[pages.len() * sixth / 6]).collect();
        Ok(Self {
            name: path.display().to_string(),
            questions: picked.iter().map(|page| title(page)).collect(),
            about_questions: Some(
                "    No questions are prepared for this folder: these are the titles of three of its\n    documents (--ask TEXT asks your own).\n"
                    .to_owned(),
            ),
            changed: picked[0].clone(),
            exclude: None,
            paths: vec![path.to_owned()],
        })
    }

    /// The arguments that publish it.
    pub(super) fn publish(&self) -> Vec<String> {
        self.publish_args(|path| path.display().to_string())
    }

    /// The same for showing.
    pub(super) fn publish_shown(&self) -> Vec<String> {
        self.publish_args(console::short)
    }

    fn publish_args(&self, show: impl Fn(&Path) -> String) -> Vec<String> {
        let mut args = vec!["publish".to_owned()];
        args.extend(self.paths.iter().map(|path| show(path)));
        if let Some(pattern) = self.exclude {
            args.extend(["--exclude".to_owned(), pattern.to_owned()]);
        }
        args
    }
}

/// The folder of the Rust book in the toolchain that is in use.
fn book() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let book = sysroot.join("share/doc/rust/html/book");
    book.join(BOOK_CHANGED).is_file().then_some(book)
}

/// The files below `path` that can be published, with their paths below `base` as ids.
fn find(base: &Path, path: &Path, pages: &mut Vec<Page>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // As `livedex publish` does: hidden files are not documents.
            if !entry.file_name().to_string_lossy().starts_with('.') {
                find(base, &entry.path(), pages)?;
            }
        }
    } else {
        fs::metadata(path)?;
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            let below = path.strip_prefix(base).unwrap_or(path);
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            pages.push(Page { id: parts.join("/"), path: path.to_owned() });
        }
    }
    Ok(())
}

/// A document's title: of HTML the title element, of markdown the first heading, else the file's name.
fn title(page: &Page) -> String {
    let text = fs::read_to_string(&page.path).unwrap_or_default();
    let of_html = || {
        let (_, rest) = text.split_once("<title>")?;
        Some(rest.split_once("</title>")?.0)
    };
    let of_markdown = || text.lines().find_map(|line| line.strip_prefix('#'));
    let found = if text.contains("<html") { of_html() } else { of_markdown() };
    let name = page.path.file_stem().map(|stem| stem.to_string_lossy().replace(['-', '_'], " "));
    found
        .map(|title| title.trim_matches(['#', ' ', '\n']).to_owned())
        .filter(|title| !title.is_empty())
        .or(name)
        .unwrap_or_else(|| page.id.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_of_ones_own_is_asked_its_titles() {
        let dir = folder(&[
            ("a.md", "# Apples\n\nRed."),
            ("b/c.html", "<html><title>Cherries</title><main>Dark.</main></html>"),
            ("some_plums.txt", "Blue."),
            ("logo.png", ""),
            (".git/x.md", "# Not a document"),
        ]);
        let input = Input::choose(Some(dir.path()), &[]).unwrap();
        assert_eq!(input.questions, ["Apples", "Cherries", "some plums"]);
        assert_eq!(input.changed.id, "a.md");
        assert!(input.about_questions.is_some());
        assert_eq!(input.publish(), ["publish", dir.path().to_str().unwrap()]);
    }

    #[test]
    fn own_questions_win() {
        let dir = folder(&[("a.md", "x"), ("b.md", "y")]);
        let ask = ["Why?".to_owned()];
        let input = Input::choose(Some(dir.path()), &ask).unwrap();
        assert_eq!(input.questions, ask);
    }

    #[test]
    fn too_few_documents_and_no_folder_are_said() {
        let dir = folder(&[("a.md", "x")]);
        let error = Input::choose(Some(dir.path()), &[]).unwrap_err().to_string();
        assert!(error.contains("holds 1 documents"), "{error}");
        let missing = dir.path().join("nowhere");
        let error = Input::choose(Some(&missing), &[]).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }

    #[test]
    fn the_book_is_published_without_its_old_editions() {
        let input = Input::of_book(PathBuf::from("book"));
        assert_eq!(input.publish(), ["publish", "book", "--exclude", "/*-edition/"]);
        assert_eq!(input.publish_shown(), input.publish());
    }
}
