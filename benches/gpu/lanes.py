"""Queries while documents are ingested, through the runtime and from text."""

from .. import report


def measure(visit, results):
    work = visit.work
    folder = visit.checkpoints().qwen3("embedder", size=work.small)
    results.table(
        f"Queries beside ingestion, {work.small} shape",
        ["tokens of an ingest batch", "batch ms", "idle p50 / p99 ms", "full p50 / p99 ms",
         "p99 ratio", "ingestion alone, tokens/s", "of it kept beside queries"], [],
        f"Open loop, {work.lane_rate} queries/s, {work.lane_seconds} s each way, texts of about "
        f"{work.mean} tokens, tokenizing included.")
    reports = {}
    with visit.livedex() as livedex:
        for budget in work.lane_budgets:
            reports[budget] = livedex.lanes(
                folder, "bf16", "--token-budget", budget, "--text-tokens", work.mean,
                "--seconds", work.lane_seconds, "--rate", work.lane_rate, "--rounds", 1,
                "--alone-seconds", work.lane_seconds / 2)
            # One by one: the section may be ended.
            present(results, work, budget, reports[budget])
            results.figure("lanes", reports)
            results.figure("runtime_tokens_per_second",
                           max(r["ingest_tokens_per_second"] for r in reports.values()))


def present(results, work, budget, found):
    pair = lambda lane: " / ".join(report.amount(found[lane][p]) for p in ("p50_ms", "p99_ms"))
    kept = found["full_texts_per_second"] * work.mean / found["ingest_tokens_per_second"]
    results.row(f"{budget:,}" if budget else "as measured at start",
                report.amount(found["batch_ms"]), pair("idle"), pair("full"),
                report.amount(found["p99_ratio"]),
                report.amount(found["ingest_tokens_per_second"]), f"{kept:.0%}")
    # The first is what a user gets who sets nothing.
    if budget == work.lane_budgets[0]:
        results.figure("lanes_p99_ratio", found["p99_ratio"])
        results.figure("lanes_idle_p50_ms", found["idle"]["p50_ms"])
