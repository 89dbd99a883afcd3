//! Qwen3-Reranker's tokenizer: the prompt of its model card around query and document.

use std::{ops::Range, path::Path};

use crate::{
    backend::{ForwardError, PairTokenizer, PairTokens},
    error::LoadError,
    parts::parts,
    spec::{LongDocuments, PromptForm},
    tokenize::{DEFAULT_TASK, Text, room},
};

#[cfg(test)]
mod tests;

/// The tokenizer with its prompt.
pub(crate) struct Judge {
    text: Text,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    max_tokens: usize,
    instruction: String,
    form: PromptForm,
    long: LongDocuments,
}

const PREFIX: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on \
    the Query and the Instruct provided. Note that the answer can only be \"yes\" or \
    \"no\".<|im_end|>\n<|im_start|>user\n";
const SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

impl Judge {
    pub(crate) fn new(
        text: Text,
        path: &Path,
        max_tokens: usize,
        instruction: Option<&str>,
        form: PromptForm,
        long: LongDocuments,
    ) -> Result<Self, LoadError> {
        let ids = |part| text.ids(part).map_err(|e| LoadError::invalid(path, e));
        Ok(Self {
            prefix: ids(PREFIX)?,
            suffix: ids(SUFFIX)?,
            text,
            max_tokens,
            instruction: instruction.unwrap_or(DEFAULT_TASK).to_owned(),
            form,
            long,
        })
    }
}

impl PairTokenizer for Judge {
    fn encode(
        &self,
        query: &str,
        instruction: Option<&str>,
        document: &str,
    ) -> Result<Vec<PairTokens>, ForwardError> {
        let instruction = instruction.unwrap_or(&self.instruction);
        let gap = match self.form {
            PromptForm::OneNewline => "\n",
            PromptForm::TwoNewlines => "\n\n",
        };
        let head = format!("<Instruct>: {instruction}{gap}<Query>: {query}{gap}<Document>:");
        // Head and document are tokenized together, as the reference does: tokens may span the
        // joint. What the head has in common with it does not depend on the document.
        let body = self.text.ids(&format!("{head} {document}"))?;
        let head = self.text.ids(&head)?;
        let shared = body.iter().zip(&head).take_while(|(a, b)| a == b).count();
        let (head, document) = body.split_at(shared);
        let fixed = self.prefix.len() + self.suffix.len();
        let room = room(self.max_tokens, fixed + shared)?;
        let pair = |part: Range<usize>| {
            let ids: Vec<u32> = [&self.prefix, head, &document[part], &self.suffix].concat();
            let shared_prefix = self.prefix.len() + shared;
            PairTokens { type_ids: vec![0; ids.len()], ids, shared_prefix }
        };
        Ok(parts(document.len(), room, self.long).into_iter().map(pair).collect())
    }
}
