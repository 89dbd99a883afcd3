"""The reference suite (crates/livedex-model/tests/reference) on the GPU, with either attention."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULT = re.compile(r"test result: (\w+)\. (\d+) passed; (\d+) failed; (\d+) ignored; .*?; (\d+) filtered")
# The emulator takes minutes for all of it.
TINY = ["qwen3", "sharing"]


def run(visit, results):
    results.table("Reference suite on the GPU",
                  ["attention", "", "passed", "failed", "ignored", "filtered out"], [])
    for attention in ("fused", "cublas"):
        # Where the tests find their fixtures: the folder they were built in may be on another machine.
        environment = os.environ | visit.environment(
            LIVEDEX_TEST_DEVICE="cuda", LIVEDEX_TEST_ATTENTION=attention,
            CARGO_MANIFEST_DIR=str(ROOT / "crates/livedex-model"))
        done = subprocess.run(
            [visit.binaries / "reference", *(TINY if visit.tiny else [])],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, flush=True)
        found = RESULT.search(done.stdout)
        counts = [int(n) for n in found.groups()[1:]] if found else [0, 0, 0, 0]
        row = [attention, found[1] if found else f"exit {done.returncode}", *counts]
        results.row(*row)
        # A run of no test is not a success either.
        if done.returncode != 0 or not counts[0]:
            results.failed(f"reference suite, {attention} attention: {row[1:]}")
