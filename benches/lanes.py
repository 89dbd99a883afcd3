"""Queries while documents are ingested (crates/livedex-model/examples/lanes.rs)."""

from . import report

# Tokens of an ingest batch: the default, and four times as much. In the 0.6B shape 1,024 take a
# small CPU a second, so its batches are smaller here, as one would set them there.
BUDGETS = {"small": [1024, 4096], "0.6b": [512]}
# The first that the machine can load: the lanes are the same in all of them.
PRECISIONS = {"small": ["f32"], "0.6b": ["bf16", "f32"]}


def measure(name, shape, livedex, options, out):
    precision = next(p for p in PRECISIONS[name] if p in livedex.precisions)
    data = {
        f"{precision}, batches of {budget:,} tokens": livedex.lanes(
            shape.folder, precision, "--token-budget", budget, "--seconds", options.lane_seconds)
        for budget in BUDGETS[name]
    }
    amount = report.amount
    rows = [[
        title, amount(r["rate"]), amount(r["batch_ms"]),
        f"{amount(r['idle']['p50_ms'])} / {amount(r['idle']['p99_ms'])}",
        f"{amount(r['full']['p50_ms'])} / {amount(r['full']['p99_ms'])}",
        amount(r["p99_ratio"]),
        f"{r['full_texts_per_second'] / r['alone_texts_per_second']:.0%}",
    ] for title, r in data.items()]
    first = next(iter(data.values()))
    out.section(
        f"Queries beside ingestion, {shape.title}",
        ["Livedex", "queries/s", "batch ms", "idle p50 / p99 ms", "full p50 / p99 ms",
         "p99 ratio", "ingest kept"], rows,
        [f"Open loop, {first['idle']['queries']} queries each way in the first row; a running "
         "batch is not interrupted, so the batch's time bounds what ingestion adds to a query."],
        data)
