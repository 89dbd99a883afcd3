//! Text to token ids.
//!
//! Truncation is done here and not by the tokenizer, whose file may bring truncation and padding
//! of its own: content is cut at its end, the special tokens around it stay.

use std::path::Path;

use livedex_core::ports::TokenCounter;
use tokenizers::{Encoding, Tokenizer};

use crate::{
    backend::{EmbedTokenizer, ForwardError, PairTokenizer, PairTokens},
    error::LoadError,
    settings::Prompts,
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
        content.truncate(self.max_tokens.saturating_sub(self.template.len()));
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
}

impl Pair {
    pub(crate) fn new(text: Text, path: &Path, max_tokens: usize) -> Result<Self, LoadError> {
        let template = text.pair().map_err(|e| LoadError::invalid(path, e))?;
        Ok(Self { text, template, max_tokens })
    }
}

impl PairTokenizer for Pair {
    fn encode(
        &self,
        query: &str,
        _instruction: Option<&str>,
        document: &str,
    ) -> Result<PairTokens, ForwardError> {
        let query = self.text.ids(query)?;
        let mut document = self.text.ids(document)?;
        let fixed = query.len() + self.template.len();
        document.truncate(room(self.max_tokens, fixed)?);
        let [before, between, after] = &self.template.specials;
        let [first, second] = self.template.types;
        let parts = before
            .iter()
            .copied()
            .chain(query.into_iter().map(|id| (id, first)))
            .chain(between.iter().copied())
            .chain(document.into_iter().map(|id| (id, second)))
            .chain(after.iter().copied());
        let (ids, type_ids) = parts.unzip();
        Ok(PairTokens { ids, type_ids, shared_prefix: 0 })
    }
}

/// Tokens left for the document.
fn room(max_tokens: usize, fixed: usize) -> Result<usize, ForwardError> {
    if fixed < max_tokens {
        return Ok(max_tokens - fixed);
    }
    Err(ForwardError::Input(format!(
        "the query takes {fixed} tokens with the model's prompt and leaves none of {max_tokens} for a document"
    )))
}

/// Qwen3-Reranker's tokenizer: the model card's transformers form, fields joined by one newline.
pub(crate) struct Judge {
    text: Text,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    max_tokens: usize,
    instruction: String,
}

const JUDGE_PREFIX: &str = "<|im_start|>system\nJudge whether the Document meets the requirements \
    based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \
    \"no\".<|im_end|>\n<|im_start|>user\n";
const JUDGE_SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

impl Judge {
    pub(crate) fn new(
        text: Text,
        path: &Path,
        max_tokens: usize,
        instruction: Option<&str>,
    ) -> Result<Self, LoadError> {
        let ids = |part| text.ids(part).map_err(|e| LoadError::invalid(path, e));
        Ok(Self {
            prefix: ids(JUDGE_PREFIX)?,
            suffix: ids(JUDGE_SUFFIX)?,
            text,
            max_tokens,
            instruction: instruction.unwrap_or(DEFAULT_TASK).to_owned(),
        })
    }
}

impl PairTokenizer for Judge {
    fn encode(
        &self,
        query: &str,
        instruction: Option<&str>,
        document: &str,
    ) -> Result<PairTokens, ForwardError> {
        let instruction = instruction.unwrap_or(&self.instruction);
        let head = format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>:");
        // Head and document are tokenized together, as the reference does: tokens may span the
        // joint. What the head has in common with it does not depend on the document.
        let mut body = self.text.ids(&format!("{head} {document}"))?;
        let head = self.text.ids(&head)?;
        let shared = body.iter().zip(&head).take_while(|(a, b)| a == b).count();
        let fixed = self.prefix.len() + self.suffix.len();
        let room = room(self.max_tokens, fixed + shared)?;
        body.truncate(shared + room);
        let shared_prefix = self.prefix.len() + shared;
        let ids: Vec<u32> =
            self.prefix.iter().copied().chain(body).chain(self.suffix.iter().copied()).collect();
        Ok(PairTokens { type_ids: vec![0; ids.len()], ids, shared_prefix })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    #![allow(clippy::print_stderr, reason = "says what was skipped")]

    use std::path::PathBuf;

    use super::*;

    /// Ids that the published tokenizers of Qwen3-Embedding and Qwen3-Reranker give. Their files are too large to keep here:
    /// `LIVEDEX_QWEN3_TOKENIZERS` names a folder with both, as `tokenizer_embedding.json` and
    /// `tokenizer_reranker.json`.
    #[test]
    fn published_qwen3_tokenizers_give_the_published_ids() {
        let Some(folder) = std::env::var_os("LIVEDEX_QWEN3_TOKENIZERS").map(PathBuf::from) else {
            eprintln!("skipped: LIVEDEX_QWEN3_TOKENIZERS is not set");
            return;
        };
        let path = folder.join("tokenizer_reranker.json");
        let text = Text::read(&path).unwrap();
        assert_eq!((text.id("yes"), text.id("no")), (Some(9693), Some(2152)));
        let judge = Judge::new(text, &path, 8192, None).unwrap();
        let prefix = [
            151644, 8948, 198, 60256, 3425, 279, 11789, 20027, 279, 8502, 3118, 389, 279, 11361,
            323, 279, 758, 1235, 3897, 13, 7036, 429, 279, 4226, 646, 1172, 387, 330, 9693, 1, 476,
            330, 2152, 3263, 151645, 198, 151644, 872, 198,
        ];
        let suffix = [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271];
        assert_eq!(judge.prefix, prefix);
        assert_eq!(judge.suffix, suffix);
        let body = [
            27, 641, 1235, 26818, 16246, 264, 3482, 2711, 3239, 11, 17179, 9760, 46769, 429, 4226,
            279, 3239, 198, 27, 2859, 26818,
        ];
        let pair = judge.encode("x", None, "y").unwrap();
        assert_eq!(pair.ids[prefix.len()..][..body.len()], body);
        assert!(pair.ids.ends_with(&suffix));
        // <Document>: is the last that does not depend on the document.
        assert_eq!(pair.shared_prefix, pair.ids.len() - suffix.len() - 1);

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
