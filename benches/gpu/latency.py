"""One query, embedded alone."""

from .. import report
from ..peers import SentenceTransformers, Transformers
from ..texts import Texts

# A question with the prompt of Qwen3-Embedding.
TOKENS = 48


def rank(values, part):
    """The smallest value that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(max(-int(-len(ordered) * part // 1), 1), len(ordered)) - 1]


def measure(visit, results):
    folder = visit.checkpoints().qwen3("embedder", size=visit.work.small)
    texts = Texts(folder)
    length = min(TOKENS, visit.work.most)
    batch, ids = texts.batch([length])
    count = visit.work.queries
    results.table(f"One query of {length} tokens, {visit.work.small} shape",
                  ["", "p50 ms", "p99 ms", "n"], [],
                  "sentence-transformers tokenizes too; through Livedex' runtime, tokenizing "
                  "included, see the queries beside ingestion.")
    seconds = {}

    def present(name, times):
        seconds[name] = times
        results.row(name, *(report.amount(1000 * rank(times, part)) for part in (0.5, 0.99)),
                    len(times))
        results.figure("query_seconds", seconds)

    with visit.livedex() as livedex:
        livedex.load("model", "embedder", folder, "bf16")
        # The first ones load kernels and make the libraries choose theirs.
        ours = livedex.time_embed("model", ids, count + 5)[5:]
    present("Livedex bf16", ours)
    for part in (50, 99):
        results.figure(f"query_p{part}_ms", 1000 * rank(ours, part / 100))
    for name, peer, given in (
            ("transformers bf16", Transformers(folder, "bf16", "last", visit.torch), ids),
            ("sentence-transformers bf16",
             SentenceTransformers(folder, None, "bf16", visit.torch), batch)):
        present(name, [peer.time_embed(given, 1) for _ in range(count // 3 + 5)][5:])
