"""Vectors and probabilities on the GPU beside transformers in f32 on the same weights."""

import random

from ..checks import Checks
from ..livedex import plain
from ..parity_rerank import QUERY, documents
from ..peers import Judge, Transformers
from ..sentences import sentences

# Sequences that transformers computes together; alone they would take most of a minute.
TOGETHER = 32
# Tokens that are computed together: any batch of parity is one forward pass.
ONE_PASS = 1 << 20


class Recorded(Checks):
    """Checks whose rows are among the results as they come: a section may be ended before its last one."""

    def __init__(self, results, what, title):
        super().__init__()
        self.results = results
        results.table(f"Parity of {what}, {title}", self.HEAD, [])

    def keep(self, row):
        self.rows.append(row)
        self.results.row(*row)
        if row[-1] == "FAIL":
            self.results.failed(" ".join(map(str, row)))


def lengths(generator, count, work):
    """Lengths with a log-normal spread, the shortest and the longest among them."""
    made = [work.most, 1][:count]
    while len(made) < count:
        length = work.mean * generator.lognormvariate(-0.18, 0.6)
        made.append(int(min(max(length, 1), work.most)))
    generator.shuffle(made)
    return made


def check_embedder(visit, results, title, folder, cases):
    """`cases` are lists of ids by their name."""
    checks = Recorded(results, "vectors", title)
    reference = Transformers(folder, "f32", "last", visit.torch)
    expected = {case: reference.embed(ids, TOGETHER) for case, ids in cases.items()}
    del reference
    reduced = Transformers(folder, "bf16", "last", visit.torch)
    for case, ids in cases.items():
        checks.control(title, case, reduced.embed(ids, TOGETHER), expected[case])
    del reduced

    got = {}
    for attention in ("fused", "cublas"):
        with visit.livedex(LIVEDEX_BENCH_ATTENTION=attention) as livedex:
            livedex.load("model", "embedder", folder, "bf16")
            for case, ids in cases.items():
                vectors = livedex.embed("model", ids, ONE_PASS)
                got[attention, case] = vectors
                checks.vectors(title, "bf16", f"{case}, {attention}", vectors, expected[case])
            case = next(c for c in cases if 1 < len(cases[c]) <= 64)
            checks.same(title, "bf16", f"one by one, {attention}", got[attention, case],
                        livedex.embed("model", cases[case], budget=1))
    for case in cases:
        checks.same(title, "bf16", f"{case}, fused and cublas", got["fused", case],
                    got["cublas", case])


def check_reranker(visit, results, title, folder, long):
    checks = Recorded(results, "probabilities", title)
    made = documents(long=long and not visit.tiny)
    if visit.tiny:
        made = made[:5]
    if long:
        # Longer than the model is told to read: its document is cut to the last token.
        made.append(" ".join(3 * sentences(100)))
    got = {}
    for attention in ("fused", "cublas"):
        with visit.livedex(LIVEDEX_BENCH_ATTENTION=attention) as livedex:
            livedex.load("model", "reranker", folder, "bf16", max_tokens=visit.work.long)
            pairs = livedex.tokenize_pairs("model", QUERY, made)
            if attention == "fused":
                expected, control = scores(visit, folder, pairs)
                results.figure(f"probabilities, {title}", [min(expected), max(expected)])
                longest = max(len(pair["ids"]) for pair in pairs)
                case = f"pairs of up to {longest:,} tokens"
                checks.control(title, case, control, expected)
            for name, chosen in (("plain", plain(pairs)), ("prefix shared", pairs)):
                got[name, attention] = livedex.score("model", chosen, ONE_PASS)
                checks.scores(title, "bf16", f"{case}, {name}, {attention}", got[name, attention],
                              expected)
    checks.same(title, "bf16", "prefix shared and plain", got["prefix shared", "fused"],
                got["plain", "fused"])
    for name in ("plain", "prefix shared"):
        checks.same(title, "bf16", f"{name}, fused and cublas", got[name, "fused"],
                    got[name, "cublas"])


def scores(visit, folder, pairs):
    """transformers' scores in f32, and in bf16 for scale, pair by pair: without padding."""
    return [Judge(folder, precision, visit.torch).score(pairs, 1) for precision in ("f32", "bf16")]


def embedder(visit, results):
    work, generator = visit.work, random.Random(1)
    ids = lambda length: [generator.randrange(work.vocabulary) for _ in range(length)]
    cases = {f"batch of {n}": [ids(length) for length in lengths(generator, n, work)]
             for n in work.batches}
    cases[f"{work.long:,} tokens"] = [ids(work.long), ids(work.long - 3)]
    folder = visit.checkpoints().qwen3("embedder", size=work.small)
    check_embedder(visit, results, f"{work.small} shape", folder, cases)


def reranker(visit, results):
    folder = visit.checkpoints().qwen3("reranker", size=visit.work.small)
    check_reranker(visit, results, f"{visit.work.small} shape", folder, long=True)


def untied(visit, results):
    """The shape whose head is a matrix of its own, cut to a few layers."""
    work = visit.work
    folder = visit.checkpoints().qwen3("reranker", work.untied_layers, tied=False, sharded=True,
                                       size=work.untied)
    title = f"{work.untied} shape, {work.untied_layers} layers, untied head"
    check_reranker(visit, results, title, folder, long=False)
