#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::ids::{DocumentId, DocumentKey, Tenant};

/// Four bytes of a word are a token, and so is every sign.
struct Tokens;

impl TokenCounter for Tokens {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace()
            .map(|word| {
                let signs = word.chars().filter(|c| c.is_ascii_punctuation()).count();
                signs + (word.len() - signs).div_ceil(4)
            })
            .sum()
    }
}

/// Three tokens a byte: text-splitter believes that a text never has more tokens than bytes.
struct Wasteful;

impl TokenCounter for Wasteful {
    fn count(&self, text: &str) -> usize {
        text.len() * 3
    }
}

/// Everything is one token.
struct Blind;

impl TokenCounter for Blind {
    fn count(&self, _: &str) -> usize {
        1
    }
}

fn document(content_type: ContentType, text: &str) -> Document {
    Document {
        key: DocumentKey { tenant: Tenant::default(), id: DocumentId::new("id").unwrap() },
        title: None,
        text: text.to_owned(),
        content_type,
        url: None,
        metadata: Default::default(),
        version: None,
        updated_at_ms: None,
    }
}

fn chunker(max_tokens: usize, overlap_tokens: usize) -> Chunker {
    Chunker::new(ChunkConfig { max_tokens, overlap_tokens }, Arc::new(Tokens)).unwrap()
}

fn markdown(text: &str) -> Chunked {
    chunker(50, 0).chunk(&document(ContentType::Markdown, text)).unwrap()
}

#[test]
fn chunks_carry_the_headings_above_them() {
    let words = "Ownership moves from one variable to the next one. ".repeat(10);
    let text = format!(
        "# Ownership\n\nShort.\n\n## Moves\n\n{words}\n\n```sh\n# no heading\n```\n\n## Borrows\n\nEnd."
    );
    let chunked = markdown(&text);
    assert_eq!(chunked.title.as_deref(), Some("Ownership"));
    let headings: Vec<&str> = chunked.chunks.iter().map(|c| c.heading.as_str()).collect();
    assert_eq!(headings[0], "Ownership");
    assert_eq!(headings.last(), Some(&"Ownership > Borrows"));
    let moves: Vec<_> = chunked.chunks.iter().filter(|c| c.heading.ends_with("Moves")).collect();
    assert!(moves.len() >= 3, "{headings:?}");
    assert!(moves.last().unwrap().text.contains("# no heading"));
    assert!(moves[0].text.starts_with("## Moves"));
    assert_eq!(chunked.chunks.last().unwrap().text, "## Borrows\n\nEnd.");
}

#[test]
fn an_edit_in_one_section_leaves_the_others_alone() {
    let body = "Some words about this and that, and more. ".repeat(12);
    let text =
        |second: &str| format!("# T\n\n## A\n\n{body}\n\n## B\n\n{second}\n\n## C\n\n{body}");
    let texts =
        |chunked: Chunked| -> Vec<String> { chunked.chunks.into_iter().map(|c| c.text).collect() };
    let before = texts(markdown(&text("one")));
    let after = texts(markdown(&text(&format!("{body} {body}"))));
    let same = |texts: &[String], edit: &dyn Fn(&String) -> bool| -> usize {
        texts.iter().filter(|text| edit(text)).count()
    };
    assert_eq!(same(&before, &|text| after.contains(text)), before.len() - 1);
}

#[test]
fn the_context_is_part_of_the_budget() {
    let words = "word ".repeat(400);
    let mut with_title = document(ContentType::Plain, &words);
    with_title.title = Some("t ".repeat(20));
    let chunker = chunker(50, 0);
    let chunks = chunker.chunk(&with_title).unwrap().chunks;
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 50), "{chunks:?}");
    assert!(chunks.iter().any(|chunk| chunk.text.len() > 29 * 4));

    // A title that is longer than half the budget leaves the text its half.
    with_title.title = Some("title ".repeat(42));
    let chunks = chunker.chunk(&with_title).unwrap().chunks;
    assert!(chunks.iter().all(|c| Tokens.count(&c.text) <= 25 && c.tokens > 50), "{chunks:?}");
}

#[test]
fn no_text_gives_no_chunks() {
    for content_type in [ContentType::Plain, ContentType::Markdown, ContentType::Html] {
        for text in ["", "   \n\t\n ", "\u{a0}\u{2003}"] {
            let chunked = chunker(50, 0).chunk(&document(content_type, text)).unwrap();
            assert_eq!(chunked.chunks, vec![], "{content_type:?} {text:?}");
        }
    }
    let scripts =
        "<html><head><title>T</title></head><body><script>let x = 1;</script></body></html>";
    let chunked = chunker(50, 0).chunk(&document(ContentType::Html, scripts)).unwrap();
    assert_eq!((chunked.title.as_deref(), chunked.chunks.len()), (Some("T"), 0));
}

#[test]
fn titles_come_from_the_document_before_the_text() {
    let mut page = document(
        ContentType::Html,
        "<title>Page</title><main><h1>Head</h1><p>Some text.</p></main>",
    );
    assert_eq!(chunker(50, 0).chunk(&page).unwrap().title.as_deref(), Some("Page"));
    page.title = Some(" Own ".to_owned());
    assert_eq!(chunker(50, 0).chunk(&page).unwrap().title.as_deref(), Some("Own"));
    page.title = Some("ä".repeat(MAX_TITLE_BYTES));
    assert_eq!(chunker(50, 0).chunk(&page).unwrap().title.unwrap().len(), MAX_TITLE_BYTES);
}

#[test]
fn configurations_out_of_bounds_are_refused() {
    let new = |max_tokens, overlap_tokens| {
        Chunker::new(ChunkConfig { max_tokens, overlap_tokens }, Arc::new(Tokens)).err()
    };
    assert_eq!(new(48, 12), None);
    assert_eq!(new(47, 0), Some(ChunkConfigError::TooSmall { value: 47, limit: 48 }));
    assert_eq!(new(200, 51), Some(ChunkConfigError::Overlap { value: 51, limit: 50 }));
}

#[test]
fn too_many_chunks_are_an_error_with_numbers() {
    let text = "# h\n\nx\n\n".repeat(MAX_CHUNKS_PER_DOCUMENT);
    assert_eq!(markdown(&text).chunks.len(), MAX_CHUNKS_PER_DOCUMENT);
    let text = text + "# h\n\nx";
    let error = chunker(50, 0).chunk(&document(ContentType::Markdown, &text)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the document (131078 bytes) has more than 16384 chunks of up to 50 tokens: split it, or \
         raise chunk.max_tokens"
    );
}

#[test]
fn overlapping_chunks_share_text() {
    let words: Vec<String> = (0..400).map(|i| format!("w{i}")).collect();
    let text = document(ContentType::Plain, &words.join(" "));
    let chunks = chunker(48, 12).chunk(&text).unwrap().chunks;
    for pair in chunks.windows(2) {
        let first = pair[1].text.split(' ').next().unwrap();
        assert!(pair[0].text.split(' ').any(|word| word == first), "{pair:?}");
    }
}

#[test]
fn a_tokenizer_that_makes_more_tokens_than_bytes_is_obeyed() {
    let config = ChunkConfig { max_tokens: 48, overlap_tokens: 0 };
    let chunker = Chunker::new(config, Arc::new(Wasteful)).unwrap();
    let text = "Some words, and the like of them.";
    let chunks = chunker.chunk(&document(ContentType::Plain, text)).unwrap().chunks;
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 48), "{chunks:?}");
    let joined: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(without_space(&joined), without_space(text));
}

#[test]
fn a_tokenizer_that_sees_no_tokens_does_not_make_endless_chunks() {
    let config = ChunkConfig { max_tokens: 5000, overlap_tokens: 0 };
    let chunker = Chunker::new(config, Arc::new(Blind)).unwrap();
    let text = "x".repeat(300_000);
    let chunks = chunker.chunk(&document(ContentType::Plain, &text)).unwrap().chunks;
    assert!(chunks.iter().all(|chunk| chunk.text.len() <= MAX_CHUNK_TEXT_BYTES));
    assert_eq!(chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>(), text.len());
}

/// A linear chunker takes 5 times as long for 5 times the text, a quadratic one 25 times. On a busy
/// machine the linear one may need several attempts to show it; the quadratic one never does.
#[test]
fn time_grows_with_the_text_and_not_with_its_square() {
    let paragraph = "The quick brown fox jumps over the lazy dog, and then it rests.\n";
    for (content_type, separator) in
        [(ContentType::Plain, ""), (ContentType::Markdown, "\n"), (ContentType::Markdown, "- ")]
    {
        let time = |n: usize| {
            let text = document(content_type, &format!("{paragraph}{separator}").repeat(n));
            let run = || {
                let start = Instant::now();
                let chunks = chunker(200, 0).chunk(&text).unwrap().chunks;
                assert!(chunks.len() > n / 20);
                start.elapsed()
            };
            (0..3).map(|_| run()).min().unwrap()
        };
        let linear = (0..8).any(|_| time(50_000) < time(10_000) * 15);
        assert!(linear, "{content_type:?} with {separator:?}");
    }
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Markdown of all kinds, whole and broken.
fn texts() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        6 => "[a-z]{1,12}( [a-zA-Zäöß,.]{1,12}){0,40}",
        1 => "#{1,6} [A-Z][a-z ]{0,20}",
        1 => "[a-z]{1,9}\n(===|---)",
        1 => Just("```".to_owned()),
        1 => "(    |> |- |1\\. |\\| )[a-z#|*`]{1,30}",
        1 => "[\u{4e00}-\u{4f00}]{1,200}",
        1 => "[a-zA-Z0-9+/]{1,500}",
        1 => "[ \t\u{a0}]{0,300}",
        1 => "(\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}|e\u{301}){1,40}",
        1 => "\\PC{0,40}",
    ];
    let end = prop_oneof![3 => Just("\n"), 3 => Just("\n\n"), 1 => Just("\r\n"), 1 => Just("")];
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chunks_cover_the_text_in_order_within_the_budget(
        text in texts(),
        content_type in prop::sample::select(vec![ContentType::Plain, ContentType::Markdown]),
        max_tokens in 48_usize..200,
    ) {
        let chunked = chunker(max_tokens, 0).chunk(&document(content_type, &text)).unwrap();
        let mut at = 0;
        for (index, chunk) in chunked.chunks.iter().enumerate() {
            prop_assert_eq!(chunk.ordinal as usize, index);
            // A slice of the text, after the one before, with nothing lost between them.
            let found = text[at..].find(&chunk.text);
            prop_assert!(found.is_some(), "{:?} is not in {:?}", chunk.text, &text[at..]);
            let start = at + found.unwrap();
            prop_assert!(text[at..start].trim().is_empty(), "lost: {:?}", &text[at..start]);
            at = start + chunk.text.len();
            prop_assert!(!chunk.text.trim().is_empty());

            let title = chunked.title.as_deref().unwrap_or_default();
            let embedded = embed_text(title, &chunk.heading, &chunk.text);
            prop_assert_eq!(chunk.tokens, Tokens.count(&embedded));
            let n_context = Tokens.count(&context(title, &chunk.heading, ""));
            let limit = max_tokens.max(n_context + max_tokens / 2);
            prop_assert!(chunk.tokens <= limit, "{} > {limit}: {embedded}", chunk.tokens);
            prop_assert!(chunk.text.len() <= MAX_CHUNK_TEXT_BYTES);
            if content_type == ContentType::Markdown && pack::is_fence(&chunk.text) {
                let section = chunked.chunks.iter().filter(|other| other.heading == chunk.heading);
                prop_assert_eq!(section.count(), 1, "a fence stands alone in {}", text);
            }
        }
        prop_assert!(text[at..].trim().is_empty(), "lost at the end: {:?}", &text[at..]);
    }

    #[test]
    fn overlapping_chunks_cover_the_text_too(
        separators in prop::collection::vec(prop::sample::select(vec![" ", ". ", "\n", "\n\n"]), 0..400),
        overlap in 1_usize..16,
    ) {
        // Every word once, so that a chunk's place is known.
        let words = separators.iter().enumerate().map(|(i, separator)| format!("w{i}x{separator}"));
        let text: String = words.collect();
        let chunked = chunker(64, overlap).chunk(&document(ContentType::Markdown, &text)).unwrap();
        let (mut start, mut end) = (0, 0);
        for chunk in &chunked.chunks {
            let next = text.find(&chunk.text).unwrap();
            prop_assert!(next >= start && next + chunk.text.len() > end, "no progress");
            if next > end {
                prop_assert!(text[end..next].trim().is_empty(), "lost {:?}", &text[end..next]);
            }
            (start, end) = (next, next + chunk.text.len());
        }
        prop_assert!(text[end..].trim().is_empty(), "lost at the end: {:?}", &text[end..]);
    }
}
