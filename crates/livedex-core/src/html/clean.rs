//! What is taken out of a page before it is read.

use std::fmt::Write as _;

use dom_query::{Document, NodeRef};

/// Nothing of these is text that a reader of the page sees.
const INVISIBLE: &str = "script, style, noscript, template, svg, iframe, object, canvas, button, \
     input, select, textarea, dialog, [hidden], [aria-hidden=true], nav, [role=navigation], \
     [role=search], code .boring";

/// What is around the text of the content itself.
const AROUND: &str = "footer, a.headerlink, a.anchor-link, a.hash-link, a.anchorjs-link, \
     [aria-label^='Permalink'], [aria-label^='permalink'], [aria-label^='Direct link']";

/// The most ancestors of a `<pre>` that are asked for its language.
const MAX_LANGUAGE_ANCESTORS: usize = 3;

/// Removes what is no text: scripts, navigation, forms, and the lines of examples that mdBook
/// hides.
pub(super) fn remove_invisible(document: &Document) {
    document.select(INVISIBLE).remove();
}

/// Makes content ready for markdown: no permalinks, no links, code blocks in one form.
pub(super) fn tidy(content: &Document) {
    content.select(AROUND).remove();
    for link in content.select("h1 a, h2 a, h3 a, h4 a, h5 a, h6 a").iter() {
        if !link.text().chars().any(|c| c.is_alphanumeric()) {
            link.remove();
        }
    }
    let blocks: Vec<NodeRef<'_>> = content.select("pre").nodes().to_vec();
    for block in blocks {
        let text = block.text();
        let mut code = String::from("<code");
        if let Some(language) = language(&block) {
            // Letters, digits and signs that need no escape.
            let _ = write!(code, " class=\"language-{language}\"");
        }
        code.push('>');
        escape(text.trim_end(), &mut code);
        code.push_str("</code>");
        block.set_html(code);
    }
}

/// The language that the classes of a code block, of its `<code>` or of what is around it name.
fn language(block: &NodeRef<'_>) -> Option<String> {
    let inner = block.element_children().into_iter().next();
    let around = block.ancestors(Some(MAX_LANGUAGE_ANCESTORS));
    inner.into_iter().chain([*block]).chain(around).find_map(|node| {
        let class = node.class()?;
        class.split_ascii_whitespace().find_map(|class| {
            if class == "rust" {
                // rustdoc's examples.
                return Some(class.to_owned());
            }
            let name = ["language-", "lang-", "highlight-source-", "highlight-"]
                .iter()
                .find_map(|prefix| class.strip_prefix(prefix))?;
            let is_name = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-#_.".contains(&b));
            // Sphinx' words for "none".
            let is_none = matches!(name, "default" | "none" | "text" | "plaintext" | "notranslate");
            (is_name && !is_none).then(|| name.to_owned())
        })
    })
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            _ => html.push(c),
        }
    }
}
