"""What is compared in numbers, how far off it may be, and the table of how far off it is."""

import torch

from .report import table

# 1 - cosine of a vector with transformers' in f32, at most.
VECTOR = {"f32": 1e-4, "bf16": 1e-3, "q8_0": 5e-3}
# Difference of a probability from transformers' in f32, at most.
PROBABILITY = {"f32": 1e-3, "bf16": 1e-2, "q8_0": 5e-2}
# Difference between two ways of our own to compute the same, at most: in f32 only the order of
# sums differs; below, a sum that rounds the other way is a step of the precision.
SAME = {"f32": 1e-5, "bf16": 1e-2, "q8_0": 5e-2}


def angle(ours, reference):
    """The largest 1 - cosine of two lists of vectors."""
    a, b = torch.as_tensor(ours).double(), torch.as_tensor(reference).double()
    if a.shape != b.shape:
        return float("nan")
    return (1 - torch.nn.functional.cosine_similarity(a, b, dim=1)).max().item()


def difference(ours, reference):
    """The largest difference of two lists of numbers or vectors."""
    a, b = torch.as_tensor(ours).double(), torch.as_tensor(reference).double()
    return (a - b).abs().max().item() if a.shape == b.shape else float("nan")


class Checks:
    """Rows of the table."""

    HEAD = ["model", "precision", "case", "n", "measure", "worst", "bound", ""]

    def __init__(self):
        self.rows = []
        self.failed = 0

    def keep(self, row):
        """Takes a row that was checked."""
        self.rows.append(row)
        print("  ".join(map(str, row)), flush=True)

    def add(self, model, precision, case, count, measure, worst, bound):
        # Not `worst > bound`: NaN fails.
        ok = bound is None or worst <= bound
        self.failed += not ok
        number = lambda value: str(value) if isinstance(value, int) else f"{value:.1e}"
        row = [model, precision, case, count, measure, number(max(worst, 0)),
               "" if bound is None else number(bound), ("ok" if ok else "FAIL") if bound is not None else "for comparison"]
        self.keep(row)

    def control(self, model, case, got, reference):
        """How far the reference's own bf16 is from its f32 on the same weights: no check, but
        what to hold ours to."""
        vectors = isinstance(reference, torch.Tensor)
        measure, worst = ("1 - cosine", angle) if vectors else ("difference of p", difference)
        self.add(model, "transformers bf16", case, len(reference), measure,
                 worst(got, reference), None)

    def vectors(self, model, precision, case, ours, reference):
        self.add(model, precision, case, len(reference), "1 - cosine",
                 angle(ours, reference), VECTOR[precision])

    def scores(self, model, precision, case, ours, reference):
        self.add(model, precision, case, len(reference), "difference of p",
                 difference(ours, reference), PROBABILITY[precision])

    def same(self, model, precision, case, a, b):
        self.add(model, precision, case, len(a), "difference", difference(a, b), SAME[precision])

    def ids(self, model, case, ours, reference):
        differing = sum(a != b for a, b in zip(ours, reference, strict=True))
        self.add(model, "", case, len(reference), "texts that differ", differing, 0)

    def table(self, markdown):
        return table(self.HEAD, self.rows, markdown)
