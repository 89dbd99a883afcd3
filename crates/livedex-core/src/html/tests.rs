#![allow(clippy::unwrap_used, reason = "tests may panic")]

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_HTML_DEPTH;

fn check(html: &str, title: Option<&str>, markdown: &str) {
    let page = main_content(html).unwrap();
    assert_eq!((page.title.as_deref(), page.markdown.as_str()), (title, markdown));
}

/// As mdBook writes it, shortened.
const BOOK_PAGE: &str = r##"<!DOCTYPE HTML>
<html lang="en" class="light"><head>
<title>What is Ownership? - The Rust Programming Language</title>
<script>const path_to_root = "";</script></head>
<body><div id="mdbook-help-popup"><h2>Keyboard shortcuts</h2><p>Press <kbd>S</kbd></p></div>
<nav id="mdbook-sidebar"><a href="ch01.html">Chapter 1</a></nav>
<div class="menu-bar"><h1 class="menu-title">The Rust Programming Language</h1></div>
<main>
<h2 id="what"><a class="header" href="#what">What Is Ownership?</a></h2>
<p><em>Ownership</em> is a set of rules, see <a href="ch03.html">“Data
Types”</a><!-- ignore --> and <code>String</code>.</p>
<section class="note" aria-role="note"><h3 id="s"><a class="header" href="#s">The <code>Stack</code></a></h3>
<p>Both are memory:</p><ul><li>fast</li><li>slow</li></ul></section>
<figure class="listing"><pre class="playground"><code class="language-rust edition2024"><span class="boring">fn main() {
</span>    if a &lt; b &amp;&amp; *c {
        let s = "hello"; // here
    }
<span class="boring">}</span></code><button>Run</button></pre>
<figcaption><a href="#l">Listing 4-1</a>: A <em>variable</em></figcaption></figure>
<table><thead><tr><th>Operator</th><th>Meaning</th></tr></thead>
<tbody><tr><td><code>|</code></td><td>or</td></tr><tr><td><code>&amp;</code></td><td>and</td></tr></tbody></table>
<img src="img/f.svg" alt="Two  tables" width="50%">
</main>
<nav class="nav-wrapper"><a rel="next" href="ch04-02.html">Next chapter</a></nav>
<script>window.print()</script></body></html>"##;

#[test]
fn a_book_page_becomes_its_chapter() {
    check(
        BOOK_PAGE,
        Some("What Is Ownership?"),
        "## What Is Ownership?

*Ownership* is a set of rules, see “Data Types” and `String`.

### The `Stack`

Both are memory:

- fast
- slow

```rust
    if a < b && *c {
        let s = \"hello\"; // here
    }
```

Listing 4-1: A *variable*

| Operator | Meaning |
| --- | --- |
| `\\|` | or |
| `&` | and |

Two tables",
    );
}

#[test]
fn code_blocks_are_fenced_whatever_they_are_made_of() {
    let check = |html: &str, markdown: &str| {
        check(&format!("<main><p>Text:</p>{html}</main>"), None, &format!("Text:\n\n{markdown}"));
    };
    // Sphinx, rustdoc, GitHub, plain.
    check(
        "<div class='highlight-python notranslate'><div class='highlight'><pre><span></span><span class='k'>def</span> <span>f</span>():\n    <span>pass</span>\n</pre></div></div>",
        "```python\ndef f():\n    pass\n```",
    );
    check(
        "<pre class='rust rust-example-rendered'><code>let x;</code></pre>",
        "```rust\nlet x;\n```",
    );
    check(
        "<div class='highlight highlight-source-shell'><pre>$ ls</pre></div>",
        "```shell\n$ ls\n```",
    );
    check("<div class='highlight-default'><pre>a <b>b</b></pre></div>", "```\na b\n```");
    // A fence in the code and something that looks like markup stay code.
    check(
        "<pre>```\n# not a heading &lt;p&gt;\n```</pre>",
        "````\n```\n# not a heading <p>\n```\n````",
    );
}

#[test]
fn permalinks_and_link_targets_go() {
    check(
        "<title>Docs</title><main><h1>Install<a class='headerlink' href='#install' title='Permalink'>¶</a></h1>
         <h2><a href='#x' aria-hidden='true'>#</a>Run <a href='#y'>§</a></h2>
         <p>See <a href='../x.html#y'>the guide</a>.</p><nav>Next</nav><footer>Edit this page</footer></main>",
        Some("Docs"),
        "# Install\n\n## Run\n\nSee the guide.",
    );
}

#[test]
fn a_page_without_main_is_read_by_readability() {
    let paragraph = "<p>Milvus is a vector database, built for search at scale, and it stores, indexes and manages embeddings that models make, in collections with a schema.</p>";
    let html = format!(
        "<html><head><title>About Milvus | Docs</title></head><body>
         <div class='sidebar'><ul><li><a href='/a'>Home</a></li><li><a href='/b'>Blog</a></li></ul></div>
         <article><h1>About Milvus</h1>{}<pre><code class='language-go'>x := 1</code></pre></article>
         <div class='footer'><a href='/imprint'>Imprint</a></div></body></html>",
        paragraph.repeat(6)
    );
    let page = main_content(&html).unwrap();
    assert_eq!(page.title.as_deref(), Some("About Milvus | Docs"), "{}", page.markdown);
    assert_eq!(page.markdown.matches("vector database").count(), 6);
    assert!(page.markdown.contains("```go\nx := 1\n```"), "{}", page.markdown);
    assert!(!page.markdown.contains("Imprint") && !page.markdown.contains("Blog"));
}

#[test]
fn a_page_too_short_for_readability_is_read_whole() {
    check("<p>Just <b>this</b>.</p>", None, "Just **this**.");
    check("no markup at all", None, "no markup at all");
    check("", None, "");
}

#[test]
fn an_empty_main_is_not_believed() {
    let paragraphs =
        "<p>The text of the page, which is long enough to be read by somebody.</p>".repeat(20);
    let page = main_content(&format!("<main>x</main><div>{paragraphs}</div>")).unwrap();
    assert!(page.markdown.contains("The text of the page"), "{}", page.markdown);
}

#[test]
fn titles_lose_the_name_of_the_site() {
    let check = |page: &str, heading: Option<&str>, expect: Option<&str>| {
        assert_eq!(title(page, heading).as_deref(), expect);
    };
    check("Ownership - The Book", Some("Ownership"), Some("Ownership"));
    check("What is it? | Site", Some("What Is It"), Some("What Is It"));
    check("Crate tokio :: docs", Some("docs"), Some("docs"));
    check("Something else - Site", Some("Heading"), Some("Something else - Site"));
    check("", Some("Heading"), Some("Heading"));
    check("Page", None, Some("Page"));
    check("", None, None);
}

#[test]
fn redirect_stubs_are_known() {
    let stub = |meta: &str, title: &str, body: &str| {
        format!("<html><head><title>{title}</title>{meta}</head><body>{body}</body></html>")
    };
    let refresh = "<meta http-equiv=\"refresh\" content=\"0; URL=ch18-00-oop.html\">";
    let canonical = "<link rel=\"canonical\" href=\"ch18-00-oop.html\">";
    let body = "<p>Redirecting to... <a href='ch18-00-oop.html'>ch18-00-oop.html</a></p><script>location = 1</script>";
    let check = |html: &str, expect: Option<&str>| {
        assert_eq!(redirect_target(html).as_deref(), expect, "{html}");
    };
    check(&stub(refresh, "Redirecting...", body), Some("ch18-00-oop.html"));
    check(&stub("<META HTTP-EQUIV='Refresh' CONTENT=\"5;url='/a b'\">", "", ""), Some("/a b"));
    check(&stub(canonical, "Redirecting…", body), Some("ch18-00-oop.html"));
    // A page that loads itself again, one with a canonical address, one with a text.
    check(&stub("<meta http-equiv='refresh' content='300'>", "Status", "up"), None);
    check(&stub(canonical, "Page", body), None);
    check(&stub(refresh, "Page", &"text ".repeat(300)), None);
    check(BOOK_PAGE, None);
}

#[test]
fn pages_may_ask_not_to_be_indexed() {
    let asks = |meta: &str| {
        asks_not_to_be_indexed(&format!("<html><head>{meta}</head><body>x</body></html>"))
    };
    assert!(asks("<meta name='robots' content='noindex,follow'>"));
    assert!(asks("<meta name='ROBOTS' content='nofollow, NOINDEX'>"));
    assert!(asks("<meta name='robots' content='none'>"));
    assert!(!asks("<meta name='robots' content='index'>"));
    assert!(!asks("<meta name='description' content='noindex'>"));
    assert!(!asks_not_to_be_indexed(BOOK_PAGE));
}

#[test]
fn endless_nesting_is_an_error_and_not_a_crash() {
    for tag in ["div", "b", "blockquote", "ul><li"] {
        let html = format!("<main>{}deep", format!("<{tag}>").repeat(100_000));
        assert_eq!(main_content(&html), Err(HtmlError::TooDeep { limit: MAX_HTML_DEPTH }), "{tag}");
    }
    let html = format!("<main>{}deep", "<div>".repeat(MAX_HTML_DEPTH - 10));
    // On a thread with a stack as small as a worker's.
    let page = std::thread::spawn(move || main_content(&html).unwrap()).join().unwrap();
    assert_eq!(page.markdown, "deep");
}

fn tag_soup() -> impl Strategy<Value = String> {
    let tags = vec![
        "a",
        "b",
        "i",
        "em",
        "p",
        "div",
        "main",
        "article",
        "pre",
        "code",
        "span",
        "table",
        "tr",
        "td",
        "th",
        "thead",
        "tbody",
        "caption",
        "ul",
        "ol",
        "li",
        "h1",
        "h6",
        "blockquote",
        "br",
        "hr",
        "img alt='x'",
        "dl",
        "dt",
        "dd",
        "svg",
        "math",
        "template",
        "select",
        "option",
        "title",
        "nav",
        "details",
        "?xml",
        "!--",
        "!doctype html",
        "body",
        "head",
        "noscript",
        "kbd",
    ];
    let tag = prop::sample::select(tags);
    let part = prop_oneof![
        4 => tag.clone().prop_map(|tag| format!("<{tag}>")),
        3 => tag.prop_map(|tag| format!("</{tag}>")),
        3 => "\\PC{0,12}",
        1 => Just("\n# x | `*_ \n".to_owned()),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn tag_soup_is_read_without_a_panic(html in tag_soup()) {
        let _ = main_content(&html);
        let _ = redirect_target(&html);
    }
}
