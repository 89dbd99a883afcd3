"""Embedding throughput: tokens per second at several lengths, padding not counted."""

import statistics

from . import report, rounds
from .peers import SentenceTransformers, Transformers
from .texts import Texts

LENGTHS = [32, 128, 512]
MEAN = 200
BATCH_SIZES = [4, 32, 128]


def measure(shape, livedex, options, out):
    texts = Texts(shape.folder)
    tokens = options.round_tokens or shape.round_tokens
    # Twice as much: of fewer sequences the spread would not show.
    mix = texts.log_normal(2 * tokens, MEAN, shape.max_tokens)
    cases = {f"{n} tokens": [n] * max(tokens // n, 1) for n in LENGTHS}
    cases[f"mix, mean {MEAN}"] = mix

    peers = {p: Transformers(shape.folder, p, shape.pooling) for p in ("f32", "bf16")}
    encoder = SentenceTransformers(shape.folder, shape.max_tokens)
    for precision in livedex.precisions:
        livedex.load(precision, "embedder", shape.folder, precision,
                     max_tokens=shape.max_tokens)

    data = {}
    for title, lengths in cases.items():
        batch, ids = texts.batch(lengths)
        data[title] = case(batch, ids, peers, encoder, livedex, options.rounds)
    livedex.unload(*livedex.precisions)
    present(shape, data, out)


def case(batch, ids, peers, encoder, livedex, count):
    """One column: the seconds of each contender, round by round."""
    sizes = sorted({min(size, len(ids)) for size in BATCH_SIZES})
    best = {p: rounds.fastest(sizes, lambda size: peer.time_embed(ids, size))
            for p, peer in peers.items()}
    # Ours sorts nothing: the order it gets is the order of arrival.
    contenders = {f"Livedex {p}": lambda p=p: livedex.time_embed(p, ids)
                  for p in livedex.precisions}
    contenders |= {f"transformers {p}": lambda p=p: peers[p].time_embed(ids, best[p])
                   for p in peers}
    contenders["sentence-transformers f32"] = lambda: encoder.time_embed(batch, best["f32"])
    lengths = [len(i) for i in ids]
    ordered = sorted(lengths, reverse=True)
    size = best["f32"]
    padded = sum(max(part) * len(part) for part in
                 (ordered[i:i + size] for i in range(0, len(ordered), size)))
    return {"tokens": sum(lengths), "sequences": len(lengths), "batch_size": best,
            "padded_tokens": padded, "seconds": rounds.interleaved(contenders, count)}


def present(shape, data, out):
    names = list(next(iter(data.values()))["seconds"])

    def cell(name, case):
        rate = case["tokens"] / statistics.median(case["seconds"][name])
        times = rounds.ratio(case["seconds"], name, "transformers f32")
        return f"{report.amount(rate)} ({times:.2f})"

    rows = [[name, *(cell(name, case) for case in data.values())] for name in names]
    if "Livedex bf16" in names:
        rows.append(["Livedex bf16 / transformers bf16", *(
            f"{rounds.ratio(c['seconds'], 'Livedex bf16', 'transformers bf16'):.2f}"
            for c in data.values())])
    notes = [
        "Tokens per second; in brackets how many times as fast as transformers f32 (median of "
        "each round's ratio). "
        f"{len(next(iter(data.values()))['seconds'][names[0]])} rounds of "
        + ", ".join(f"{c['sequences']} sequences ({title})" for title, c in data.items())
        + ". Batch size of transformers f32/bf16: "
        + ", ".join(f"{c['batch_size']['f32']}/{c['batch_size']['bf16']}" for c in data.values())
        + "; padding it adds in the mix: "
        + "{:.0%}.".format(list(data.values())[-1]["padded_tokens"]
                           / list(data.values())[-1]["tokens"] - 1),
    ]
    out.section(f"Embedding, {shape.title}", ["", *data], rows, notes, data)
