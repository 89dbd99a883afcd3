"""`make bench`: the speed of Livedex's forward passes beside their reference implementations."""

import argparse
import os

import torch
import transformers

from . import checkpoints, embed, lanes, latency, machine, rerank, shapes
from .livedex import Livedex
from .report import Report

SECTIONS = ["embed", "rerank", "latency", "lanes"]
MODELS = ["small", "0.6b"]


def listed(known=None):
    """An argument's type: a comma-separated list."""
    def parse(text):
        items = text.split(",")
        if known is None:
            return [int(item) for item in items]
        for item in items:
            if item not in known:
                raise argparse.ArgumentTypeError(f"{item} is none of {', '.join(known)}")
        return items
    return parse


def arguments():
    parser = argparse.ArgumentParser(prog="benches.speed", description=__doc__)
    parser.add_argument("--examples", required=True, help="the folder of forward and lanes")
    parser.add_argument("--only", type=listed(SECTIONS), default=SECTIONS,
                        help=f"sections: {','.join(SECTIONS)}")
    parser.add_argument("--model", type=listed(MODELS), default=MODELS,
                        help=f"shapes: {','.join(MODELS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--candidates", type=listed(), default=[50],
                        help="candidates of a query, for example 50,100")
    parser.add_argument("--layers", type=int, default=4,
                        help="layers of the reranker in the 0.6B shape; 28 is the real one")
    parser.add_argument("--full", action="store_true",
                        help="50 and 100 candidates on all 28 layers: hours")
    parser.add_argument("--round-tokens", type=int,
                        help="tokens of one round of embedding; 0.6b 512, small 4096; the mix twice that")
    parser.add_argument("--lane-seconds", type=float, default=15)
    parser.add_argument("--data", default=checkpoints.default_folder(),
                        help="where made checkpoints are kept")
    parser.add_argument("--minilm", default=os.environ.get("LIVEDEX_MINILM"),
                        help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--json", help="writes the results here")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.full:
        options.candidates, options.layers = [50, 100], 28
    return options


def main():
    options = arguments()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    made = checkpoints.Checkpoints(options.data)
    with Livedex(options.examples, options.threads) as livedex:
        here = machine.describe(options.threads, livedex.matmul)
        out = Report(here, machine.sentence(here), options.markdown)
        livedex.keep_usable(made.small(options.minilm)[0])
        for name in options.model:
            shape = shapes.embedding(name, made, options.minilm)
            if "embed" in options.only:
                embed.measure(shape, livedex, options, out)
            if "rerank" in options.only:
                pair = shapes.reranking(name, made, options.minilm, options.layers)
                rerank.measure(pair, livedex, options, out)
            if "latency" in options.only:
                latency.measure(shape, livedex, options, out)
            if "lanes" in options.only:
                lanes.measure(name, shape, livedex, options, out)
    if options.json:
        out.write(options.json)
        print(f"\nresults: {options.json}")


if __name__ == "__main__":
    main()
