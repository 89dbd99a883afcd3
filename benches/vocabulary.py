"""The tokenizer of the Qwen3 shape: the published one where there is a copy, else a small one.

`LIVEDEX_QWEN3_TOKENIZERS` names a folder with `tokenizer_embedding.json` and
`tokenizer_reranker.json`, the files of Qwen3-Embedding-0.6B and Qwen3-Reranker-0.6B.
"""

import os
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Whole words for the texts to be made of, and the words of the reranker's template.
CORPUS = """The stream of documents is cut into chunks and every chunk becomes a vector.
Where is the capital of China? The capital of China is Beijing. yes no yes no yes no
Gravity is a force that attracts two bodies towards each other and gives weight to objects.
Judge whether the Document meets the requirements based on the Query and the Instruct provided.
Note that the answer can only be "yes" or "no". system user assistant
<Instruct>: <Query>: <Document>: Given a web search query, retrieve relevant passages
yes
no"""


def published(role):
    """The published tokenizer of `embedder` or `reranker`, or None."""
    folder = os.environ.get("LIVEDEX_QWEN3_TOKENIZERS")
    if not folder:
        return None
    name = {"embedder": "tokenizer_embedding.json", "reranker": "tokenizer_reranker.json"}[role]
    return Tokenizer.from_file(str(pathlib.Path(folder) / name))


def small(role):
    """Byte-level BPE after Qwen's fashion: same normaliser, split pattern, special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS.splitlines() * 3, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    if role == "embedder":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>",
            special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
        )
    return tokenizer


def qwen3(role):
    """The tokenizer and the name of what it is."""
    found = published(role)
    return (found, "published") if found else (small(role), "small")


def word_pieces(size):
    """A WordPiece vocabulary of words that are one token each, for a BERT without a real one."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = [a + b + c + d for a in letters for b in "aeiou" for c in letters for d in letters]
    words = special + list(letters) + ["##" + c for c in letters] + made
    vocabulary = {word: i for i, word in enumerate(words[:size])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer
