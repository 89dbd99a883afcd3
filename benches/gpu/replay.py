"""The model's own matrix products in torch.matmul: what could be reached if nothing else took time."""

import torch

from .. import report
from ..checkpoints import QWEN3
from .clock import Clock

# All layers have weights of their own, so that none stays in a cache.
PASSES = 10


def products(shape):
    """Inputs and outputs of the seven products of a layer, and of the four that they are fused to."""
    hidden, inner, head = (shape[k] for k in ("hidden_size", "intermediate_size", "head_dim"))
    queries, keys = (head * shape[f"num_{k}_heads"] for k in ("attention", "key_value"))
    apart = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden),
             (hidden, inner), (hidden, inner), (inner, hidden)]
    fused = [(hidden, queries + 2 * keys), (queries, hidden), (hidden, 2 * inner), (inner, hidden)]
    return {"seven products": apart, "four, fused": fused}


class Replay:
    """One pass over all layers."""

    def __init__(self, shape, sizes, tokens, device):
        new = lambda *size: torch.randn(*size, device=device, dtype=torch.bfloat16)
        self.layers = [[(i, o, new(o, i)) for i, o in sizes]
                       for _ in range(shape["num_hidden_layers"])]
        self.inputs = {i: new(tokens, i) for i, _ in sizes}
        self.outputs = {o: torch.empty(tokens, o, device=device, dtype=torch.bfloat16)
                        for _, o in sizes}

    def __call__(self):
        for layer in self.layers:
            for i, o, weight in layer:
                torch.mm(self.inputs[i], weight.t(), out=self.outputs[o])


def attention(shape, tokens, length, device):
    """The causal attention of all layers, by torch's sdpa over texts of one length."""
    count = max(tokens // length, 1)
    new = lambda heads: torch.randn(count, heads, length, shape["head_dim"], device=device,
                                    dtype=torch.bfloat16)
    q, k, v = (new(shape[f"num_{n}_heads"]) for n in ("attention", "key_value", "key_value"))

    def run():
        for _ in range(shape["num_hidden_layers"]):
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True,
                                                             enable_gqa=True)
    return run


@torch.inference_mode()
def replay(visit, results, size, batches):
    shape, clock, length = QWEN3[size], Clock(visit.torch), visit.work.tokens
    best, best_with = 0, 0
    results.table(
        f"Replay of the matrix products, {size} shape",
        ["tokens of a batch", *products(shape), f"and attention at {length} tokens"], [],
        "Tokens per second by torch.mm in bf16 on random data, all layers, median of "
        f"{PASSES}. Norms, rotations and activations are not in it; the last column adds torch's "
        "causal sdpa to the faster of the two.")
    for tokens in batches:
        seconds = {name: clock.median(Replay(shape, sizes, tokens, visit.torch), PASSES)
                   for name, sizes in products(shape).items()}
        heads = clock.median(attention(shape, tokens, length, visit.torch), PASSES)
        rates = [tokens / s for s in seconds.values()]
        both = tokens / (min(seconds.values()) + heads)
        best, best_with = max(best, *rates), max(best_with, both)
        results.row(f"{tokens:,}", *map(report.amount, rates), report.amount(both))
        # The best so far, each time.
        results.figure(f"replay_{size}_tokens_per_second", best)
        results.figure(f"replay_{size}_with_attention_tokens_per_second", best_with)


def small(visit, results):
    replay(visit, results, visit.work.small, visit.work.replayed)


def medium(visit, results):
    # The larger matrices are at full speed with fewer tokens.
    replay(visit, results, visit.work.medium, visit.work.replayed[1:3] or visit.work.replayed)
