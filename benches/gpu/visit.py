"""The visit: sections in the order of their importance, and what they found as JSON and as markdown.

visit.sh is how it is called.
"""

import time

# Before torch, whose import takes ten seconds.
STARTED = time.monotonic()

import argparse
import dataclasses
import json
import os
import pathlib
import sys

import sentence_transformers  # noqa: F401: imported once, before the sections' processes begin
import torch
import transformers

from .. import machine
from ..checkpoints import Checkpoints
from ..livedex import Livedex
from . import (aims, embed, facts, lanes, latency, models, parity, pipeline, replay, rerank,
               sanitizer, sections, suites, work)
from .sections import Section

# In the order of their importance: correctness and the main figures, then the rest. `least` is a guess of what a
# section takes on an H200, where none has run so far; `most` leaves it twice that.
SECTIONS = {
    "facts": Section(facts.measure, least=10, most=40),
    "suites": Section(suites.run, least=20, most=90),
    "models": Section(models.make, least=10, most=60),
    "parity": Section(parity.embedder, least=40, most=120),
    "replay": Section(replay.small, least=10, most=40),
    "embed": Section(embed.small, least=40, most=110),
    "rerank": Section(rerank.measure, least=25, most=80),
    "latency": Section(latency.measure, least=15, most=40),
    # At least the first of three budgets.
    "lanes": Section(lanes.measure, least=35, most=100),
    "parity-rerank": Section(parity.reranker, least=40, most=90),
    "pipeline": Section(pipeline.measure, least=40, most=90),
    "replay-4b": Section(replay.medium, least=10, most=30),
    "embed-4b": Section(embed.medium, least=45, most=90),
    "parity-untied": Section(parity.untied, least=30, most=70),
    "sanitizer": Section(sanitizer.run, least=30, most=100),
}


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
    parser.add_argument("--seconds", type=float, default=520,
                        help="from the start of visit.sh until the last section is ended, which "
                             f"may take {2 * sections.GRACE} more")
    parser.add_argument("--spent", type=float, default=0, help="seconds of it that are over")
    parser.add_argument("--spawn", action="store_true",
                        help="start every section as where a process with torch cannot be forked")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(SECTIONS)}")
    return options


def main():
    options = arguments()
    started = STARTED - options.spent
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
    method = "spawn" if options.spawn else sections.start_method(torch.cuda._is_in_bad_fork)
    whole = {"tiny": options.tiny, "machine": here, "start_method": method, "sections": []}
    print(f"{time.monotonic() - started:.0f} s until the first section; they are started by {method}",
          flush=True)
    for name in SECTIONS:
        if name not in options.only:
            continue
        left = options.seconds - (time.monotonic() - started)
        found = sections.run(name, SECTIONS[name], visit, left, method)
        whole["sections"].append(found)
        whole["seconds"] = round(time.monotonic() - started, 1)
        # Each time: whoever ends this before its end has what there is.
        (options.out / "visit.json").write_text(json.dumps(whole, indent=1) + "\n")
        (options.out / "visit.md").write_text(aims.page(whole))
    print(f"\n{aims.page(whole)}", flush=True)
    sys.exit(0 if all(s["status"] == "ok" for s in whole["sections"]) else 1)


if __name__ == "__main__":
    main()
