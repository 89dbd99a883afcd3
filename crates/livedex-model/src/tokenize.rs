//! Text to token ids.
//!
//! Truncation is done here and not by the tokenizer, whose file may bring truncation and padding
//! of its own: content is cut at its end (a cross-encoder's document perhaps into `parts`), the
//! special tokens around it stay.

use std::{ops::Range, path::Path};

use livedex_core::ports::TokenCounter;
use tokenizers::{Encoding, Tokenizer};

use crate::{
    backend::{EmbedTokenizer, ForwardError, PairTokenizer, PairTokens},
    error::LoadError,
    parts::parts,
    scheduler::telemetry,
    settings::Prompts,
    spec::LongDocuments,
};

/// The special tokens that a tokenizer puts around one text or around a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    /// Before, between and after; the middle one is empty for a single text.
    specials: [Vec<Special>; 3],
    /// Segments of the two texts' tokens.
    types: [u32; 2],
}

type Special = (u32, u32);

impl Template {
    fn len(&self) -> usize {
        self.specials.iter().map(Vec::len).sum()
    }
}

/// A tokenizer that neither truncates nor pads.
#[derive(Debug, Clone)]
pub(crate) struct Text(Tokenizer);

impl Text {
    /// Reads `tokenizer.json`.
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read(path).map_err(|e| LoadError::read(path, e))?;
        let mut tokenizer =
            Tokenizer::from_bytes(&text).map_err(|e| LoadError::invalid(path, e))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| LoadError::invalid(path, e))?;
        Ok(Self(tokenizer))
    }

    /// The id of a token.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    /// The ids of a text, without special tokens around it.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.0
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| ForwardError::Input(format!("the text cannot be tokenized: {e}")))
    }

    /// What is put around one text.
    fn single(&self) -> Result<Template, String> {
        let encoding = self.0.encode("a", true).map_err(|e| e.to_string())?;
        template(&encoding, 1)
    }

    /// What is put around a pair.
    fn pair(&self) -> Result<Template, String> {
        let encoding = self.0.encode(("a", "a"), true).map_err(|e| e.to_string())?;
        template(&encoding, 2)
    }
}

/// Reads a template off an example: which tokens are special, and which lie between.
fn template(encoding: &Encoding, texts: usize) -> Result<Template, String> {
    let mut specials: [Vec<Special>; 3] = Default::default();
    let mut types = [0, 0];
    let mut part = 0;
    let mut inside = None;
    for (i, sequence) in encoding.get_sequence_ids().into_iter().enumerate() {
        let (id, kind) = (encoding.get_ids()[i], encoding.get_type_ids()[i]);
        match sequence {
            Some(text) => {
                if inside != Some(text) {
                    if text != part {
                        return Err("it orders the texts of a pair in its own way".into());
                    }
                    part = text + 1;
                    inside = Some(text);
                }
                types[text] = kind;
            }
            None => {
                inside = None;
                // A single text's tail goes last.
                let at = if part == texts { 2 } else { part };
                specials[at].push((id, kind));
            }
        }
    }
    if part == texts {
        Ok(Template { specials, types })
    } else {
        Err("it gives no token for the letter a".into())
    }
}

/// An embedder's tokenizer with its prompts and its limit.
pub(crate) struct Embedding {
    text: Text,
    template: Template,
    max_tokens: usize,
    document_prompt: String,
    query: QueryPrompt,
}

/// What is put before a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QueryPrompt {
    /// Always the same.
    Fixed(String),
    /// `Instruct: {task}\nQuery:` with the request's task, or else this whole prompt.
    Instruct(String),
}

/// Qwen3-Embedding's form: no space behind the last colon.
fn instruct(task: &str) -> String {
    format!("Instruct: {task}\nQuery:")
}

impl QueryPrompt {
    /// Of a family that follows instructions: the operator's task, else the prompt that is set for
    /// the model, else the default task.
    pub(crate) fn instruct(task: Option<&str>, prompts: &Prompts) -> Self {
        Self::Instruct(match (task, &prompts.query) {
            (Some(task), _) => instruct(task),
            (None, Some(prompt)) => prompt.clone(),
            (None, None) => instruct(DEFAULT_TASK),
        })
    }

    /// What is put before a query where the request brings no task.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Fixed(prompt) | Self::Instruct(prompt) => prompt,
        }
    }

    /// Of a family that does not.
    pub(crate) fn fixed(prompts: &Prompts) -> Self {
        Self::Fixed(prompts.query.clone().unwrap_or_default())
    }
}

/// The task of Qwen3-Embedding's and Qwen3-Reranker's model cards.
pub(crate) const DEFAULT_TASK: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

impl Embedding {
    pub(crate) fn new(
        text: Text,
        path: &Path,
        max_tokens: usize,
        document_prompt: String,
        query: QueryPrompt,
    ) -> Result<Self, LoadError> {
        let template = text.single().map_err(|e| LoadError::invalid(path, e))?;
        Ok(Self { text, template, max_tokens, document_prompt, query })
    }

    fn encode(&self, prompt: &str, text: &str) -> Result<Vec<u32>, ForwardError> {
        let mut content = if prompt.is_empty() {
            self.text.ids(text)?
        } else {
            self.text.ids(&format!("{prompt}{text}"))?
        };
        let room = self.max_tokens.saturating_sub(self.template.len());
        if content.len() > room {
            content.truncate(room);
            telemetry::truncated(telemetry::EMBEDDER);
        }
        let [before, _, after] = &self.template.specials;
        let ids: Vec<u32> =
            before.iter().map(|s| s.0).chain(content).chain(after.iter().map(|s| s.0)).collect();
        if ids.is_empty() {
            return Err(ForwardError::Input("the text has no tokens".into()));
        }
        Ok(ids)
    }
}

impl TokenCounter for Embedding {
    fn count(&self, text: &str) -> usize {
        // A text that the tokenizer refuses counts as its bytes, which is never too few.
        self.text.ids(text).map_or(text.len(), |ids| ids.len())
    }
}

impl EmbedTokenizer for Embedding {
    fn encode_document(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.encode(&self.document_prompt, text)
    }

    fn encode_query(
        &self,
        query: &str,
        instruction: Option<&str>,
    ) -> Result<Vec<u32>, ForwardError> {
        match (&self.query, instruction) {
            (QueryPrompt::Instruct(_), Some(task)) => self.encode(&instruct(task), query),
            (QueryPrompt::Instruct(prompt) | QueryPrompt::Fixed(prompt), _) => {
                self.encode(prompt, query)
            }
        }
    }
}

/// A cross-encoder's tokenizer after BERT's fashion: `[CLS] query [SEP] document [SEP]`.
pub(crate) struct Pair {
    text: Text,
    template: Template,
    max_tokens: usize,
    long: LongDocuments,
}

impl Pair {
    pub(crate) fn new(
        text: Text,
        path: &Path,
        max_tokens: usize,
        long: LongDocuments,
    ) -> Result<Self, LoadError> {
        let template = text.pair().map_err(|e| LoadError::invalid(path, e))?;
        Ok(Self { text, template, max_tokens, long })
    }
}

impl PairTokenizer for Pair {
    fn encode(
        &self,
        query: &str,
        _instruction: Option<&str>,
        document: &str,
    ) -> Result<Vec<PairTokens>, ForwardError> {
        let query = self.text.ids(query)?;
        let document = self.text.ids(document)?;
        let room = room(self.max_tokens, query.len() + self.template.len())?;
        let [before, between, after] = &self.template.specials;
        let [first, second] = self.template.types;
        let pair = |part: Range<usize>| {
            let tokens = before
                .iter()
                .copied()
                .chain(query.iter().map(|id| (*id, first)))
                .chain(between.iter().copied())
                .chain(document[part].iter().map(|id| (*id, second)))
                .chain(after.iter().copied());
            let (ids, type_ids) = tokens.unzip();
            PairTokens { ids, type_ids, shared_prefix: 0 }
        };
        Ok(parts(document.len(), room, self.long).into_iter().map(pair).collect())
    }
}

/// Tokens left for the document.
pub(crate) fn room(max_tokens: usize, fixed: usize) -> Result<usize, ForwardError> {
    if fixed < max_tokens {
        return Ok(max_tokens - fixed);
    }
    Err(ForwardError::Input(format!(
        "the query takes {fixed} tokens with the model's prompt and leaves none of {max_tokens} for a document"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    #![allow(clippy::print_stderr, reason = "says what was skipped")]

    use std::path::PathBuf;

    use super::*;

    /// Ids that the published tokenizer of Qwen3-Embedding gives. Its file is too large to keep
    /// here: `LIVEDEX_QWEN3_TOKENIZERS` names a folder with `tokenizer_embedding.json`.
    #[test]
    fn the_published_qwen3_tokenizer_gives_the_published_ids() {
        let Some(folder) = std::env::var_os("LIVEDEX_QWEN3_TOKENIZERS").map(PathBuf::from) else {
            eprintln!("skipped: LIVEDEX_QWEN3_TOKENIZERS is not set");
            return;
        };
        let path = folder.join("tokenizer_embedding.json");
        let query = QueryPrompt::instruct(None, &Prompts::default());
        let text = Text::read(&path).unwrap();
        let embedding = Embedding::new(text, &path, 32_768, String::new(), query).unwrap();
        let expected = [
            641, 1235, 25, 16246, 264, 3482, 2711, 3239, 11, 17179, 9760, 46769, 429, 4226, 279,
            3239, 198, 2859, 25, 3838, 374, 279, 6722, 315, 5616, 30, 151643,
        ];
        assert_eq!(
            embedding.encode_query("What is the capital of China?", None).unwrap(),
            expected
        );
        assert_eq!(embedding.encode_document("").unwrap(), [151643]);
    }
}
