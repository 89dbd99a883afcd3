"""Reranking: seconds for all candidates of one query."""

import statistics

from . import report, rounds
from .livedex import plain
from .peers import CrossEncoder, Judge
from .texts import Texts

LENGTHS = [100, 200]
QUERY_TOKENS = 16
# What transformers may choose from, tried with the first pairs.
BATCH_SIZES = [2, 8]
TRIED = 8
# A round with a causal reranker takes most of a minute.
CAUSAL_ROUNDS = 3
ALL_LOGITS = "transformers f32, all logits"
# The logits of one batch are batch size x tokens x 151,669 x 4 bytes: 1.5 GB at 8 x 300.
ALL_LOGITS_BATCH = 8


def measure(shape, livedex, options, out):
    texts = Texts(shape.folder)
    peers = {p: (Judge if shape.causal else CrossEncoder)(shape.folder, p)
             for p in ("f32", "bf16")}
    for precision in livedex.precisions:
        livedex.load(precision, "reranker", shape.folder, precision)
    query = texts.text(QUERY_TOKENS + texts.special)
    n_rounds = min(options.rounds, CAUSAL_ROUNDS) if shape.causal else options.rounds
    data = {}
    for count in options.candidates:
        for length in LENGTHS:
            documents = [texts.text(length + texts.special) for _ in range(count)]
            pairs = livedex.tokenize_pairs(livedex.precisions[0], query, documents)
            data[f"{count} x {length} tokens"] = case(shape, pairs, peers, livedex, n_rounds)
    livedex.unload(*livedex.precisions)
    present(shape, data, out)


def case(shape, pairs, peers, livedex, count):
    best = {p: rounds.fastest(BATCH_SIZES, lambda size: peer.time_score(pairs[:TRIED], size))
            for p, peer in peers.items()}
    alone = plain(pairs)
    contenders = {}
    for p in livedex.precisions:
        contenders[f"Livedex {p}"] = lambda p=p: livedex.time_score(p, alone)
        if shape.causal:
            contenders[f"Livedex {p}, shared prefix"] = lambda p=p: livedex.time_score(p, pairs)
    for p, peer in peers.items():
        contenders[f"transformers {p}"] = lambda p=p: peers[p].time_score(pairs, best[p])
    if shape.causal:
        contenders[ALL_LOGITS] = (
            lambda: peers["f32"].time_score(pairs, ALL_LOGITS_BATCH, all_logits=True))
    return {"pairs": len(pairs), "tokens": sum(len(p["ids"]) for p in pairs),
            "shared_prefix": pairs[0]["shared_prefix"], "batch_size": best,
            "seconds": rounds.interleaved(contenders, count, seldom=[ALL_LOGITS])}


def present(shape, data, out):
    names = list(next(iter(data.values()))["seconds"])

    def cell(name, case):
        seconds = statistics.median(case["seconds"][name])
        times = rounds.ratio(case["seconds"], name, "transformers f32")
        return f"{report.amount(seconds)} s ({times:.2f})"

    rows = [[name, *(cell(name, case) for case in data.values())] for name in names]
    first = next(iter(data.values()))
    prefixes = ", ".join(str(c["shared_prefix"]) for c in data.values())
    notes = [
        "Seconds for a query's candidates; in brackets how many times as fast as transformers f32 "
        f"(median of each round's ratio). {len(first['seconds'][names[0]])} rounds."
    ]
    if shape.causal:
        notes[0] += (
            f" Tokens of the prefix that candidates share: {prefixes}. transformers computes the "
            "logits of the last position; \"all logits\" is the model card's code, which computes "
            f"those of every position ({rounds.SELDOM} rounds)"
            + ("." if "of 28" not in shape.title else
               ", a larger part of a pass here than with all layers. So is the last layer, of which "
               "Livedex computes the last position only: with all 28 layers expect ratios lower "
               "by a fifth."))
    out.section(f"Reranking, {shape.title}", ["", *data], rows, notes, data)
