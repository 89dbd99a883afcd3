"""Queries while documents are ingested (crates/livedex-model/examples/lanes.rs)."""

from . import report

# A batch of the 0.6B shape's default size takes a small CPU most of a minute, so its batches
# are smaller here, as one would set it there.
BUDGETS = {"small": [4096, 1024], "0.6b": [512]}


def measure(name, shape, livedex, options, out):
    data = {}
    for precision in livedex.precisions:
        for budget in BUDGETS[name]:
            data[f"{precision}, batches of {budget} tokens"] = livedex.lanes(
                shape.folder, precision, "--token-budget", budget,
                "--seconds", options.lane_seconds)
    if not data:
        return
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
