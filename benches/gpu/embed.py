"""Embedding throughput beside sentence-transformers and transformers, each with its best batch."""

import statistics

from .. import report, rounds
from ..peers import SentenceTransformers, Transformers
from ..texts import Texts

# The most tokens of a text that are embedded: more than any here has.
MAX_TOKENS = 8192
LIVEDEX = "Livedex bf16"
BARE = "transformers bf16"
ENCODE = "sentence-transformers bf16"
CONTENDERS = (LIVEDEX, BARE, ENCODE)


class Contenders:
    """The three, loaded."""

    def __init__(self, visit, livedex, size):
        self.visit, self.livedex = visit, livedex
        self.folder = visit.checkpoints().qwen3("embedder", size=size)
        livedex.load("model", "embedder", self.folder, "bf16", max_tokens=MAX_TOKENS)
        self.bare = Transformers(self.folder, "bf16", "last", visit.torch)
        self.encoder = SentenceTransformers(self.folder, MAX_TOKENS, "bf16", visit.torch)
        self.texts = Texts(self.folder)

    def case(self, lengths, budget):
        """Seconds of each contender, round by round."""
        batch, ids = self.texts.batch(lengths)
        sizes = [size for size in self.visit.work.batch_sizes if size <= len(ids)] or [len(ids)]
        best = {
            BARE: rounds.fastest(
                sizes, lambda size: self.bare.time_embed(ids, size)),
            ENCODE: rounds.fastest(sizes, lambda size: self.encoder.time_embed(batch, size)),
        }
        contenders = {
            LIVEDEX: lambda: self.livedex.time_embed("model", ids, 1, budget)[0],
            BARE: lambda: self.bare.time_embed(ids, best[BARE]),
            ENCODE: lambda: self.encoder.time_embed(batch, best[ENCODE]),
        }
        return {"tokens": sum(map(len, ids)), "sequences": len(ids), "budget": budget,
                "batch_size": best, "seconds": rounds.interleaved(contenders,
                                                                  self.visit.work.rounds)}


def sweep(results, contenders, size, ids, budgets):
    """The budget that is fastest."""
    title = f"Embedding, {size} shape, by the tokens of a batch"
    results.table(title, ["tokens of a batch", "tokens per second"], [])
    total, rates = sum(map(len, ids)), {}
    for budget in budgets:
        # The first pass warms up.
        seconds = contenders.livedex.time_embed("model", ids, 4, budget)[1:]
        rates[budget] = total / statistics.median(seconds)
        results.row(f"{budget:,}", report.amount(rates[budget]))
        results.figure(title, rates)
    return max(rates, key=rates.get)


def cases(results, contenders, size, budget, measured):
    """`measured` are the figures' name, a title and the lengths of each case."""
    results.table(
        f"Embedding, {size} shape", ["", *CONTENDERS, "sequences", "budget", "batch sizes"], [],
        f"Tokens per second, padding not counted; in brackets how many times as fast as {ENCODE}, "
        f"which tokenizes too. Medians of {contenders.visit.work.rounds} rounds in turns. The "
        "budget is Livedex', in tokens; the batch sizes are the others'.")
    for name, title, lengths in measured:
        case = contenders.case(lengths, budget)
        seconds = case["seconds"]
        rates = {c: case["tokens"] / statistics.median(seconds[c]) for c in CONTENDERS}
        results.row(
            title,
            *(f"{report.amount(rates[c])} ({rounds.ratio(seconds, c, ENCODE):.2f})"
              for c in CONTENDERS),
            case["sequences"], f"{budget:,}", "/".join(map(str, case["batch_size"].values())))
        results.figure(f"{name}_tokens_per_second", rates[LIVEDEX])
        results.figure(f"{name}_ratio", rounds.ratio(seconds, LIVEDEX, ENCODE))
        results.figure(f"{name}_case", case)


def small(visit, results):
    work = visit.work
    with visit.livedex() as livedex:
        contenders = Contenders(visit, livedex, work.small)
        _, ids = contenders.texts.batch([work.tokens] * (2 * work.sequences))
        budget = sweep(results, contenders, work.small, ids, work.budgets)
        mix = contenders.texts.log_normal(work.tokens * work.sequences, work.mean, work.most)
        cases(results, contenders, work.small, budget, [
            ("embed", f"{work.tokens} tokens", [work.tokens] * work.sequences),
            ("embed_mix", f"mix, mean {work.mean}", mix)])


def medium(visit, results):
    work = visit.work
    with visit.livedex() as livedex:
        contenders = Contenders(visit, livedex, work.medium)
        lengths = [work.tokens] * work.medium_sequences
        _, ids = contenders.texts.batch(2 * lengths)
        # Of fewer tokens it is slower still than the small shape.
        budget = sweep(results, contenders, work.medium, ids, work.budgets[-3:])
        cases(results, contenders, work.medium, budget,
              [("embed_4b", f"{work.tokens} tokens", lengths)])
