"""The visit: sections in the order of their importance, and what they found as JSON and as markdown.

visit.sh is how it is called.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

import sentence_transformers  # noqa: F401: imported once, before the sections' processes begin
import torch
import transformers

from .. import machine
from ..checkpoints import Checkpoints
from ..livedex import Livedex
from . import (aims, embed, facts, lanes, latency, models, parity, pipeline, replay, rerank,
               sanitizer, sections, suites, work)

# Names, what runs, and the seconds it may take at most.
SECTIONS = {
    "facts": (facts.measure, 40),
    "models": (models.make, 60),
    "suites": (suites.run, 60),
    "parity": (parity.embedder, 90),
    "parity-rerank": (parity.reranker, 60),
    "replay": (replay.small, 40),
    "embed": (embed.small, 110),
    "rerank": (rerank.measure, 80),
    "latency": (latency.measure, 40),
    "lanes": (lanes.measure, 100),
    "pipeline": (pipeline.measure, 90),
    "replay-4b": (replay.medium, 30),
    "embed-4b": (embed.medium, 90),
    "parity-untied": (parity.untied, 70),
    "sanitizer": (sanitizer.run, 100),
}
# A section that would have less is not begun.
LEAST_SECONDS = 15


@dataclasses.dataclass
class Visit:
    """What every section is given."""

    binaries: pathlib.Path
    # Checkpoints, and what the sections find.
    folder: pathlib.Path
    # Where torch computes.
    torch: str
    # Added to LD_LIBRARY_PATH of our programs; torch has its own libraries.
    libraries: list[str]
    work: work.Work
    tiny: bool
    threads: int

    def environment(self, **more):
        """What our programs need to compute on the GPU."""
        path = [*self.libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_LIBRARY_PATH": ":".join(path), "LIVEDEX_BENCH_DEVICE": "cuda"} | more

    def livedex(self, **environment):
        return Livedex(self.binaries, self.threads, self.environment(**environment))

    def checkpoints(self):
        return Checkpoints(self.folder / "models", self.torch)


def arguments():
    parser = argparse.ArgumentParser(prog="visit.sh", description=__doc__)
    parser.add_argument("binaries", type=pathlib.Path,
                        help="the folder that pack.sh filled, or one with forward, lanes, reference and whole")
    parser.add_argument("out", type=pathlib.Path, help="gets visit.json and visit.md")
    parser.add_argument("--folder", type=pathlib.Path, required=True,
                        help="for checkpoints: 16 GB, in memory if possible")
    parser.add_argument("--libraries", help="the folder of libcublas.so.13; found if not given")
    parser.add_argument("--tiny", action="store_true",
                        help="tiny shapes, and torch on the CPU: whether everything runs")
    parser.add_argument("--only", help=f"sections: {','.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=540,
                        help="for everything but loading torch")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(SECTIONS)}")
    return options


def main():
    started = time.monotonic()
    options = arguments()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    options.out.mkdir(parents=True, exist_ok=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    visit = Visit(
        # Programs are started from other folders too.
        binaries=options.binaries.absolute(), folder=options.folder.absolute(),
        torch="cpu" if options.tiny else "cuda",
        libraries=[options.libraries] if options.libraries else facts.libraries(),
        work=work.TINY if options.tiny else work.GPU,
        tiny=options.tiny, threads=machine.cores())
    here = machine.describe(visit.threads, "cuBLAS")
    if (built := options.binaries / "built.json").exists():
        # The programs may be of another checkout than this one, which may be no checkout at all.
        here |= json.loads(built.read_text())
    whole = {"tiny": options.tiny, "machine": here, "sections": []}
    for name in SECTIONS:
        if name not in options.only:
            continue
        section, limit = SECTIONS[name]
        left = options.seconds - (time.monotonic() - started)
        if left < LEAST_SECONDS:
            found = {"name": name, "status": "not begun", "error": "no time was left", "seconds": 0,
                     "tables": [], "figures": {}, "failed": []}
        else:
            found = sections.run(name, section, visit, min(limit, left))
        whole["sections"].append(found)
        whole["seconds"] = round(time.monotonic() - started, 1)
        # Each time: whoever ends this before its end has what there is.
        (options.out / "visit.json").write_text(json.dumps(whole, indent=1) + "\n")
        (options.out / "visit.md").write_text(aims.page(whole))
    print(f"\n{aims.page(whole)}", flush=True)
    sys.exit(0 if all(s["status"] == "ok" for s in whole["sections"]) else 1)


if __name__ == "__main__":
    main()
