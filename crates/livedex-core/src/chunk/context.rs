//! The context that is embedded in front of a chunk's text.

/// Bytes of a title or a heading path that enter the context: enough for what people write,
/// little enough to leave most of the token budget to the text.
const MAX_CONTEXT_PART_BYTES: usize = 256;

/// Between the titles of a heading path.
pub(super) const SEPARATOR: &str = " > ";

/// What is embedded and reranked for a chunk: its context (title and heading path) on a line, an
/// empty line, then its text. The context says nothing twice: a heading that repeats the title,
/// or with which the text itself begins, is left out. Title and heading path enter with 256
/// bytes each at most.
pub fn embed_text(title: &str, heading: &str, text: &str) -> String {
    let mut context = context(title, heading, text);
    if !context.is_empty() {
        context.push_str("\n\n");
    }
    context.push_str(text);
    context
}

/// The context alone; pass an empty `text` for its longest form.
pub(super) fn context(title: &str, heading: &str, text: &str) -> String {
    let title = cut(title.trim(), MAX_CONTEXT_PART_BYTES);
    let heading = cut(heading.trim(), MAX_CONTEXT_PART_BYTES);
    let mut said = opening_headings(text);
    let mut parts: Vec<&str> = Vec::new();
    // The title comes first, but a heading that says the same keeps its place in the path.
    let path = heading.split(SEPARATOR).filter(|part| !part.is_empty());
    let is_title_in_path = path.clone().any(|part| letters(part) == letters(title));
    let title = (!title.is_empty() && !is_title_in_path).then_some(title);
    for part in title.into_iter().chain(path) {
        let letters = letters(part);
        if !said.contains(&letters) {
            said.push(letters);
            parts.push(part);
        }
    }
    parts.join(SEPARATOR)
}

/// The headings a markdown text begins with, as [`letters`].
fn opening_headings(text: &str) -> Vec<String> {
    let mut headings = Vec::new();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let is_underlined = lines.peek().is_some_and(|next| {
            let next = next.trim();
            next.bytes().all(|byte| byte == b'=') || next.bytes().all(|byte| byte == b'-')
        });
        if is_underlined {
            lines.next();
        } else if !line.starts_with('#') {
            break;
        }
        headings.push(letters(line));
    }
    headings
}

/// What is left of a heading without markup, case and punctuation.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The longest start of `text` of at most `max_bytes` bytes that ends at a character.
pub(super) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_said_once() {
        let check = |title: &str, heading: &str, text: &str, expect: &str| {
            assert_eq!(embed_text(title, heading, text), expect);
        };
        check("", "", "text", "text");
        check("Book", "", "text", "Book\n\ntext");
        check("Book", "Ownership > Moves", "text", "Book > Ownership > Moves\n\ntext");
        // The title is a heading of the path.
        check("Ownership", "Ownership > Moves", "text", "Ownership > Moves\n\ntext");
        check("ownership?", "Ownership > Moves", "text", "Ownership > Moves\n\ntext");
        // The text begins with its own heading, markup or not.
        check(
            "Book",
            "The String Type",
            "## The `String` Type\n\nIt",
            "Book\n\n## The `String` Type\n\nIt",
        );
        check("A", "A > B", "# A\n\n## B\n\ntext", "# A\n\n## B\n\ntext");
        check("A", "A > B", "A\n=\n\nB\n---\n\ntext", "A\n=\n\nB\n---\n\ntext");
        // Not a heading: it stands further down.
        check("", "B", "text\n# B", "B\n\ntext\n# B");
    }

    #[test]
    fn the_context_is_bounded_and_cut_at_a_character() {
        let text = embed_text(&"ä".repeat(1000), &"b > ".repeat(1000), "text");
        assert!(text.starts_with(&"ä".repeat(128)), "{text}");
        assert!(text.len() <= 2 * MAX_CONTEXT_PART_BYTES + 10);
    }
}
