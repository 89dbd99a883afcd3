"""`make bench-parity`: Livedex's numbers beside the reference's on models of real size."""

import argparse
import os
import sys
import time

import torch
import transformers

from . import checkpoints, machine, parity_embed, parity_rerank
from .checks import Checks
from .livedex import Livedex

MODELS = ["small", "embedder", "reranker", "untied"]


def main():
    parser = argparse.ArgumentParser(prog="benches.parity", description=__doc__)
    parser.add_argument("--examples", required=True, help="the folder of the example forward")
    parser.add_argument("--only", default=",".join(MODELS), help=f"models: {','.join(MODELS)}")
    parser.add_argument("--layers", type=int, default=28,
                        help="layers of the 0.6B shape; fewer for a quick look")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--data", default=checkpoints.default_folder(),
                        help="where made checkpoints are kept")
    parser.add_argument("--minilm", default=os.environ.get("LIVEDEX_MINILM"),
                        help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := set(only) - set(MODELS):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(MODELS)}")

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    made = checkpoints.Checkpoints(options.data)
    checks = Checks()
    started = time.monotonic()
    with Livedex(options.examples, options.threads) as livedex:
        here = machine.describe(options.threads, livedex.matmul)
        livedex.keep_usable(made.small(options.minilm)[0])
        if "small" in only:
            folder, title = made.small(options.minilm)
            parity_embed.check_small(title, folder, livedex, checks)
            folder, title = made.cross_encoder(options.minilm)
            parity_rerank.check_small(title, folder, livedex, checks)
        part = "" if options.layers == 28 else f", {options.layers} of 28 layers"
        if "embedder" in only:
            parity_embed.check_qwen3(f"Qwen3-Embedding-0.6B shape{part}",
                                     made.qwen3("embedder", options.layers), livedex, checks)
        if "reranker" in only:
            parity_rerank.check_qwen3(f"Qwen3-Reranker-0.6B shape{part}",
                                      made.qwen3("reranker", options.layers), livedex, checks,
                                      long=True)
        if "untied" in only:
            parity_rerank.check_qwen3("4 layers of it, untied, in shards",
                                      made.qwen3("reranker", 4, tied=False, sharded=True),
                                      livedex, checks, long=False)
    print(f"\n{machine.sentence(here)}\n")
    print(checks.table(options.markdown))
    print(f"\n{len(checks.rows)} checks, {checks.failed} failed, in "
          f"{time.monotonic() - started:.0f} s")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
