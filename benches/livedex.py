"""Livedex's forward passes, in a process of its own (crates/livedex-model/examples/forward.rs)."""

import json
import os
import pathlib
import subprocess

# Tokens of one batch, as the runtime has it by default.
TOKEN_BUDGET = 4096


class LivedexError(Exception):
    """What the process answered instead of a result."""


class Livedex:
    """The process. Models are loaded under names; every call waits for its answer. `environment`
    is added to this process's, for instance LIVEDEX_BENCH_DEVICE."""

    def __init__(self, examples, threads, environment=None):
        self.examples = pathlib.Path(examples)
        self.threads = threads
        self.environment = (
            os.environ | {"RAYON_NUM_THREADS": str(threads)} | (environment or {}))
        self.process = subprocess.Popen(
            [self.examples / "forward"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        known = self.ask(do="precisions")
        self.precisions, self.matmul = known["precisions"], known["matmul"]
        self.device = known["device"]

    def keep_usable(self, folder):
        """Drops the precisions that do not load on this machine, and says why."""
        for precision in list(self.precisions):
            try:
                self.load("probe", "embedder", folder, precision)
            except LivedexError as error:
                print(f"without Livedex {precision}: {error}")
                self.precisions.remove(precision)
        self.unload("probe")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise LivedexError(f"the process ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise LivedexError(answer["error"])
        return answer

    def load(self, name, role, folder, precision="f32", **settings):
        """`role` is embedder or reranker; settings: adapter, max_tokens, dimension."""
        return self.ask(do="load", name=name, role=role, folder=str(folder),
                        precision=precision, **settings)

    def unload(self, *names):
        for name in names:
            self.ask(do="unload", name=name)

    def tokenize(self, name, texts):
        return self.ask(do="tokenize", name=name, texts=texts)["ids"]

    def tokenize_pairs(self, name, query, documents):
        """One `{"ids", "types", "shared_prefix"}` a document."""
        return self.ask(do="tokenize_pairs", name=name, query=query,
                        documents=documents)["pairs"]

    def embed(self, name, ids, budget=TOKEN_BUDGET):
        return self.ask(do="embed", name=name, ids=ids, times=1, budget=budget,
                        results=True)["results"]

    def score(self, name, pairs, budget=TOKEN_BUDGET):
        return self.ask(do="score", name=name, pairs=pairs, times=1, budget=budget,
                        results=True)["results"]

    def time_embed(self, name, ids, times=1, budget=TOKEN_BUDGET):
        """Seconds of each pass over all of `ids`, measured in the process."""
        return self.ask(do="embed", name=name, ids=ids, times=times, budget=budget,
                        results=False)["seconds"]

    def time_score(self, name, pairs, times=1, budget=TOKEN_BUDGET):
        return self.ask(do="score", name=name, pairs=pairs, times=times, budget=budget,
                        results=False)["seconds"]

    def lanes(self, folder, precision, *arguments):
        """Runs the example `lanes`: its report."""
        done = subprocess.run(
            [self.examples / "lanes", "--json", "--model", folder, "--precision", precision,
             "--threads", str(self.threads), *map(str, arguments)],
            stdout=subprocess.PIPE, text=True, check=True, env=self.environment,
        )
        return json.loads(done.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def plain(pairs):
    """The same pairs without sharing the prefix."""
    return [pair | {"shared_prefix": 0} for pair in pairs]
