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
    # CUDA's own folder, since images often leave it out of PATH.
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer",
                                                             path="/usr/local/cuda/bin")
    if visit.tiny or not tool:
        why = "a dry run" if visit.tiny else "neither in PATH nor in /usr/local/cuda/bin"
        results.table("compute-sanitizer", ["", ""], [["skipped", why]])
        return
    environment = os.environ | visit.environment(
        LIVEDEX_TEST_DEVICE="cuda", CARGO_MANIFEST_DIR=str(ROOT / "crates/livedex-model"))
    results.table("compute-sanitizer over a part of the reference suite", ["tool", ""], [],
                  f"Exit 0: nothing found; {FOUND}: an error; others: it does not run here.")
    for kind in TOOLS:
        # A file and no pipe: a tool that is ended may leave the suite running, which would keep a pipe open.
        log = visit.folder / f"{kind}.log"
        with log.open("w") as output:
            try:
                done = subprocess.run(
                    [tool, "--tool", kind, "--error-exitcode", str(FOUND),
                     visit.binaries / "reference", "--test-threads", "1", *TESTS],
                    env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                done = None
        said = log.read_text(errors="replace")
        print(said[-6000:], flush=True)
        if done is None:
            results.row(kind, f"not done in {SECONDS} s")
            continue
        found = RESULT.search(said)
        passed = int(found[2]) if found else 0
        outcome = f"exit {done.returncode}, {passed} tests passed"
        results.row(kind, outcome)
        # Another exit without a test: the tool does not run on this machine.
        if done.returncode == FOUND or (done.returncode == 0 and not passed):
            results.failed(f"compute-sanitizer {kind}: {outcome}")
