"""Rerankers against transformers in f32, one pair at a time."""

from .livedex import plain
from .peers import CrossEncoder, Judge
from .sentences import sentences
from .texts import Texts

TASK = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
    'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QUERY = "How do I share data between threads without copying it?"
TRUNCATED = 160


def card_ids(texts, query, document, limit):
    """The model card's input: the body is cut, prefix and suffix stay."""
    prefix, suffix = texts.ids(PREFIX), texts.ids(SUFFIX)
    body = f"<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {document}"
    room = limit - len(prefix) - len(suffix)
    return prefix + texts.ids(body, truncation=True, max_length=room) + suffix


def documents(long):
    """Real sentences, alone and several together, no text at all and a long one."""
    real = sentences(60)
    made = real[:8] + [" ".join(real[:n]) for n in (4, 8, 16)] + ["", "yes"]
    return made + [" ".join(real + real[:10])] if long else made


def check_qwen3(title, folder, livedex, checks, long):
    made = documents(long)
    texts = Texts(folder)
    expected_ids = [card_ids(texts, QUERY, document, 8192) for document in made]
    cut_ids = [card_ids(texts, QUERY, document, TRUNCATED) for document in made]
    reference = Judge(folder, "f32")
    as_pairs = lambda all_ids: [{"ids": ids} for ids in all_ids]
    expected = reference.score(as_pairs(expected_ids), 1)
    expected_cut = reference.score(as_pairs(cut_ids), 1)
    del reference
    longest = max(map(len, expected_ids))
    case = f"pairs of {min(map(len, expected_ids))} to {longest:,} tokens"
    print(f"{title}: probabilities of {min(expected):.3f} to {max(expected):.3f}", flush=True)
    checks.control(title, case, Judge(folder, "bf16").score(as_pairs(expected_ids), 1), expected)

    for precision in livedex.precisions:
        livedex.load("model", "reranker", folder, precision)
        pairs = livedex.tokenize_pairs("model", QUERY, made)
        if precision == "f32":
            checks.ids(title, "token ids of pairs", [p["ids"] for p in pairs], expected_ids)
        alone = livedex.score("model", plain(pairs))
        checks.scores(title, precision, case, alone, expected)
        shared = livedex.score("model", pairs)
        checks.scores(title, precision, "the same, prefix shared", shared, expected)
        checks.same(title, precision, "prefix shared and plain", shared, alone)
        short = [p for p in plain(pairs) if len(p["ids"]) < 400]
        packed = [score for score, p in zip(alone, pairs) if len(p["ids"]) < 400]
        checks.same(title, precision, "packed and one by one", packed,
                    livedex.score("model", short, budget=1))
        livedex.load("model", "reranker", folder, precision, max_tokens=TRUNCATED)
        pairs = livedex.tokenize_pairs("model", QUERY, made)
        if precision == "f32":
            checks.ids(title, f"token ids, truncated to {TRUNCATED}",
                       [p["ids"] for p in pairs], cut_ids)
        checks.scores(title, precision, f"pairs, truncated to {TRUNCATED}",
                      livedex.score("model", pairs), expected_cut)
        livedex.unload("model")


def check_small(title, folder, livedex, checks):
    """A cross-encoder of BERT's kind."""
    made = sentences(40)
    reference = CrossEncoder(folder, "f32")
    for precision in livedex.precisions:
        livedex.load("model", "reranker", folder, precision)
        pairs = livedex.tokenize_pairs("model", QUERY, made)
        checks.scores(title, precision, "pairs", livedex.score("model", pairs),
                      reference.score(pairs, 1))
        livedex.unload("model")
