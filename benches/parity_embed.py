"""Embedders against transformers in f32, one sequence at a time."""

import random

import torch

from .peers import SentenceTransformers, Transformers
from .sentences import sentences
from .texts import Texts

LONG = 2100
TRUNCATED = 24
DIMENSIONS = [32, 64, 128, 256, 512, 768, 1024]


def random_ids(generator, length):
    # Ordinary tokens only: special ones come last in Qwen's vocabulary.
    return [generator.randrange(100_000) for _ in range(length)]


def check_qwen3(model, folder, livedex, checks):
    """The 0.6B shape; `model` is what the table calls it."""
    generator = random.Random(1)
    cases = {
        "one token": [random_ids(generator, 1) for _ in range(8)],
        "1 to 64 tokens": [random_ids(generator, n) for n in range(1, 65)],
        f"{LONG:,} tokens": [random_ids(generator, LONG)],
    }
    texts = Texts(folder)
    real = sentences(24)
    cut = [texts.ids(text, truncation=True, max_length=TRUNCATED) for text in real]
    reference = Transformers(folder, "f32", "last")
    expected = {case: reference.embed(ids, 1) for case, ids in cases.items()}
    expected_cut = reference.embed(cut, 1)
    del reference
    reduced = Transformers(folder, "bf16", "last")
    for case, ids in cases.items():
        checks.control(model, case, reduced.embed(ids, 1), expected[case])
    del reduced

    for precision in livedex.precisions:
        livedex.load("model", "embedder", folder, precision)
        if precision == "f32":
            checks.ids(model, "token ids of sentences", livedex.tokenize("model", real),
                       [texts.ids(text) for text in real])
        for case, ids in cases.items():
            got = livedex.embed("model", ids)
            checks.vectors(model, precision, case, got, expected[case])
            if len(ids) > 8:
                checks.same(model, precision, "packed and one by one", got,
                            livedex.embed("model", ids, budget=1))
        livedex.load("model", "embedder", folder, precision, max_tokens=TRUNCATED)
        ids = livedex.tokenize("model", real)
        if precision == "f32":
            checks.ids(model, f"token ids, truncated to {TRUNCATED}", ids, cut)
        checks.vectors(model, precision, f"sentences, truncated to {TRUNCATED}",
                       livedex.embed("model", ids), expected_cut)
        matryoshka(model, folder, precision, cut[:6], expected_cut[:6], livedex, checks)
        livedex.unload("model")


def matryoshka(model, folder, precision, ids, expected, livedex, checks):
    """The leading dimensions, normalised again."""
    for dimension in DIMENSIONS if precision == "f32" else [32, 256]:
        livedex.load("model", "embedder", folder, precision, dimension=dimension)
        short = torch.nn.functional.normalize(expected[:, :dimension], dim=1)
        checks.vectors(model, precision, f"first {dimension} dimensions",
                       livedex.embed("model", ids), short)


def check_small(title, folder, livedex, checks):
    """all-MiniLM-L6-v2 (or what stands in for it) against sentence-transformers."""
    real = sentences(100)
    # Far over any limit, so that truncation is among them.
    real[-1] = " ".join(real[:40])
    encoder = SentenceTransformers(folder)
    tokenizer = Texts(folder)
    limit = encoder.model.max_seq_length
    expected = encoder.embed(real)
    for precision in livedex.precisions:
        livedex.load("model", "embedder", folder, precision)
        ids = livedex.tokenize("model", real)
        if precision == "f32":
            checks.ids(title, "token ids of sentences", ids,
                       [tokenizer.ids(text, truncation=True, max_length=limit) for text in real])
        got = livedex.embed("model", ids)
        checks.vectors(title, precision, "sentences (sentence-transformers)", got, expected)
        checks.same(title, precision, "packed and one by one", got,
                    livedex.embed("model", ids, budget=1))
        livedex.unload("model")
