"""Queries while documents are ingested, through the runtime and from text."""

from .. import report


def measure(visit, results):
    work = visit.work
    folder = visit.checkpoints().qwen3("embedder", size=work.small)
    rows, reports = [], {}
    with visit.livedex() as livedex:
        for budget in work.lane_budgets:
            found = reports[budget] = livedex.lanes(
                folder, "bf16", "--token-budget", budget, "--text-tokens", work.mean,
                "--seconds", work.lane_seconds, "--rate", work.lane_rate, "--rounds", 1,
                "--alone-seconds", work.lane_seconds / 2)
            pair = lambda lane: " / ".join(
                report.amount(found[lane][p]) for p in ("p50_ms", "p99_ms"))
            rows.append([
                f"{budget:,}" if budget else "as measured at start", report.amount(found["batch_ms"]), pair("idle"), pair("full"),
                report.amount(found["p99_ratio"]),
                report.amount(found["ingest_tokens_per_second"]),
                f"{found['full_texts_per_second'] * work.mean / found['ingest_tokens_per_second']:.0%}",
            ])
            # One by one: the section may be ended.
            results.figure("lanes", reports)
    # What a user gets who sets nothing.
    default = reports[work.lane_budgets[0]]
    results.figure("lanes_p99_ratio", default["p99_ratio"])
    results.figure("lanes_idle_p50_ms", default["idle"]["p50_ms"])
    results.figure("runtime_tokens_per_second",
                   max(r["ingest_tokens_per_second"] for r in reports.values()))
    results.table(
        f"Queries beside ingestion, {work.small} shape",
        ["tokens of an ingest batch", "batch ms", "idle p50 / p99 ms", "full p50 / p99 ms",
         "p99 ratio", "ingestion alone, tokens/s", "of it kept beside queries"], rows,
        f"Open loop, {work.lane_rate} queries/s, {work.lane_seconds} s each way, texts of about "
        f"{work.mean} tokens, tokenizing included.")
