"""The latency of one query: 16 tokens, embedded alone."""

from . import report
from .peers import SentenceTransformers, Transformers
from .texts import Texts

TOKENS = 16
PASSES = 30


def measure(shape, livedex, options, out):
    texts = Texts(shape.folder)
    batch, ids = texts.batch([TOKENS])
    peers = {p: Transformers(shape.folder, p, shape.pooling) for p in ("f32", "bf16")}
    encoder = SentenceTransformers(shape.folder, shape.max_tokens)
    for precision in livedex.precisions:
        livedex.load(precision, "embedder", shape.folder, precision,
                     max_tokens=shape.max_tokens)
    contenders = {f"Livedex {p}": lambda p=p: livedex.time_embed(p, ids)[0]
                  for p in livedex.precisions}
    contenders |= {f"transformers {p}": lambda p=p: peers[p].time_embed(ids, 1) for p in peers}
    contenders["sentence-transformers f32"] = lambda: encoder.time_embed(batch, 1)
    for run in contenders.values():
        run()
    data = {name: [] for name in contenders}
    for _ in range(PASSES):
        for name, run in contenders.items():
            data[name].append(run() * 1000)
    livedex.unload(*livedex.precisions)

    def rank(name, part):
        ordered = sorted(data[name])
        return report.amount(ordered[min(int(len(ordered) * part), len(ordered) - 1)])

    rows = [[name, rank(name, 0.5), rank(name, 0.9), rank(name, 0)] for name in data]
    out.section(f"One query of {TOKENS} tokens, {shape.title}",
                ["", "p50 ms", "p90 ms", "best ms"], rows,
                [f"{PASSES} queries in turns; sentence-transformers tokenizes too."], data)
