//! The main content of an HTML page as markdown.
//!
//! A page that says where its content is (`<main>`) is believed; of any other, dom_smoothie
//! (Mozilla's readability) finds it. What is no text goes (scripts, navigation, buttons, permalink
//! signs, the hidden lines of mdBook's examples), and so do link targets: they cost tokens, say
//! nothing, and relative ones lead nowhere outside the page.

use std::fmt::Write as _;

use dom_query::{Document, Selection};
use dom_smoothie::{Config, Readability};

mod clean;
mod markdown;
mod parse;

/// The content of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its title without the site's name, if it has one.
    pub title: Option<String>,
    /// Its main content; empty if it has none.
    pub markdown: String,
}

/// Why a page has no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HtmlError {
    /// Elements nested so deep that walking them could exhaust the stack.
    #[error("the page nests elements more than {limit} levels deep")]
    TooDeep {
        /// The limit, inclusive.
        limit: usize,
    },
    /// The content could not be written as markdown.
    #[error("the page cannot be turned into markdown: {0}")]
    Markdown(String),
}

/// Text of a body, in bytes, up to which a page with a redirect is nothing but a redirect.
const MAX_STUB_TEXT_BYTES: usize = 1000;

/// A main element with less text than this part of the page's paragraphs is not believed.
const MIN_MAIN_SHARE: f64 = 0.1;

/// The main content of a page as markdown, and its title.
pub fn main_content(html: &str) -> Result<Page, HtmlError> {
    let document = parse::parse(html)?;
    let page_title = squeeze(&document.select_single("head > title").text());
    clean::remove_invisible(&document);

    let content = match main_element(&document) {
        Some(main) => main.inner_html().to_string(),
        None => readable(&document),
    };

    // A document of its own: readability hands out text, and the page may have two mains.
    let content = parse::parse(&content)?;
    clean::tidy(&content);
    let first_heading = content.select("h1, h2").iter().next().map(|h| squeeze(&h.text()));
    let title = title(&page_title, first_heading.as_deref());
    let markdown = markdown::from_html(&content.html())?;
    Ok(Page { title, markdown })
}

/// Where a page leads that has no content but a redirect: the target of its `<meta
/// http-equiv="refresh">`, or of its canonical link if the page's title says that it redirects.
pub fn redirect_target(html: &str) -> Option<String> {
    let document = parse::parse(html).ok()?;
    clean::remove_invisible(&document);
    if document.select_single("body").text().trim().len() > MAX_STUB_TEXT_BYTES {
        return None;
    }
    let refresh = document.select("meta[http-equiv][content]").iter().find_map(|meta| {
        let kind = meta.attr("http-equiv")?;
        kind.trim()
            .eq_ignore_ascii_case("refresh")
            .then(|| refresh_target(&meta.attr("content")?))?
    });
    refresh.or_else(|| {
        let title = document.select_single("head > title").text().trim().to_lowercase();
        let is_redirect = title.starts_with("redirect");
        let canonical = || document.select_single("link[rel=canonical]").attr("href");
        is_redirect.then(canonical)?.map(|target| target.trim().to_owned())
    })
}

/// Whether a page asks search engines to leave it out (`<meta name="robots" content="noindex">`):
/// generated tables of contents, all-in-one print pages, leftovers of old addresses.
pub fn asks_not_to_be_indexed(html: &str) -> bool {
    let Ok(document) = parse::parse(html) else {
        return false;
    };
    document.select("head > meta[name][content]").iter().any(|meta| {
        let is = |name: &str, value: &str| {
            let found = meta.attr(name).unwrap_or_default().to_lowercase();
            found.split(',').any(|part| part.trim() == value)
        };
        is("name", "robots") && (is("content", "noindex") || is("content", "none"))
    })
}

/// The URL in `0; URL='target'`.
fn refresh_target(content: &str) -> Option<String> {
    let (_, rest) = content.split_once([';', ','])?;
    let (name, target) = rest.split_once('=')?;
    let target = target.trim().trim_matches(['\'', '"']).trim();
    let is_url = name.trim().eq_ignore_ascii_case("url") && !target.is_empty();
    is_url.then(|| target.to_owned())
}

/// The element that the page calls its main content: the one with the most text.
fn main_element(document: &Document) -> Option<Selection<'_>> {
    let mut best: Option<(usize, Selection<'_>)> = None;
    for main in document.select("main, [role=main]").iter() {
        let length = main.text().trim().len();
        if best.as_ref().is_none_or(|(longest, _)| length > *longest) {
            best = Some((length, main));
        }
    }
    let (length, main) = best.filter(|(length, _)| *length > 0)?;
    let n_paragraph_bytes: usize = document.select("p").iter().map(|p| p.text().len()).sum();
    let is_believed = length as f64 >= n_paragraph_bytes as f64 * MIN_MAIN_SHARE;
    is_believed.then_some(main)
}

/// What readability finds, or else the body without what is around a page's content.
fn readable(document: &Document) -> String {
    let config = Config { keep_classes: true, disable_json_ld: true, ..Config::default() };
    let article = Readability::with_document(document.clone(), None, Some(config))
        .and_then(|mut readability| readability.parse());
    match article {
        Ok(article) if !article.text_content.trim().is_empty() => article.content.to_string(),
        _ => {
            document.select("body > header, body > footer, body > aside").remove();
            document.select_single("body").inner_html().to_string()
        }
    }
}

/// The page's title without the name of its site: the content's first heading if the title begins
/// or ends with it.
fn title(page_title: &str, first_heading: Option<&str>) -> Option<String> {
    let heading = first_heading.filter(|heading| !heading.is_empty());
    let Some(heading) = heading else {
        return (!page_title.is_empty()).then(|| page_title.to_owned());
    };
    let is_heading_in_title = page_title.is_empty()
        || [" - ", " | ", " \u{2013} ", " \u{2014} ", " \u{b7} ", " :: ", " \u{bb} "].iter().any(
            |separator| page_title.split(separator).any(|part| letters(part) == letters(heading)),
        );
    Some(if is_heading_in_title { heading } else { page_title }.to_owned())
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// White space as a browser shows it.
fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        // Writing to a string does not fail.
        let _ = squeezed.write_str(word);
    }
    squeezed
}

#[cfg(test)]
mod tests;
