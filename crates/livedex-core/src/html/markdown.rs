//! Clean HTML to markdown.

use std::sync::LazyLock;

use htmd::{
    Element, HtmlToMarkdown,
    element_handler::{HandlerResult, Handlers},
    options::{BulletListMarker, HrStyle, Options},
};

use super::HtmlError;

static CONVERTER: LazyLock<HtmlToMarkdown> = LazyLock::new(|| {
    HtmlToMarkdown::builder()
        .options(Options {
            bullet_list_marker: BulletListMarker::Dash,
            hr_style: HrStyle::Dashes,
            // One space after a marker: what is indented less needs fewer tokens.
            ul_bullet_spacing: 1,
            ol_number_spacing: 1,
            ..Options::default()
        })
        .add_handler(vec!["a"], link)
        .add_handler(vec!["img"], image)
        .add_handler(vec!["table"], table)
        .build()
});

/// Markdown of a page's content: fenced code blocks with their language, tables, no links.
pub(super) fn from_html(html: &str) -> Result<String, HtmlError> {
    let markdown =
        CONVERTER.convert(html).map_err(|error| HtmlError::Markdown(error.to_string()))?;
    Ok(markdown.trim().to_owned())
}

/// The words of a link without its target.
fn link(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    Some(handlers.walk_children(element.node))
}

/// The words that stand for an image.
fn image(_: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let alt = element.attrs.iter().find(|attr| &attr.name.local == "alt")?;
    let alt = super::squeeze(&alt.value);
    (!alt.is_empty()).then(|| alt.into())
}

/// A table without the padding that lines up its columns: every dash and many a space is a token.
fn table(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let table = handlers.fallback(element)?;
    let mut compact = String::with_capacity(table.content.len());
    for line in table.content.split_inclusive('\n') {
        let row = line.trim_end();
        if row.len() > 1 && row.starts_with('|') && row.ends_with('|') {
            let is_rule = row.bytes().all(|b| b"|- ".contains(&b));
            for cell in row[1..row.len() - 1].split('|') {
                compact.push_str("| ");
                // The sign for a bar inside a cell that code spans understand, too.
                let cell = if is_rule { "---" } else { cell.trim() };
                compact.push_str(&cell.replace("&#124;", "\\|"));
                compact.push(' ');
            }
            compact.push_str("|\n");
        } else {
            compact.push_str(line);
        }
    }
    Some(compact.into())
}
