"""NVIDIA's compute-sanitizer over a part of the reference suite: accesses outside of a buffer, and races."""

import os
import shutil
import subprocess

from .suites import RESULT, ROOT

# Each kernel is some fifty times as slow under it.
TESTS = ["qwen3::embeddings_equal_the_reference", "sharing::sharing_does_not_change"]
TOOLS = ["memcheck", "racecheck"]
SECONDS = 45
# Its exit code where it found an error.
FOUND = 99


def run(visit, results):
    tool = shutil.which("compute-sanitizer")
    if visit.tiny or not tool:
        results.table("compute-sanitizer", ["", ""], [["compute-sanitizer", "not on this machine"]])
        return
    environment = os.environ | visit.environment(
        LIVEDEX_TEST_DEVICE="cuda", CARGO_MANIFEST_DIR=str(ROOT / "crates/livedex-model"))
    rows = []
    for kind in TOOLS:
        try:
            done = subprocess.run(
                [tool, "--tool", kind, "--error-exitcode", str(FOUND), visit.binaries / "reference",
                 "--test-threads", "1", *TESTS],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=SECONDS)
        except subprocess.TimeoutExpired:
            rows.append([kind, "not done in time"])
            continue
        print(done.stdout[-6000:], flush=True)
        found = RESULT.search(done.stdout)
        passed = int(found[2]) if found else 0
        rows.append([kind, f"exit {done.returncode}, {passed} tests passed"])
        # Another exit without a test: the tool does not run on this machine.
        if done.returncode == FOUND or (done.returncode == 0 and not passed):
            results.failed(f"compute-sanitizer {kind}: {rows[-1][1]}")
    results.table("compute-sanitizer over a part of the reference suite", ["tool", ""], rows,
                  f"Exit 0: nothing found; {FOUND}: an error; others: it does not run here.")
