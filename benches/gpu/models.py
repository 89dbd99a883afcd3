"""The checkpoints that several sections share, made from a seed before they begin."""


def make(visit, results):
    made = visit.checkpoints()
    for role in ("embedder", "reranker"):
        made.qwen3(role, size=visit.work.small)
    results.table("Checkpoints", ["shape", "layers"], [[visit.work.small, "all"]])
