//! Files and folders to documents: which files, with which ids.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, bail};
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use livedex_core::{
    document::{ContentType, Document},
    html,
    ids::{DocumentId, DocumentKey, Tenant},
};

/// A file that will be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// The document's id: the prefix and the path below the folder that was named, with `/`.
    pub(super) id: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// By its ending.
    pub(super) content_type: ContentType,
}

/// Why a file is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skip {
    /// The ending is none of `.md`, `.markdown`, `.txt`, `.html`, `.htm`.
    OtherType,
    /// The page only sends its reader elsewhere.
    Redirect,
    /// The page asks search engines to leave it out (`noindex`): a print page, say.
    NotIndexed,
    /// There is no text in it.
    Empty,
    /// It is not UTF-8.
    NotText,
    /// It is larger than a document may be.
    TooLarge,
}

impl Skip {
    /// For the summary.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::OtherType => "no markdown, text or HTML",
            Self::Redirect => "redirect page",
            Self::NotIndexed => "noindex page",
            Self::Empty => "empty",
            Self::NotText => "not UTF-8",
            Self::TooLarge => "larger than ingest.max_document_bytes",
        }
    }
}

/// Everything under `paths`, by id, and how many files were left out for their type.
///
/// Hidden files and what `.gitignore` names are left out; `exclude` holds further patterns.
/// Two files with one id are an error: one would overwrite the other.
pub(super) fn find(
    paths: &[PathBuf],
    id_prefix: &str,
    exclude: &[String],
) -> anyhow::Result<(Vec<SourceFile>, usize)> {
    let mut found: BTreeMap<String, SourceFile> = BTreeMap::new();
    let mut n_other = 0;
    for root in paths {
        let meta = std::fs::metadata(root).with_context(|| {
            format!("{} cannot be read; name a file or a folder", root.display())
        })?;
        let base = if meta.is_dir() { root.as_path() } else { root.parent().unwrap_or(root) };
        let mut patterns = OverrideBuilder::new(base);
        for glob in exclude {
            patterns
                .add(&format!("!{glob}"))
                .with_context(|| format!("--exclude {glob} is no valid pattern"))?;
        }
        let walk = WalkBuilder::new(root).overrides(patterns.build()?).build();
        for entry in walk {
            let entry = entry.with_context(|| format!("cannot read under {}", root.display()))?;
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let Some(content_type) = content_type(entry.path()) else {
                n_other += 1;
                continue;
            };
            let id = format!("{id_prefix}{}", relative_id(base, entry.path()));
            let file = SourceFile { id: id.clone(), path: entry.into_path(), content_type };
            if let Some(first) = found.insert(id, file.clone()) {
                bail!(
                    "{} and {} both have the id {:?}; publish them apart with --id-prefix",
                    first.path.display(),
                    file.path.display(),
                    file.id
                );
            }
        }
    }
    Ok((found.into_values().collect(), n_other))
}

fn content_type(path: &Path) -> Option<ContentType> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "md" | "markdown" => Some(ContentType::Markdown),
        "txt" | "text" => Some(ContentType::Plain),
        "html" | "htm" => Some(ContentType::Html),
        _ => None,
    }
}

fn relative_id(base: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(base).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// What every document of one call has in common.
#[derive(Debug)]
pub(super) struct Common {
    /// The owner.
    pub(super) tenant: Tenant,
    /// See `--url-base`.
    pub(super) url_base: Option<String>,
    /// Bytes of a document, inclusive.
    pub(super) max_bytes: usize,
}

/// Reads a file as a document, or says why it is skipped.
pub(super) fn read(file: &SourceFile, common: &Common) -> anyhow::Result<Result<Document, Skip>> {
    let context = || format!("cannot read {}", file.path.display());
    let meta = std::fs::metadata(&file.path).with_context(context)?;
    if meta.len() > common.max_bytes as u64 {
        return Ok(Err(Skip::TooLarge));
    }
    let Ok(text) = String::from_utf8(std::fs::read(&file.path).with_context(context)?) else {
        return Ok(Err(Skip::NotText));
    };
    if text.trim().is_empty() {
        return Ok(Err(Skip::Empty));
    }
    if file.content_type == ContentType::Html {
        if html::redirect_target(&text).is_some() {
            return Ok(Err(Skip::Redirect));
        }
        if html::asks_not_to_be_indexed(&text) {
            return Ok(Err(Skip::NotIndexed));
        }
    }
    let updated_at_ms = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|age| i64::try_from(age.as_millis()).ok());
    let id = DocumentId::new(&file.id).with_context(|| format!("{}", file.path.display()))?;
    Ok(Ok(Document {
        key: DocumentKey { tenant: common.tenant.clone(), id },
        title: None,
        text,
        content_type: file.content_type,
        url: common.url_base.as_ref().map(|base| format!("{base}{}", file.id)),
        metadata: BTreeMap::new(),
        version: None,
        updated_at_ms,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn ids_are_paths_below_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("guide")).unwrap();
        for name in ["guide/start.md", "a.html", "b.txt", "logo.png", "print.html"] {
            std::fs::write(dir.path().join(name), "text").unwrap();
        }
        let exclude = ["print.html".to_owned()];
        let (files, n_other) = find(&[dir.path().to_owned()], "", &exclude).unwrap();
        let ids: Vec<_> = files.iter().map(|file| file.id.as_str()).collect();
        assert_eq!(ids, ["a.html", "b.txt", "guide/start.md"]);
        assert_eq!(n_other, 1);
        let one = find(&[dir.path().join("a.html")], "docs/", &[]).unwrap().0;
        assert_eq!(one[0].id, "docs/a.html");
    }

    #[test]
    fn one_id_for_two_files_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &two] {
            std::fs::write(dir.path().join("a.md"), "text").unwrap();
        }
        let paths = [one.path().to_owned(), two.path().to_owned()];
        let error = find(&paths, "", &[]).unwrap_err().to_string();
        assert!(error.contains("both have the id \"a.md\""), "{error}");
    }
}
