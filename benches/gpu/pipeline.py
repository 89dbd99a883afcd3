"""The whole pipeline, from Kafka to a store that costs nothing, beside the bare model
(tests/examples/whole)."""

import json
import os
import statistics
import subprocess

from .. import report


def measure(visit, results):
    work = visit.work
    folder = visit.checkpoints().qwen3("embedder", size=work.small)
    done = subprocess.run(
        [visit.binaries / "whole", folder, str(work.documents), str(work.rounds),
         str(work.pipeline_budget)],
        env=os.environ | visit.environment(), stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    rate = lambda name: report.amount(found["tokens"] / statistics.median(found[name]))
    results.figure("pipeline", found)
    results.figure("pipeline_share", found["share"])
    results.table(
        f"The whole pipeline beside the bare model, {work.small} shape", ["", "tokens/s"],
        [["bare model, all texts at once", rate("bare_seconds")],
         ["Kafka to a free sink", rate("pipeline_seconds")]],
        f"{found['chunks']:,} chunks of {found['tokens'] / found['chunks']:.0f} tokens; the median of "
        f"{work.rounds} rounds' ratios is {found['share']:.3f}. Both go through the model runtime "
        "with tokenizing; the pipeline also reads Kafka (the embedded broker, in the same process), "
        "decodes, chunks, compares and acknowledges.")
