"""The models that are measured, and how much work one round of each is."""

import dataclasses
import pathlib


@dataclasses.dataclass
class Embedding:
    """An embedder."""

    title: str
    folder: pathlib.Path
    pooling: str
    # Tokens of one round: some seconds on two cores.
    round_tokens: int
    max_tokens: int = 512


@dataclasses.dataclass
class Reranking:
    """A reranker. `causal` ones can share the query's prefix."""

    title: str
    folder: pathlib.Path
    causal: bool


def embedding(name, checkpoints, minilm):
    if name == "0.6b":
        return Embedding("Qwen3-Embedding-0.6B shape", checkpoints.qwen3("embedder"), "last", 512)
    folder, title = checkpoints.small(minilm)
    return Embedding(title, folder, "mean" if "MiniLM" in title else "cls", 4096)


def reranking(name, checkpoints, minilm, layers):
    if name == "0.6b":
        title = "Qwen3-Reranker-0.6B shape" + ("" if layers == 28 else f", {layers} of 28 layers")
        return Reranking(title, checkpoints.qwen3("reranker", layers), causal=True)
    folder, title = checkpoints.cross_encoder(minilm)
    return Reranking(title, folder, causal=False)
