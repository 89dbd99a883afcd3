"""Embedding throughput beside sentence-transformers and transformers, each with its best batch."""

import statistics

from .. import report, rounds
from ..peers import SentenceTransformers, Transformers
from ..texts import Texts

# The most tokens of a text that are embedded: more than any here has.
MAX_TOKENS = 8192
LIVEDEX = "Livedex bf16"
ENCODE = "sentence-transformers bf16"


class Contenders:
    """The three, loaded."""

    def __init__(self, visit, livedex, size):
        self.visit, self.livedex = visit, livedex
        self.folder = visit.checkpoints().qwen3("embedder", size=size)
        livedex.load("model", "embedder", self.folder, "bf16", max_tokens=MAX_TOKENS)
        self.bare = Transformers(self.folder, "bf16", "last", visit.torch)
        self.encoder = SentenceTransformers(self.folder, MAX_TOKENS, "bf16", visit.torch)
        self.texts = Texts(self.folder)

    def sweep(self, ids, budgets):
        """Tokens per second by the budget; the first of four passes does not count."""
        total = sum(map(len, ids))
        return {budget: total / statistics.median(
            self.livedex.time_embed("model", ids, 4, budget)[1:])
            for budget in budgets}

    def case(self, lengths, budget):
        """Seconds of each contender, round by round."""
        batch, ids = self.texts.batch(lengths)
        sizes = [size for size in self.visit.work.batch_sizes if size <= len(ids)] or [len(ids)]
        best = {
            "transformers bf16": rounds.fastest(
                sizes, lambda size: self.bare.time_embed(ids, size)),
            ENCODE: rounds.fastest(sizes, lambda size: self.encoder.time_embed(batch, size)),
        }
        contenders = {
            LIVEDEX: lambda: self.livedex.time_embed("model", ids, 1, budget)[0],
            "transformers bf16": lambda: self.bare.time_embed(ids, best["transformers bf16"]),
            ENCODE: lambda: self.encoder.time_embed(batch, best[ENCODE]),
        }
        return {"tokens": sum(map(len, ids)), "sequences": len(ids), "budget": budget,
                "batch_size": best, "seconds": rounds.interleaved(contenders,
                                                                  self.visit.work.rounds)}


def present(results, title, cases):
    names = list(next(iter(cases.values()))["seconds"])

    def cell(name, case):
        rate = case["tokens"] / statistics.median(case["seconds"][name])
        return f"{report.amount(rate)} ({rounds.ratio(case['seconds'], name, ENCODE):.2f})"

    def batch(case):
        return (f"{case['sequences']} sequences, budget {case['budget']:,} tokens, batch size "
                + "/".join(str(size) for size in case["batch_size"].values()))

    results.table(
        title, ["", *cases], [[name, *(cell(name, c) for c in cases.values())] for name in names],
        f"Tokens per second, padding not counted; in brackets how many times as fast as {ENCODE}, "
        "which tokenizes too. Medians of "
        f"{len(cases[next(iter(cases))]['seconds'][LIVEDEX])} rounds in turns. "
        + "; ".join(f"{name}: {batch(case)}" for name, case in cases.items()) + ".")


def figures(results, name, case):
    rate = case["tokens"] / statistics.median(case["seconds"][LIVEDEX])
    results.figure(f"{name}_tokens_per_second", rate)
    results.figure(f"{name}_ratio", rounds.ratio(case["seconds"], LIVEDEX, ENCODE))
    results.figure(f"{name}_case", case)


def sweep(results, title, rates):
    results.table(title, ["tokens of a batch", "tokens per second"],
                  [[f"{budget:,}", report.amount(rate)] for budget, rate in rates.items()])
    results.figure(title, rates)
    return max(rates, key=rates.get)


def small(visit, results):
    work = visit.work
    with visit.livedex() as livedex:
        contenders = Contenders(visit, livedex, work.small)
        _, ids = contenders.texts.batch([work.tokens] * (2 * work.sequences))
        title = f"Embedding, {work.small} shape, by the tokens of a batch"
        budget = sweep(results, title, contenders.sweep(ids, work.budgets))
        cases = {}
        mix = contenders.texts.log_normal(work.tokens * work.sequences, work.mean, work.most)
        for name, title, lengths in (
                ("embed", f"{work.tokens} tokens", [work.tokens] * work.sequences),
                ("embed_mix", f"mix, mean {work.mean}", mix)):
            cases[title] = contenders.case(lengths, budget)
            figures(results, name, cases[title])
        present(results, f"Embedding, {work.small} shape", cases)


def medium(visit, results):
    work = visit.work
    with visit.livedex() as livedex:
        contenders = Contenders(visit, livedex, work.medium)
        lengths = [work.tokens] * work.medium_sequences
        _, ids = contenders.texts.batch(2 * lengths)
        # Of fewer tokens it is slower still than the small shape.
        rates = contenders.sweep(ids, work.budgets[-3:])
        budget = sweep(results, f"Embedding, {work.medium} shape, by the tokens of a batch", rates)
        case = contenders.case(lengths, budget)
        figures(results, "embed_4b", case)
        present(results, f"Embedding, {work.medium} shape", {f"{work.tokens} tokens": case})
