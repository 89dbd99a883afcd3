"""Reranking one query's candidates beside the model card's script."""

import statistics

from .. import rounds
from ..livedex import plain
from ..peers import Judge
from ..texts import Texts

QUERY_TOKENS = 16
SHARED, PLAIN = "Livedex bf16, shared prefix", "Livedex bf16, plain"
CARD, LAST = "transformers bf16, all logits", "transformers bf16, last token's logits"


def measure(visit, results):
    work = visit.work
    folder = visit.checkpoints().qwen3("reranker", size=work.small)
    texts = Texts(folder)
    judge = Judge(folder, "bf16", visit.torch)
    documents = [texts.text(work.candidate_tokens + texts.special) for _ in range(work.candidates)]
    with visit.livedex() as livedex:
        livedex.load("model", "reranker", folder, "bf16")
        pairs = livedex.tokenize_pairs("model", texts.text(QUERY_TOKENS + texts.special), documents)
        alone = plain(pairs)
        ours = {SHARED: pairs, PLAIN: alone}
        budgets = {name: rounds.fastest(work.budgets, lambda budget: statistics.median(
            livedex.time_score("model", chosen, 3, budget))) for name, chosen in ours.items()}
        # For the case that the others are late: what they are compared in replaces it.
        results.figure("rerank_ms", 1000 * statistics.median(
            livedex.time_score("model", pairs, 3, budgets[SHARED])))
        tokens = sum(len(pair["ids"]) for pair in pairs)
        prefix = pairs[0]["shared_prefix"]
        results.figure("rerank_computed_tokens", tokens - prefix * (len(pairs) - 1))
        tried = sorted({min(size, work.candidates) for size in work.batch_sizes})
        sizes = {name: rounds.fastest(tried, lambda size: judge.time_score(pairs, size, all_logits))
                 for name, all_logits in ((CARD, True), (LAST, False))}
        contenders = {name: lambda name=name: livedex.time_score("model", ours[name], 3,
                                                                 budgets[name]) for name in ours}
        contenders |= {name: lambda name=name: judge.time_score(pairs, sizes[name], name == CARD)
                       for name in sizes}
        seconds = rounds.interleaved(contenders, work.rounds)
    rows = [[name, f"{1000 * statistics.median(seconds[name]):.1f}",
             f"{rounds.ratio(seconds, name, CARD):.2f}"] for name in seconds]
    results.table(
        f"Reranking {work.candidates} x {work.candidate_tokens} tokens, {work.small} shape",
        ["", "ms", "beside all logits"], rows,
        f"Milliseconds for a query's candidates, {tokens:,} tokens with prompt and query, of which "
        f"{prefix} are the prefix of each; budgets {'/'.join(f'{b:,}' for b in budgets.values())} "
        f"tokens, batch sizes {'/'.join(map(str, sizes.values()))}. All logits: the model card's "
        "code, which computes the whole vocabulary at every position. Medians of "
        f"{work.rounds} rounds in turns.")
    results.figure("rerank_ms", 1000 * statistics.median(seconds[SHARED]))
    results.figure("rerank_ratio", rounds.ratio(seconds, SHARED, CARD))
    results.figure("rerank_seconds", seconds)
